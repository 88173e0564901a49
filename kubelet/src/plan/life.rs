//! Where a pod is in its life on the node, and what is next in each stage of it. Pure: a worker observes, asks
//! [`Life::next`] for the stage, [`Life::plan`] for the steps, and carries them out.
//! Corresponds to upstream's `podSyncStatus`, `SyncPod`, `SyncTerminatingPod` and `SyncTerminatedPod`.

use std::mem;

use api::pod::is_finished;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{Plan, Situation, Step, next_steps, stop_steps};
use crate::eviction;
use crate::pod_spec;
use crate::pod_status::Ended;

/// Seconds to end in that a pod is left which vanished from the API.
const GRACE_OF_VANISHED: i64 = 1;

/// A stage of a pod's life. There is no way back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Life {
    /// Nobody has said yet whether the node takes it.
    #[default]
    New,
    /// It runs as its spec says.
    Running,
    /// It has run to its end, or the node refused or ended it: nothing of it may run; its dead stay for their logs.
    Finished {
        /// Why, if it was the node that ended it.
        why: Option<Ended>,
        /// Nothing but its dead is left of it.
        swept: bool,
    },
    /// It is to go.
    Ending {
        /// When its grace period began.
        since: Timestamp,
        /// The seconds of it.
        grace: i64,
        /// Why, if the node had ended it before.
        why: Option<Ended>,
        /// What it used is free, and the API was told that it may forget the pod.
        released: bool,
        /// Its files are gone.
        cleared: bool,
    },
}

/// What decides about the stage.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// The pod as its source has it; none when it has it no more.
    pub pod: Option<&'a Pod>,
    /// The last pod that the source had.
    pub known: Option<&'a Pod>,
    /// When it began to be active.
    pub began: Timestamp,
    /// Why the node ends it, if it does.
    pub evicted: Option<&'a Ended>,
    /// The clock.
    pub now: Timestamp,
}

/// The seconds that a pod has to end in, if it is to end: from the deletion, or because its source has it no more.
pub fn grace(pod: Option<&Pod>, known: Option<&Pod>) -> Option<i64> {
    match pod {
        Some(pod) => pod.metadata.deletion_timestamp.is_some().then(|| pod_spec::grace_period(pod)),
        // Who takes a manifest out of a folder has no other way to ask for an end.
        None => Some(
            known.filter(|pod| pod_spec::is_static(pod)).map_or(GRACE_OF_VANISHED, pod_spec::grace_period),
        ),
    }
}

/// When a pod has been active for as long as it may.
pub fn deadline(pod: &Pod, began: Timestamp) -> Option<Timestamp> {
    let seconds = pod_spec::spec(pod).active_deadline_seconds?;
    Some(began.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
}

impl Life {
    /// The stage after what was seen.
    pub fn next(mut self, sight: &Sight<'_>) -> Self {
        let Sight { pod, known, began, evicted, now } = *sight;
        match (&mut self, grace(pod, known), pod) {
            // Another deletion may leave it less time, from now on.
            (Self::Ending { since, grace, .. }, Some(asked), _) if asked < *grace => {
                (*since, *grace) = (now, asked);
            }
            (Self::Ending { .. }, Some(_), _) => {}
            (life, Some(grace), _) => {
                let why = life.take_why();
                return Self::Ending { since: now, grace, why, released: false, cleared: false };
            }
            (Self::New | Self::Running, None, Some(pod)) if is_finished(pod) => {
                return Self::Finished { why: None, swept: false };
            }
            (Self::Running, None, Some(pod)) => {
                let is_late = deadline(pod, began).is_some_and(|due| due <= now);
                let late = is_late.then(|| {
                    let message = "Pod was active on the node longer than the specified deadline";
                    Ended::new("DeadlineExceeded", message.to_owned())
                });
                if let Some(why) = late.or_else(|| evicted.cloned()) {
                    return Self::Finished { why: Some(why), swept: false };
                }
            }
            _ => {}
        }
        self
    }

    /// What to do in this stage.
    pub fn plan(&self, s: &Situation<'_>) -> Plan {
        match self {
            Self::New => Plan::default(),
            Self::Running => next_steps(s),
            Self::Finished { swept, why } => {
                let is_evicted = why.as_ref().is_some_and(|why| why.reason == eviction::EVICTED);
                let grace = if is_evicted { eviction::GRACE } else { pod_spec::grace_period(s.pod) };
                let mut plan = stop_steps(s.pod, s.view, grace);
                if plan.done && !swept {
                    plan.steps.push(Step::Sweep);
                } else if plan.done && why.as_ref().is_some_and(|why| why.disrupted) {
                    // What they have written is what the node wants back; the status tells how they ended.
                    let containers = s.view.containers.iter();
                    plan.steps.extend(containers.map(|c| Step::RemoveContainer { id: c.id.clone() }));
                }
                plan
            }
            Self::Ending { since, grace, released, cleared, .. } => {
                let passed = s.now.duration_since(*since).as_secs().max(0);
                let mut plan = stop_steps(s.pod, s.view, grace.saturating_sub(passed).max(0));
                if plan.done && !released {
                    // Whose end the API is not asked for does not wait for it.
                    plan.steps.extend((!pod_spec::is_static(s.pod)).then_some(Step::TellEnd));
                    plan.steps.extend([Step::Sweep, Step::Release]);
                }
                if plan.done {
                    let containers = s.view.containers.iter();
                    plan.steps.extend(containers.map(|c| Step::RemoveContainer { id: c.id.clone() }));
                    let sandboxes = s.view.sandboxes.iter();
                    plan.steps.extend(sandboxes.map(|s| Step::RemoveSandbox { id: s.id.clone() }));
                    plan.steps.extend((!cleared).then_some(Step::RemoveFiles));
                }
                plan
            }
        }
    }

    /// Whether the pod may still have something of the node's, its volumes above all.
    pub fn holds(&self) -> bool {
        !matches!(self, Self::Finished { swept: true, .. } | Self::Ending { released: true, .. })
    }

    /// Why the node ended the pod, if it did.
    pub fn why(&self) -> Option<&Ended> {
        match self {
            Self::Finished { why, .. } | Self::Ending { why, .. } => why.as_ref(),
            Self::New | Self::Running => None,
        }
    }

    fn take_why(&mut self) -> Option<Ended> {
        match self {
            Self::Finished { why, .. } | Self::Ending { why, .. } => mem::take(why),
            Self::New | Self::Running => None,
        }
    }
}

#[cfg(test)]
mod tests;
