//! What a Job's pods come to: which run, how many have ended in which way, and which indexes are done. Upstream: the
//! first half of `syncJob`, `indexed_job_utils.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::failures::{self, Sentence};
use super::indexes::Indexes;
use crate::frame::Kind;
use crate::kit::claim::Owner;
use crate::kit::{count, owners, pods};

/// Holds a pod until it is counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// The label and annotation that say which index a pod works on.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// How often the pods of its index had failed before it, as far as that counts …
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// … and as far as it does not.
pub const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// All that a plan for one Job looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Job.
    pub job: Arc<Job>,
    /// Pods that it controls, and those of its namespace that nobody does.
    pub pods: Vec<Arc<Pod>>,
}

impl Snapshot {
    /// The specification; the server accepts no Job without one.
    pub fn spec(&self) -> &JobSpec {
        self.job.spec.as_ref().expect("the API server refuses a Job without spec")
    }

    /// The Job as the owner of pods.
    pub fn owner<'a>(&'a self, nothing: &'a LabelSelector) -> Owner<'a> {
        let selector = self.spec().selector.as_ref().unwrap_or(nothing);
        Owner { kind: Kind::of::<Job>(), meta: &self.job.metadata, selector }
    }
}

/// The sum of it.
pub struct Tally<'a> {
    /// The Job.
    pub job: &'a Job,
    /// Its specification.
    pub spec: &'a JobSpec,
    /// The status it has now.
    pub status: JobStatus,
    /// Its pods; those with an index in the order of these.
    pub pods: Vec<&'a Pod>,
    /// Those that are at work.
    pub active: Vec<&'a Pod>,
    /// How many are on their way out.
    pub terminating: i32,
    /// How many have ended well, or how many indexes are done.
    pub succeeded: i32,
    /// How many have failed, as far as that counts.
    pub failed: i32,
    /// For a Job with indexes.
    pub indexed: Option<Indexed<'a>>,
}

/// What is known of indexes.
pub struct Indexed<'a> {
    /// How many there are.
    pub completions: i32,
    /// Those that the status says are done.
    pub counted: Indexes,
    /// All that are done.
    pub done: Indexes,
    /// Those that have failed for good, when each has a limit of its own.
    pub failed: Option<Indexes>,
    /// The last failed pod of each index that is to be tried again, when each has a limit of its own: it stays until
    /// its successor has taken over the number of failures.
    pub last_failures: BTreeMap<i32, &'a Pod>,
}

fn set(uids: Option<&Vec<String>>) -> BTreeSet<&str> {
    uids.into_iter().flatten().map(String::as_str).collect()
}

/// Whether the pod waits to be counted.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// The index that a pod works on.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// A number that an annotation says; 0 when it does not.
pub fn number(pod: &Pod, annotation: &str) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|notes| notes.get(annotation));
    text.and_then(|text| text.parse().ok()).filter(|number| *number >= 0).unwrap_or(0)
}

/// How often pods of its index had failed before it.
pub fn failures_before(pod: &Pod) -> i32 {
    number(pod, FAILURES).saturating_add(number(pod, IGNORED_FAILURES))
}

/// Whether a Job is over.
pub fn is_finished(job: &Job) -> bool {
    condition(job, "Complete").or(condition(job, "Failed")).is_some()
}

/// When a condition of a Job came to hold.
pub fn condition<'a>(job: &'a Job, kind: &str) -> Option<&'a k8s_openapi::api::batch::v1::JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether somebody else takes care of a Job.
pub fn is_managed_elsewhere(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|manager| manager != "kubernetes.io/job-controller")
}

