//! Whether a pod fits a node, and if not, why: one table of filters, asked in order until
//! one says no.
//!
//! Pure. Upstream counterpart: the scheduler's `framework/plugins`, whose words the reasons
//! are.

mod node_affinity;
mod taints;

use api::quantity::Amount;

use crate::cluster::{Needs, NodeView};

/// Why a node cannot take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which filter said no.
    pub filter: Filter,
    /// The reasons in upstream's words.
    pub reasons: Vec<String>,
    /// Whether the node could not take the pod even with all other pods gone.
    pub for_good: bool,
}

/// The filters, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// The node is cordoned.
    Unschedulable,
    /// The node has a taint that the pod does not tolerate, or is not ready.
    Taints,
    /// The pod wants a node with other labels.
    Affinity,
    /// A port that the pod wants is taken.
    Ports,
    /// There is not enough left of something.
    Resources,
}

/// Asks all filters about one node.
pub fn check(needs: &Needs, node: &NodeView) -> Result<(), Rejection> {
    const TABLE: [(Filter, Ask); 5] = [
        (Filter::Unschedulable, taints::unschedulable),
        (Filter::Taints, taints::untolerated),
        (Filter::Affinity, node_affinity::unmatched),
        (Filter::Ports, ports_taken),
        (Filter::Resources, insufficient),
    ];
    for (filter, ask) in TABLE {
        ask(needs, node).map_err(|Reasons { reasons, for_good }| Rejection { filter, reasons, for_good })?;
    }
    Ok(())
}

type Ask = fn(&Needs, &NodeView) -> Result<(), Reasons>;

/// What one filter has to say against a node.
struct Reasons {
    reasons: Vec<String>,
    for_good: bool,
}

impl Reasons {
    fn for_good(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], for_good: true }
    }
}

fn ports_taken(needs: &Needs, node: &NodeView) -> Result<(), Reasons> {
    if !needs.host_ports.iter().any(|wanted| node.host_ports.conflict(wanted)) {
        return Ok(());
    }
    let reason = "node(s) didn't have free ports for the requested pod ports".to_owned();
    Err(Reasons { reasons: vec![reason], for_good: false })
}

fn insufficient(needs: &Needs, node: &NodeView) -> Result<(), Reasons> {
    let mut reasons = Vec::new();
    let mut for_good = false;
    if Amount::count(node.pods) >= node.allocatable.get("pods") {
        reasons.push("Too many pods".to_owned());
    }
    for (name, wanted) in needs.requests.iter() {
        let allocatable = node.allocatable.get(name);
        if wanted > Amount::ZERO && wanted > allocatable - node.used.get(name) {
            reasons.push(format!("Insufficient {name}"));
            for_good |= wanted > allocatable;
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Reasons { reasons, for_good }) }
}

#[cfg(test)]
mod tests;
