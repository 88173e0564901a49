//! Which pods a Job takes in, makes and deletes. Upstream: `manageJob`, `ClaimPods`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::failures::{self, Sentence};
use super::indexes::Indexes;
use super::tally::{
    self, FAILURES, FINALIZER, IGNORED_FAILURES, INDEX, Snapshot, Tally, index_of, is_tracked,
};
use super::{status, verdict};
use crate::frame::{Action, Kind, Plan, Timestamp, Told, reference};
use crate::kit::claim::Claim;
use crate::kit::{count, deletion_order, owners, pods};

/// The variable that says which index a container works on.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The most pods made or deleted in one plan.
const BURST: i32 = 500;

/// The longest beginning of a name that the server ends.
const LONGEST_PREFIX: usize = 58;

/// What to do next about a Job that is not over.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let tally = Tally::of(snapshot);
    let mut plan = Plan::default();
    plan.actions.extend(claims(snapshot));
    if verdict::of(&tally, now).is_some() {
        if !tally.active.is_empty() {
            // What has been decided must not look otherwise once its pods are deleted.
            plan.actions.extend(status::announce(&tally, now));
            plan.actions.extend(tally.active.iter().map(|pod| delete(tally.job, pod)));
        }
        return plan;
    }
    if let Some(at) = verdict::deadline(&tally) {
        plan.look_again_at(at, now);
    }
    if tally.job.metadata.deletion_timestamp.is_none() {
        manage(&tally, now, &mut plan);
    }
    plan
}

/// Takes in pods, which from then on wait to be counted, and lets others go, which no longer do.
fn claims(snapshot: &Snapshot) -> Vec<Action> {
    let nothing = LabelSelector::default();
    let owner = snapshot.owner(&nothing);
    let settle = |pod: &Pod| {
        let claim = owner.claim(&pod.metadata, true);
        let mut settled: Pod = owner.settled(pod, claim)?;
        let finalizers = settled.metadata.finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if claim == Claim::Adopt {
            finalizers.push(FINALIZER.to_owned());
        }
        Action::change(pod, &settled, None)
    };
    snapshot.pods.iter().filter_map(|pod| settle(pod)).collect()
}

/// As many pods at work as there should be.
fn manage(tally: &Tally, now: Timestamp, plan: &mut Plan) {
    let active = count(tally.active.len());
    let parallelism = tally.spec.parallelism.unwrap_or(1);
    let wanted = match tally.spec.completions {
        _ if tally.is_suspended() => 0,
        None if tally.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => (completions - tally.succeeded).clamp(0, parallelism.max(0)),
    };
    let surplus = surplus(tally, (active - wanted).max(0));
    if !surplus.is_empty() {
        // They do not count, however they end.
        let tracked = surplus.iter().filter(|pod| is_tracked(pod));
        plan.actions.extend(tracked.map(|pod| Action::release(*pod, FINALIZER)));
        plan.actions.extend(surplus.iter().map(|pod| delete(tally.job, pod)));
        return;
    }
    let waited_for = if failures::waits_for_the_end(tally.spec) { tally.terminating } else { 0 };
    let lacking = (wanted - active - waited_for).min(BURST);
    if lacking <= 0 {
        return;
    }
    let (new, wait) = new_pods(tally, lacking, now);
    if wait > Duration::ZERO {
        plan.look_again(wait);
    }
    let told = Told {
        about: reference(tally.job),
        done: Some(("SuccessfulCreate", "Created pod: {name}".to_owned())),
        failed: Some(("FailedCreate", "Error creating: {error}".to_owned())),
    };
    plan.actions.extend(Action::create_all(&new, Some(told)));
}

/// The pods that are too many: those of no index and all but one of each, then the least useful ones.
fn surplus<'a>(tally: &Tally<'a>, at_least: i32) -> Vec<&'a Pod> {
    let at_least = usize::try_from(at_least).unwrap_or(0);
    let burst = usize::try_from(BURST).unwrap_or(usize::MAX);
    let nowhere = HashMap::new();
    let (mut go, mut stay) = (Vec::new(), tally.active.clone());
    if tally.indexed.is_some() {
        let mut by_index: BTreeMap<i32, Vec<&Pod>> = BTreeMap::new();
        for pod in stay.drain(..) {
            match index_of(pod).filter(|_| tally.is_valid(pod)) {
                Some(index) => by_index.entry(index).or_default().push(pod),
                None => go.push(pod),
            }
        }
        for mut same in by_index.into_values() {
            deletion_order::sort(&mut same, &nowhere);
            stay.extend(same.pop());
            go.append(&mut same);
        }
    }
    if go.len() < at_least {
        deletion_order::sort(&mut stay, &nowhere);
        stay.truncate(at_least - go.len());
        go.append(&mut stay);
    }
    if !tally.is_suspended() {
        go.truncate(burst);
    }
    go
}

