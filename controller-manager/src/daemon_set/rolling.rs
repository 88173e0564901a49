//! RollingUpdate: pods of an older template give way a few at a time, deleted first (`maxUnavailable`) or made anew
//! first (`maxSurge`). With OnDelete nothing happens here: who deletes a pod gets a new one. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::nodes::Verdict;
use super::plan::{Snapshot, Steps, hash_of};
use crate::frame::Timestamp;
use crate::kit::shares::{self, Round};
use crate::kit::{count, pods};

/// How far a roll-out may go at once, in nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How many may have a second pod.
    pub(super) surge: i32,
    /// How many may have no pod that works.
    pub(super) unavailable: i32,
}

/// What both the plain keeping of pods and a roll-out go by.
#[derive(Clone, Copy)]
pub(super) struct Rollout<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// The hash of today's template.
    pub(super) newest: &'a str,
    /// What each node means to the DaemonSet.
    pub(super) verdicts: &'a [(&'a str, Verdict)],
    /// Nothing may be done where the strategy is not RollingUpdate.
    pub(super) bounds: Bounds,
    pub(super) now: Timestamp,
}

impl<'a> Rollout<'a> {
    pub(super) fn of(
        snapshot: &'a Snapshot,
        newest: &'a str,
        verdicts: &'a [(&'a str, Verdict)],
        now: Timestamp,
    ) -> Self {
        let wanted = count(verdicts.iter().filter(|(_, verdict)| verdict.should_run).count());
        let strategy = snapshot.spec().update_strategy.as_ref();
        let rolling = strategy
            .filter(|strategy| strategy.type_.as_deref().is_none_or(|kind| kind == "RollingUpdate"))
            .and_then(|strategy| strategy.rolling_update.as_ref());
        let share =
            |value: Option<&IntOrString>| value.map_or(0, |value| shares::of(value, wanted, Round::Up));
        let bounds = rolling.map_or(Bounds::default(), |rolling| Bounds {
            surge: share(rolling.max_surge.as_ref()),
            unavailable: share(rolling.max_unavailable.as_ref()),
        });
        Rollout { snapshot, newest, verdicts, bounds, now }
    }

    /// Replaces pods of older templates as far as the bounds allow.
    pub(super) fn replace(&self, by_node: &BTreeMap<&'a str, Vec<&'a Pod>>, steps: &mut Steps<'a>) {
        if self.bounds == Bounds::default() {
            return;
        }
        let works = |pod: &Pod| is_available(self.snapshot, pod, self.now);
        let (mut unavailable, mut surged) = (0, 0);
        // Nodes whose pod does not work anyway, and those whose pod does.
        let (mut broken, mut working) = (Vec::new(), Vec::new());
        for (name, _) in self.verdicts.iter().filter(|(_, verdict)| verdict.should_run) {
            let live =
                by_node.get(name).into_iter().flatten().filter(|pod| !pods::is_terminating(pod)).copied();
            let (new, old): (Vec<&Pod>, Vec<&Pod>) = live.partition(|pod| hash_of(pod) == Some(self.newest));
            match (new.first().copied(), old.first().copied()) {
                (None, None) => unavailable += 1,
                (Some(new), None) => unavailable += i32::from(!works(new)),
                (None, Some(old)) if works(old) => working.push((*name, old)),
                (None, Some(old)) => {
                    unavailable += 1;
                    broken.push((*name, old));
                }
                // The old one goes once the new one works: `surplus` sees to that.
                (Some(new), Some(_)) => surged += i32::from(!works(new)),
            }
        }
        let (room, surges) = match self.bounds.surge {
            0 => (self.bounds.unavailable - unavailable, false),
            surge => (surge - surged, true),
        };
        let chosen = broken.into_iter().chain(working.into_iter().take(usize::try_from(room).unwrap_or(0)));
        for (node, pod) in chosen {
            if surges {
                steps.create.insert(node);
            } else {
                steps.delete(pod);
            }
        }
    }
}

/// Whether a pod has been ready for long enough.
pub(super) fn is_available(snapshot: &Snapshot, pod: &Pod, now: Timestamp) -> bool {
    pods::available_from(pod, snapshot.min_ready()).is_some_and(|at| at <= now)
}
