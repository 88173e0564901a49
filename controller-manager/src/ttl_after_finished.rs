//! Deletes finished Jobs once they have been so for as long as they say. Upstream: `pkg/controller/ttlafterfinished`.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Propagation, Timestamp, plus_seconds};
use crate::job::condition;
use crate::kit::follow;

/// The controller.
pub struct TtlAfterFinished {
    caches: Caches,
}

impl TtlAfterFinished {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.jobs, queue);
        TtlAfterFinished { caches: caches.clone() }
    }
}

/// When the Job is to go.
fn end(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let finished = condition(job, "Complete").or(condition(job, "Failed"))?.last_transition_time.as_ref()?.0;
    Some(plus_seconds(finished, i64::from(ttl)))
}

impl Controller for TtlAfterFinished {
    type Snapshot = Arc<Job>;

    const NAME: &'static str = "ttl_jobs_to_delete";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Job>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Arc<Job>> {
        let job = self.caches.jobs.get(Some(&key.namespace), &key.name)?;
        job.metadata.deletion_timestamp.is_none().then_some(job)
    }

    fn plan(&self, job: &Arc<Job>, now: Timestamp) -> Plan {
        plan(job, now)
    }
}

fn plan(job: &Job, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    match end(job) {
        Some(at) if at > now => plan.look_again_at(at, now),
        Some(_) => {
            let mut delete = Action::delete(job, None);
            if let Action::Delete { propagation, resource_version, .. } = &mut delete {
                *propagation = Some(Propagation::Foreground);
                // It may say something else by now.
                resource_version.clone_from(&job.metadata.resource_version);
            }
            plan.actions.push(delete);
        }
        None => {}
    }
    plan
}

#[cfg(test)]
mod tests;
