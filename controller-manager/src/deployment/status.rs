//! The status of a Deployment: counts, and the conditions Available,
//! Progressing and ReplicaFailure in upstream's words. Upstream:
//! `pkg/controller/deployment/{progress,sync}.go`.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::plan::{Snapshot, available, bounds, existing, in_api, size, wanted};
use super::revisions;
use crate::frame::{Outcome, Plan, Timestamp, api_time, plus_seconds};
use crate::kit::{owners, selector};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The status that the snapshot and the way the plan went ask for, and when
/// to look again for a roll-out that may get stuck.
pub fn status(snapshot: &Snapshot, outcome: &Outcome, now: Timestamp) -> (DeploymentStatus, Plan) {
    let (deployment, spec) = (&*snapshot.deployment, snapshot.spec());
    let old = deployment.status.clone().unwrap_or_default();
    let mut plan = Plan::default();
    if selector::is_empty(&spec.selector) {
        let observed_generation = deployment.metadata.generation;
        return (DeploymentStatus { observed_generation, ..old }, plan);
    }
    let sets = snapshot.claimed();
    let newest = revisions::find_new(deployment, &sets).map(|index| &sets[index]);
    let mut new = counts(snapshot, &sets, newest, now);
    let taken = outcome.failure.as_ref().is_some_and(|failure| failure.is_already_exists());
    if taken && newest.is_none() {
        new.collision_count = Some(old.collision_count.unwrap_or(0).saturating_add(1));
    }
    let mut conditions = Conditions { list: new.conditions.take().unwrap_or_default(), now };
    let paused = spec.paused == Some(true);
    if spec.progress_deadline_seconds.is_some_and(|seconds| seconds != i32::MAX) {
        note_pause(&mut conditions, paused);
        if !paused && deployment.metadata.deletion_timestamp.is_none() {
            note_newest(&mut conditions, newest, outcome);
            note_progress(&mut conditions, snapshot, &old, &new, newest);
            plan.requeue_after = next_look(&conditions, snapshot, &new);
        }
    } else {
        conditions.remove(PROGRESSING);
    }
    match failure(&sets, newest) {
        Some((reason, message)) => conditions.set(FAILURE, "True", &reason, message),
        None => conditions.remove(FAILURE),
    }
    new.conditions = Some(conditions.list).filter(|list| !list.is_empty());
    (new, plan)
}

fn counts(
    snapshot: &Snapshot,
    sets: &[ReplicaSet],
    newest: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let (deployment, spec) = (&*snapshot.deployment, snapshot.spec());
    let old = deployment.status.as_ref();
    let up: i64 = sets.iter().map(available).sum();
    let ready = sets.iter().filter_map(|set| set.status.as_ref()?.ready_replicas).map(i64::from).sum();
    let missing = sets.iter().map(size).sum::<i64>() - up;
    let leaving = sets.iter().filter_map(|set| set.status.as_ref()?.terminating_replicas);
    let leaving = leaving.map(i64::from).sum();
    let some = |count: i64| Some(in_api(count)).filter(|count| *count > 0);
    let mut conditions =
        Conditions { list: old.and_then(|old| old.conditions.clone()).unwrap_or_default(), now };
    if up >= wanted(spec) - bounds(spec).unavailable {
        let message = "Deployment has minimum availability.".to_owned();
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
    }
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sets.iter().map(existing).sum()),
        updated_replicas: some(newest.map_or(0, existing)),
        ready_replicas: some(ready),
        available_replicas: some(up),
        unavailable_replicas: some(missing),
        terminating_replicas: Some(in_api(leaving)),
        collision_count: old.and_then(|old| old.collision_count),
        conditions: Some(conditions.list),
    }
}

struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|condition| condition.type_ == kind)
    }

    fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.type_ != kind);
    }

    /// Sets a condition unless status and reason are already so.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let known = self.get(kind);
        if known.is_some_and(|known| known.status == status && known.reason.as_deref() == Some(reason)) {
            return;
        }
        self.renew(kind, status, reason, message);
    }

    /// Sets a condition and notes that it was set now.
    fn renew(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let now = api_time(self.now);
        let since = self
            .get(kind)
            .filter(|known| known.status == status)
            .and_then(|known| known.last_transition_time.clone());
        self.remove(kind);
        self.list.push(DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(now.clone()),
            last_transition_time: Some(since.unwrap_or(now)),
        });
    }

    fn progress_reason(&self) -> Option<&str> {
        self.get(PROGRESSING)?.reason.as_deref()
    }
}

