//! Which pod goes first when there are too many: the least useful one.
//! Upstream: `ActivePodsWithRanks` in `pkg/controller/controller_utils.go`.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use k8s_openapi::api::core::v1::Pod;

use super::{owners, pods};
use crate::frame::Timestamp;

/// Sorts pods so that those to be deleted come first.
pub fn sort(candidates: &mut [&Pod], pods_on_node: &HashMap<String, usize>) {
    candidates.sort_by(|a, b| compare(a, b, pods_on_node));
}

fn compare(a: &Pod, b: &Pod, pods_on_node: &HashMap<String, usize>) -> Ordering {
    let crowd = |pod| Reverse(pods_on_node.get(pods::node_name(pod)).copied().unwrap_or(0));
    let plain =
        |pod| (!pods::node_name(pod).is_empty(), phase_order(pod), pods::is_ready(pod), deletion_cost(pod));
    plain(a)
        .cmp(&plain(b))
        .then_with(|| crowd(a).cmp(&crowd(b)))
        .then_with(|| newest_first(pods::ready_since(a), pods::ready_since(b)))
        .then_with(|| Reverse(restarts(a)).cmp(&Reverse(restarts(b))))
        .then_with(|| newest_first(created(a), created(b)))
        .then_with(|| owners::name(&a.metadata).cmp(owners::name(&b.metadata)))
}

fn phase_order(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

/// What its owner says deleting it costs; pods without a word cost nothing.
fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|notes| notes.get("controller.kubernetes.io/pod-deletion-cost"));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// Unknown times count as newest.
fn newest_first(a: Option<Timestamp>, b: Option<Timestamp>) -> Ordering {
    let age = |time: Option<Timestamp>| Reverse(time.unwrap_or(Timestamp::MAX));
    age(a).cmp(&age(b))
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
