//! Taints and tolerations, and the cordon, which is a taint by another name.

use api::pod::placement::tolerated;
use k8s_openapi::api::core::v1::Taint;

use super::Reasons;
use crate::cluster::{Needs, NodeView};

/// Refuses a cordoned node, unless the pod tolerates the taint that stands for it.
pub(super) fn unschedulable(needs: &Needs, node: &NodeView) -> Result<(), Reasons> {
    let cordon = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    if !node.unschedulable || tolerated(&cordon, &needs.tolerations) {
        return Ok(());
    }
    Err(Reasons::for_good("node(s) were unschedulable"))
}

/// Refuses a node with a taint that keeps pods away and that the pod does not tolerate.
pub(super) fn untolerated(needs: &Needs, node: &NodeView) -> Result<(), Reasons> {
    let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    if node.taints.iter().filter(keeps_away).all(|taint| tolerated(taint, &needs.tolerations)) {
        return Ok(());
    }
    Err(Reasons::for_good("node(s) had untolerated taint(s)"))
}