/// Time does not count while a roll-out is paused.
fn note_pause(conditions: &mut Conditions, paused: bool) {
    match conditions.progress_reason() {
        Some(TIMED_OUT) => {}
        Some(PAUSED) if paused => {}
        Some(PAUSED) => {
            conditions.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
        }
        _ if paused => conditions.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned()),
        _ => {}
    }
}

fn note_newest(conditions: &mut Conditions, newest: Option<&ReplicaSet>, outcome: &Outcome) {
    let failure =
        outcome.failure.as_ref().filter(|failure| !failure.is_passing() && !failure.is_already_exists());
    match (newest.map(|set| owners::name(&set.metadata)), failure) {
        (Some(name), _) if outcome.created > 0 => {
            let message = format!("Created new replica set \"{name}\"");
            conditions.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
        }
        (Some(name), _) if conditions.get(PROGRESSING).is_none() => {
            let message = format!("Found new replica set \"{name}\"");
            conditions.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
        }
        (None, Some(failure)) => {
            conditions.set(PROGRESSING, "False", "ReplicaSetCreateError", failure.message.clone());
        }
        _ => {}
    }
}

fn note_progress(
    conditions: &mut Conditions,
    snapshot: &Snapshot,
    old: &DeploymentStatus,
    new: &DeploymentStatus,
    newest: Option<&ReplicaSet>,
) {
    let deployment = &*snapshot.deployment;
    if new.replicas == new.updated_replicas && conditions.progress_reason() == Some(COMPLETE) {
        return;
    }
    let subject = match newest {
        Some(set) => format!("ReplicaSet \"{}\"", owners::name(&set.metadata)),
        None => format!("Deployment \"{}\"", owners::name(&deployment.metadata)),
    };
    if is_complete(deployment, new, wanted(snapshot.spec())) {
        conditions.set(PROGRESSING, "True", COMPLETE, format!("{subject} has successfully progressed."));
    } else if is_progressing(old, new) {
        conditions.renew(PROGRESSING, "True", "ReplicaSetUpdated", format!("{subject} is progressing."));
    } else if deadline(conditions, snapshot).is_some_and(|deadline| deadline < conditions.now) {
        conditions.set(PROGRESSING, "False", TIMED_OUT, format!("{subject} has timed out progressing."));
    }
}

fn is_complete(deployment: &Deployment, status: &DeploymentStatus, wanted: i64) -> bool {
    let is = |count: Option<i32>| i64::from(count.unwrap_or(0)) == wanted;
    is(status.updated_replicas)
        && is(status.replicas)
        && is(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let number = |count: Option<i32>| i64::from(count.unwrap_or(0));
    let outdated = |status: &DeploymentStatus| number(status.replicas) - number(status.updated_replicas);
    new.updated_replicas > old.updated_replicas
        || outdated(new) < outdated(old)
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

/// When the roll-out counts as stuck unless something happens before.
fn deadline(conditions: &Conditions, snapshot: &Snapshot) -> Option<Timestamp> {
    let progressing = conditions.get(PROGRESSING)?;
    if matches!(progressing.reason.as_deref(), Some(COMPLETE | TIMED_OUT)) {
        return None;
    }
    let since = progressing.last_update_time.as_ref()?.0;
    Some(plus_seconds(since, i64::from(snapshot.spec().progress_deadline_seconds?)))
}

fn next_look(
    conditions: &Conditions,
    snapshot: &Snapshot,
    new: &DeploymentStatus,
) -> Option<std::time::Duration> {
    if is_complete(&snapshot.deployment, new, wanted(snapshot.spec())) {
        return None;
    }
    let mut plan = Plan::default();
    plan.look_again_at(plus_seconds(deadline(conditions, snapshot)?, 1), conditions.now);
    plan.requeue_after
}

/// The newest set's own failure, else that of any other.
fn failure(sets: &[ReplicaSet], newest: Option<&ReplicaSet>) -> Option<(String, String)> {
    newest.into_iter().chain(sets).find_map(|set| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let found = conditions.iter().find(|condition| condition.type_ == FAILURE)?;
        Some((found.reason.clone().unwrap_or_default(), found.message.clone().unwrap_or_default()))
    })
}
