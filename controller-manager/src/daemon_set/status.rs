//! The status of a DaemonSet: on how many nodes it should run, runs, runs by mistake, is up to date and available.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};

use super::plan::{Snapshot, hash, hash_of};
use super::rolling;
use crate::frame::{Action, Kind, Outcome, Plan, Timestamp};
use crate::kit::pods;

/// Writes the status, and says when the next pod will be available.
pub fn report(snapshot: &Snapshot, outcome: &Outcome, now: Timestamp) -> Plan {
    let set = &*snapshot.set;
    let mut plan = Plan::default();
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    for pod in snapshot.pods.iter().filter(|_| snapshot.min_ready() > 0) {
        if let Some(at) = pods::available_from(pod, snapshot.min_ready()).filter(|at| *at > now) {
            plan.look_again_at(at, now);
        }
    }
    let old = set.status.clone().unwrap_or_default();
    let new = status(snapshot, &old, outcome, now);
    plan.actions.extend(Action::status(Kind::of::<DaemonSet>(), &set.metadata, &old, &new));
    plan
}

fn status(snapshot: &Snapshot, old: &DaemonSetStatus, outcome: &Outcome, now: Timestamp) -> DaemonSetStatus {
    let (by_node, history) = (snapshot.pods_by_node(), snapshot.history());
    let mut new = DaemonSetStatus {
        observed_generation: snapshot.set.metadata.generation,
        collision_count: old.collision_count,
        conditions: old.conditions.clone(),
        ..DaemonSetStatus::default()
    };
    let taken = outcome.failure.as_ref().is_some_and(|failure| failure.is_already_exists());
    if taken && history.newest().metadata.uid.is_none() {
        new.collision_count = Some(old.collision_count.unwrap_or(0).saturating_add(1));
    }
    let (mut updated, mut available) = (0, 0);
    for (node, verdict) in snapshot.verdicts() {
        let pods = by_node.get(node).map(Vec::as_slice).unwrap_or_default();
        let scheduled = i32::from(!pods.is_empty());
        if !verdict.should_run {
            new.number_misscheduled += scheduled;
            continue;
        }
        new.desired_number_scheduled += 1;
        new.current_number_scheduled += scheduled;
        let Some(oldest) = pods.first() else { continue };
        new.number_ready += i32::from(pods::is_ready(oldest));
        available += i32::from(rolling::is_available(snapshot, oldest, now));
        updated += i32::from(hash_of(oldest) == Some(hash(history.newest())));
    }
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    new.updated_number_scheduled = some(updated);
    new.number_available = some(available);
    new.number_unavailable = some(new.desired_number_scheduled - available);
    new
}
