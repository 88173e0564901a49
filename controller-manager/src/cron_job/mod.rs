//! CronJobs: Jobs at set times. What was started is read from the Jobs themselves, so a start is noted also when the
//! process ends between the two. Upstream: `pkg/controller/cronjob`.

mod due;
mod plan;
mod status;
#[cfg(test)]
mod tests;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use machinery::clock::Clock;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners};
use due::Times;
use plan::Snapshot;

/// The controller.
pub struct CronJobs {
    caches: Caches,
}

impl CronJobs {
    /// Sees to it that changes reach the queue. Another schedule counts from its next time on, not for times past.
    pub fn new(caches: &Caches, queue: &Queue<Key>, clock: &Clock) -> Self {
        let (keys, clock) = (queue.clone(), clock.clone());
        caches.cron_jobs.on_change(move |change| {
            let key = Key::of(&change.latest().metadata);
            match (&change.old, &change.new) {
                (Some(old), Some(new)) if plan_of(old) != plan_of(new) => {
                    let wait = Times::of(new).ok().and_then(|times| times.wait(new, clock.now()));
                    keys.add_after(key, wait.unwrap_or_default());
                }
                _ => keys.add(key),
            }
        });
        follow::dependents(&caches.cron_jobs, &caches.jobs, queue, |_| true, |_, _| false);
        CronJobs { caches: caches.clone() }
    }
}

fn plan_of(job: &CronJob) -> (&str, Option<&str>) {
    (&job.spec.schedule, job.spec.time_zone.as_deref())
}

impl Controller for CronJobs {
    type Snapshot = Snapshot;

    const NAME: &'static str = "cronjob";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<CronJob>(), Kind::of::<Job>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let cron_job = self.caches.cron_jobs.get(Some(&key.namespace), &key.name)?;
        let jobs = self.caches.jobs_by_owner.get(owners::uid(&cron_job.metadata));
        Some(Snapshot { cron_job, jobs })
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        plan::plan(snapshot, now)
    }

    fn report(&self, snapshot: &Snapshot, _outcome: &Outcome, _now: Timestamp) -> Plan {
        status::report(snapshot)
    }
}
