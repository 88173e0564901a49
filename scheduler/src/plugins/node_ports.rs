//! Ports of the node itself.

use super::{Plugin, Prepared, Reasons};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

struct NodePorts<'a>(&'a Needs);

/// Asks about ports that are taken.
pub(super) fn prepare<'a>(_: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    Ok((!needs.host_ports.is_empty()).then(|| Box::new(NodePorts(needs)) as Box<dyn Plugin + 'a>))
}

impl Plugin for NodePorts<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        if self.0.host_ports.iter().any(|wanted| node.host_ports.conflict(wanted)) {
            return Err(Reasons::for_now("node(s) didn't have free ports for the requested pod ports"));
        }
        Ok(())
    }
}
