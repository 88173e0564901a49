//! Taints and tolerations, and the cordon, which is a taint by another name.

use api::pod::placement::tolerated;
use k8s_openapi::api::core::v1::Taint;

use super::{BEST, Plugin, Prepared, Reasons, up_to_best};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

struct Cordon {
    is_tolerated: bool,
}

/// Asks about cordoned nodes.
pub(super) fn cordon<'a>(_: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    Ok(Some(Box::new(Cordon { is_tolerated: tolerated(&cordon, &needs.tolerations) })))
}

impl Plugin for Cordon {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        if node.unschedulable && !self.is_tolerated {
            return Err(Reasons::for_good("node(s) were unschedulable"));
        }
        Ok(())
    }
}

struct Taints<'a>(&'a Needs);

/// Asks about tainted nodes.
pub(super) fn prepare<'a>(_: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    Ok(Some(Box::new(Taints(needs))))
}

/// Whether a node has a taint that keeps the pod away.
pub(super) fn keep_away(node: &NodeView, needs: &Needs) -> bool {
    let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    node.taints.iter().filter(keeps_away).any(|taint| !tolerated(taint, &needs.tolerations))
}

impl Plugin for Taints<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        if keep_away(node, self.0) {
            return Err(Reasons::for_good("node(s) had untolerated taint(s)"));
        }
        Ok(())
    }

    fn score(&self, nodes: &[&NodeView]) -> Option<Vec<i64>> {
        let is_unwelcome =
            |taint: &&Taint| taint.effect == "PreferNoSchedule" && !tolerated(taint, &self.0.tolerations);
        let unwelcome = |node: &&NodeView| {
            i64::try_from(node.taints.iter().filter(is_unwelcome).count()).unwrap_or(i64::MAX)
        };
        let scores = up_to_best(nodes.iter().map(unwelcome).collect())?;
        Some(scores.into_iter().map(|score| BEST - score).collect())
    }
}