/// The pods that may be made now, and how long the next of the others has to wait.
fn new_pods(tally: &Tally, lacking: i32, now: Timestamp) -> (Vec<Pod>, Duration) {
    let lacking = usize::try_from(lacking).unwrap_or(0);
    let per_index = tally.spec.backoff_limit_per_index.is_some();
    if !per_index {
        let wait = failures::wait_after(tally.pods.iter().copied(), tally.spec, now);
        if wait > Duration::ZERO {
            return (Vec::new(), wait);
        }
    }
    let pod = pod(tally);
    let Some(indexed) = &tally.indexed else { return (vec![pod; lacking], Duration::ZERO) };
    let working = |pod: &&&Pod| {
        pods::is_active(pod)
            || (failures::waits_for_the_end(tally.spec)
                && pods::is_terminating(pod)
                && !pods::is_finished(pod))
    };
    let mut taken = Indexes::of(
        tally.pods.iter().filter(working).filter(|pod| tally.is_valid(pod)).filter_map(|pod| index_of(pod)),
    );
    taken = taken.union(&indexed.done).union(indexed.failed.as_ref().unwrap_or(&Indexes::default()));
    let (mut now_due, mut next) = (Vec::new(), None::<Duration>);
    for index in taken.missing(lacking, indexed.completions) {
        let before = indexed.last_failures.get(&index).copied();
        let failures = before.map_or(0, |pod| tally::failures_before(pod).saturating_add(1));
        let last = before.map_or(now, failures::end);
        let wait = failures::wait(usize::try_from(failures).unwrap_or(0), last, now);
        if wait > Duration::ZERO {
            next = Some(next.map_or(wait, |next| next.min(wait)));
        } else {
            now_due.push(with_index(tally, &pod, index, per_index.then_some(before)));
        }
    }
    (now_due, next.unwrap_or_default())
}

/// What all pods of the Job have in common.
fn pod(tally: &Tally) -> Pod {
    let mut pod = pods::from_template(&tally.spec.template, &Kind::of::<Job>(), &tally.job.metadata);
    pod.metadata.generate_name = Some(pods::generate_name(owners::name(&tally.job.metadata)));
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    if let Some(spec) = pod.spec.as_mut().filter(|_| tally.indexed.is_some()) {
        spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(tell_index);
    }
    pod
}

fn tell_index(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let label = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(label), ..EnvVarSource::default() }),
        value: None,
    });
}

/// The pod of an index; with a limit for each index also how often it has failed, up to the pod that it replaces.
fn with_index(tally: &Tally, pod: &Pod, index: i32, replaced: Option<Option<&Pod>>) -> Pod {
    let mut pod = pod.clone();
    let name = owners::name(&tally.job.metadata);
    let end = format!("-{index}-");
    let kept: String = name.chars().take(LONGEST_PREFIX - end.len()).collect();
    pod.metadata.generate_name = Some(format!("{kept}{end}"));
    pod.metadata.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let notes = pod.metadata.annotations.get_or_insert_default();
    notes.insert(INDEX.to_owned(), index.to_string());
    if let Some(replaced) = replaced {
        let before = |annotation| replaced.map_or(0, |pod| tally::number(pod, annotation));
        let ignored = replaced.is_some_and(|pod| failures::judge(tally.spec, pod) == Sentence::Ignore);
        let counted = before(FAILURES).saturating_add(i32::from(replaced.is_some() && !ignored));
        notes.insert(FAILURES.to_owned(), counted.to_string());
        let ignored = before(IGNORED_FAILURES).saturating_add(i32::from(ignored));
        if ignored > 0 {
            notes.insert(IGNORED_FAILURES.to_owned(), ignored.to_string());
        }
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{name}-{index}"));
    }
    pod
}

fn delete(job: &Job, pod: &Pod) -> Action {
    let told = Told {
        about: reference(job),
        done: Some(("SuccessfulDelete", "Deleted pod: {name}".to_owned())),
        failed: Some(("FailedDelete", "Error deleting: {error}".to_owned())),
    };
    Action::delete(pod, Some(told))
}
