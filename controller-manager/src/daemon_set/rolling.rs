//! RollingUpdate: pods of an older template give way a few at a time, deleted first (`maxUnavailable`) or made anew
//! first (`maxSurge`). With OnDelete nothing happens here: who deletes a pod gets a new one. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::nodes;
use super::plan::{Snapshot, Steps, hash_of};
use crate::frame::Timestamp;
use crate::kit::shares::{self, Round};
use crate::kit::{count, owners, pods};

/// How far a roll-out may go at once, in nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How many may have a second pod.
    pub(super) surge: i32,
    /// How many may have no pod that works.
    pub(super) unavailable: i32,
}

impl Bounds {
    /// Those of a RollingUpdate; nothing may be done otherwise.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let strategy = snapshot.spec().update_strategy.as_ref();
        let Some(rolling) = strategy
            .filter(|strategy| strategy.type_.as_deref().is_none_or(|kind| kind == "RollingUpdate"))
            .and_then(|strategy| strategy.rolling_update.as_ref())
        else {
            return Bounds::default();
        };
        let spec = snapshot.pod_spec();
        let wanted = snapshot.nodes.iter().filter(|node| nodes::judge(&spec, node).should_run).count();
        let share = |value: Option<&IntOrString>| {
            value.map_or(0, |value| shares::of(value, count(wanted), Round::Up))
        };
        Bounds {
            surge: share(rolling.max_surge.as_ref()),
            unavailable: share(rolling.max_unavailable.as_ref()),
        }
    }
}

/// Whether a pod has been ready for long enough.
pub(super) fn is_available(snapshot: &Snapshot, pod: &Pod, now: Timestamp) -> bool {
    pods::available_from(pod, snapshot.min_ready()).is_some_and(|at| at <= now)
}

/// Replaces pods of older templates as far as the bounds allow.
pub(super) fn replace<'a>(
    snapshot: &'a Snapshot,
    by_node: &BTreeMap<&'a str, Vec<&'a Pod>>,
    newest: &str,
    bounds: Bounds,
    now: Timestamp,
    steps: &mut Steps<'a>,
) {
    if bounds == Bounds::default() {
        return;
    }
    let spec = snapshot.pod_spec();
    let mut unavailable = 0;
    let mut surged = 0;
    // Nodes whose pod does not work anyway, and those whose pod does.
    let (mut broken, mut working) = (Vec::new(), Vec::new());
    for node in &snapshot.nodes {
        if !nodes::judge(&spec, node).should_run {
            continue;
        }
        let name = owners::name(&node.metadata);
        let live = by_node.get(name).into_iter().flatten().filter(|pod| !pods::is_terminating(pod)).copied();
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = live.partition(|pod| hash_of(pod) == Some(newest));
        let works = |pod: &Pod| is_available(snapshot, pod, now);
        match (new.first().copied(), old.first().copied()) {
            (None, None) => unavailable += 1,
            (Some(new), None) => unavailable += i32::from(!works(new)),
            (None, Some(old)) if works(old) => working.push((name, old)),
            (None, Some(old)) => {
                unavailable += 1;
                broken.push((name, old));
            }
            // The old one goes once the new one works: `surplus` sees to that.
            (Some(new), Some(_)) => surged += i32::from(!works(new)),
        }
    }
    if bounds.surge > 0 {
        let room = usize::try_from(bounds.surge - surged).unwrap_or(0);
        let chosen =
            broken.iter().map(|(node, _)| *node).chain(working.iter().map(|(node, _)| *node).take(room));
        steps.create.extend(chosen);
        return;
    }
    let room = usize::try_from(bounds.unavailable - unavailable).unwrap_or(0);
    let chosen = broken.iter().map(|(_, pod)| *pod).chain(working.iter().map(|(_, pod)| *pod).take(room));
    chosen.for_each(|pod| steps.delete(pod));
}
