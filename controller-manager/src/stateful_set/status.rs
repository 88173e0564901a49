//! The status of a StatefulSet: how many pods there are, work, and are of which revision. Once all are of the newest
//! one and ready, that is the current one.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::plan::{Snapshot, revision_of};
use crate::frame::{Action, Kind, Outcome, Plan, Timestamp};
use crate::kit::{count, owners, pods};

/// Writes the status, and says when the next pod will be available.
pub fn report(snapshot: &Snapshot, outcome: &Outcome, now: Timestamp) -> Plan {
    let set = &*snapshot.set;
    let mut plan = Plan::default();
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let seconds = snapshot.spec().min_ready_seconds.unwrap_or(0);
    for pod in snapshot.pods.iter().filter(|_| seconds > 0) {
        if let Some(at) = pods::available_from(pod, seconds).filter(|at| *at > now) {
            plan.look_again_at(at, now);
        }
    }
    let old = set.status.clone().unwrap_or_default();
    let new = status(snapshot, &old, outcome, now);
    plan.actions.extend(Action::status(Kind::of::<StatefulSet>(), &set.metadata, &old, &new));
    plan
}

fn status(
    snapshot: &Snapshot,
    old: &StatefulSetStatus,
    outcome: &Outcome,
    now: Timestamp,
) -> StatefulSetStatus {
    let history = snapshot.history();
    let newest = owners::name(&history.newest().metadata);
    let mut current = snapshot.current_revision(&history);
    let all = snapshot.pods_by_ordinal();
    let number = |counts: &dyn Fn(&Pod) -> bool| count(all.values().filter(|pod| counts(pod)).count());
    let is_ready = |pod: &Pod| pods::phase(pod) == "Running" && pods::is_ready(pod);
    let stays = |pod: &Pod| !pods::is_terminating(pod);
    let replicas = number(&|_| true);
    let ready = number(&is_ready);
    let available = number(&|pod| snapshot.works(pod, now));
    let updated = number(&|pod| stays(pod) && revision_of(pod) == newest);
    let wanted = snapshot.spec().replicas.unwrap_or(1);
    if [replicas, ready, updated] == [wanted; 3] {
        current = newest;
    }
    let taken = outcome.failure.as_ref().is_some_and(|failure| failure.is_already_exists())
        && history.newest().metadata.uid.is_none();
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    StatefulSetStatus {
        observed_generation: snapshot.set.metadata.generation,
        replicas,
        ready_replicas: some(ready),
        available_replicas: Some(available.min(ready)),
        current_replicas: some(number(&|pod| stays(pod) && revision_of(pod) == current)),
        updated_replicas: some(updated),
        current_revision: Some(current.to_owned()),
        update_revision: Some(newest.to_owned()),
        collision_count: Some(old.collision_count.unwrap_or(0).saturating_add(i32::from(taken))),
        conditions: old.conditions.clone(),
    }
}