impl<'a> Tally<'a> {
    /// Counts the pods.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let (job, spec) = (&*snapshot.job, snapshot.spec());
        let nothing = LabelSelector::default();
        let owner = snapshot.owner(&nothing);
        let mut all: Vec<&Pod> = snapshot.pods.iter().map(|pod| &**pod).collect();
        all.retain(|pod| owner.claim(&pod.metadata, true).is_ours());
        let mut tally = Tally {
            active: all.iter().copied().filter(|pod| pods::is_active(pod)).collect(),
            terminating: count(
                all.iter().filter(|pod| pods::is_terminating(pod) && !pods::is_finished(pod)).count(),
            ),
            status: job.status.clone().unwrap_or_default(),
            pods: all,
            succeeded: 0,
            failed: 0,
            indexed: None,
            job,
            spec,
        };
        if spec.completion_mode.as_deref() == Some("Indexed") {
            tally.pods.sort_by_key(|pod| index_of(pod));
            tally.indexed = Some(tally.indexes());
        }
        let (succeeded, failed) = tally.uncounted();
        let not_yet = |among: &BTreeSet<&str>, pod: &Pod| {
            is_tracked(pod) && tally.is_valid(pod) && !among.contains(owners::uid(&pod.metadata))
        };
        let new_successes = tally
            .pods
            .iter()
            .filter(|pod| pods::phase(pod) == "Succeeded" && not_yet(&succeeded, pod))
            .count();
        let new_failures = tally
            .pods
            .iter()
            .filter(|pod| tally.has_failed(pod) && not_yet(&failed, pod))
            .filter(|pod| failures::judge(spec, pod) != Sentence::Ignore)
            .count();
        let known = |counted: Option<i32>, uncounted: usize, new: usize| {
            counted.unwrap_or(0).saturating_add(count(uncounted + new))
        };
        let sum = known(tally.status.succeeded, succeeded.len(), new_successes);
        let failed = known(tally.status.failed, failed.len(), new_failures);
        tally.succeeded = tally.indexed.as_ref().map_or(sum, |indexed| indexed.done.total());
        tally.failed = failed;
        tally
    }

    /// The uids of pods that the status lists as ended well and as failed, not yet counted.
    pub fn uncounted(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let uncounted = self.status.uncounted_terminated_pods.as_ref();
        (
            set(uncounted.and_then(|pods| pods.succeeded.as_ref())),
            set(uncounted.and_then(|pods| pods.failed.as_ref())),
        )
    }

    /// Whether a pod has failed.
    pub fn has_failed(&self, pod: &Pod) -> bool {
        failures::has_failed(pod, self.spec)
    }

    /// Whether a pod works on something that the Job wants.
    pub fn is_valid(&self, pod: &Pod) -> bool {
        let Some(indexed) = &self.indexed else { return true };
        index_of(pod).is_some_and(|index| index < indexed.completions)
    }

    /// Whether nothing of the Job is to run for now.
    pub fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    fn indexes(&self) -> Indexed<'a> {
        let completions = self.spec.completions.unwrap_or(0);
        let limit = self.spec.backoff_limit_per_index;
        let read = |text: &Option<String>| Indexes::parse(text.as_deref().unwrap_or_default(), completions);
        let valid = |pod: &Pod| index_of(pod).filter(|index| *index < completions);
        let with = |which: &dyn Fn(&Pod) -> bool| {
            let pods = self.pods.iter().filter(|pod| is_tracked(pod) && which(pod));
            Indexes::of(pods.filter_map(|pod| valid(pod)))
        };
        let counted = read(&self.status.completed_indexes);
        let done = counted.union(&with(&|pod| pods::phase(pod) == "Succeeded"));
        let failed = limit.map(|limit| {
            let failed_for_good = |pod: &Pod| {
                self.has_failed(pod)
                    && match failures::judge(self.spec, pod) {
                        Sentence::FailIndex => true,
                        Sentence::Ignore => false,
                        Sentence::Count | Sentence::FailJob(_) => number(pod, FAILURES) >= limit,
                    }
            };
            read(&self.status.failed_indexes).union(&with(&failed_for_good))
        });
        let mut last_failures: BTreeMap<i32, &'a Pod> = BTreeMap::new();
        if let Some(failed) = &failed {
            let active = Indexes::of(self.active.iter().filter_map(|pod| valid(pod)));
            for pod in self.pods.iter().filter(|pod| is_tracked(pod) && self.has_failed(pod)) {
                let Some(index) = valid(pod) else { continue };
                if done.contains(index) || failed.contains(index) || active.contains(index) {
                    continue;
                }
                let age = |pod: &Pod| (failures_before(pod), failures::end(pod));
                let last = last_failures.entry(index).or_insert(pod);
                if age(pod) > age(last) {
                    *last = pod;
                }
            }
        }
        Indexed { completions, counted, done, failed, last_failures }
    }
}
