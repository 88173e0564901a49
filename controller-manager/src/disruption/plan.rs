//! The numbers of a budget's status. Pure. Upstream: `disruption.go: trySync`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Message, conditions};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use crate::frame::{Action, Kind, Plan, Timestamp, api_time, plus_seconds, reference};
use crate::kit::{owners, pods, shares};

/// After this time an evicted pod that is still there counts again.
const EVICTION_SECONDS: i64 = 120;
const CONDITION: &str = "DisruptionAllowed";

/// All that the plan for one budget looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The budget.
    pub budget: Arc<PodDisruptionBudget>,
    /// The pods it is about.
    pub pods: Vec<Arc<Pod>>,
    /// How many pods their controllers want, by uid; or why that is not known.
    pub sizes: BTreeMap<String, Result<i32, Message>>,
}

/// How many pods a Deployment wants.
pub fn size_of_deployment(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// How many pods a ReplicaSet wants.
pub fn size_of_set(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// How many pods a ReplicationController wants.
pub fn size_of_rc(controller: &ReplicationController) -> i32 {
    controller.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Writes the status that the pods lead to.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let budget = &snapshot.budget;
    let old = budget.status.clone().unwrap_or_default();
    let tell = |warning, reason, message: String| {
        let about = reference(&**budget);
        Action::Tell { about, warning, reason, message }
    };
    if snapshot.pods.is_empty() && old.observed_generation != budget.metadata.generation {
        plan.actions.push(tell(false, "NoPods", "No matching pods found".to_owned()));
    }
    let disrupted = disrupted(snapshot, &old, now, &mut plan);
    let healthy = |pod: &&Arc<Pod>| {
        !pods::is_terminating(pod)
            && !disrupted.contains_key(owners::name(&pod.metadata))
            && pods::is_ready(pod)
    };
    let mut new = PodDisruptionBudgetStatus {
        current_healthy: Some(
            i32::try_from(snapshot.pods.iter().filter(healthy).count()).unwrap_or(i32::MAX),
        ),
        disrupted_pods: Some(disrupted.clone()).filter(|pods| !pods.is_empty()),
        observed_generation: budget.metadata.generation,
        ..old.clone()
    };
    let condition = match numbers(snapshot) {
        Ok((expected, desired)) => {
            let spare = new.current_healthy.unwrap_or(0) - desired;
            let allowed = if expected <= 0 { 0 } else { spare.max(0) };
            new.expected_pods = Some(expected);
            new.desired_healthy = Some(desired);
            new.disruptions_allowed = Some(allowed);
            if allowed > 0 {
                ("True", "SufficientPods", String::new())
            } else {
                ("False", "InsufficientPods", String::new())
            }
        }
        Err(why) => {
            new.disruptions_allowed = Some(0);
            let known =
                old.conditions.iter().flatten().any(|c| c.reason == "SyncFailed" && *why == *c.message);
            if !known {
                plan.actions.push(tell(
                    true,
                    "CalculateExpectedPodCountFailed",
                    format!("Failed to calculate the number of expected pods: {why}"),
                ));
            }
            ("False", "SyncFailed", why.into())
        }
    };
    set_condition(&mut new, budget.metadata.generation, condition, now);
    plan.actions.extend(write(budget, &old, &new));
    plan
}

/// Evicted pods that are not gone yet and do not count any more. Those that stay too long count again.
fn disrupted(
    snapshot: &Snapshot,
    old: &PodDisruptionBudgetStatus,
    now: Timestamp,
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let mut still = BTreeMap::new();
    for (name, since) in old.disrupted_pods.iter().flatten() {
        let pod = snapshot.pods.iter().find(|pod| owners::name(&pod.metadata) == name);
        let Some(pod) = pod.filter(|pod| !pods::is_terminating(pod)) else { continue };
        let until = plus_seconds(since.0, EVICTION_SECONDS);
        if until > now {
            plan.look_again_at(until, now);
            still.insert(name.clone(), since.clone());
        } else {
            plan.actions.push(Action::Tell {
                about: reference(&**pod),
                warning: true,
                reason: "NotDeleted",
                message: "Pod was expected by PDB to be deleted but it wasn't".to_owned(),
            });
        }
    }
    still
}

/// How many pods there should be, and how many of them healthy.
fn numbers(snapshot: &Snapshot) -> Result<(i32, i32), Message> {
    let Some(spec) = &snapshot.budget.spec else { return Ok((0, 0)) };
    let wanted = || {
        let sizes = snapshot.sizes.values().cloned();
        let sum = sizes.map(|size| size.map(i64::from)).sum::<Result<i64, Message>>()?;
        Ok::<_, String>(i32::try_from(sum).unwrap_or(i32::MAX))
    };
    if let Some(limit) = &spec.max_unavailable {
        let expected = wanted()?;
        return Ok((expected, (expected - share(limit, expected)).max(0)));
    }
    match &spec.min_available {
        Some(IntOrString::Int(least)) => Ok((i32::try_from(snapshot.pods.len()).unwrap_or(i32::MAX), *least)),
        Some(limit) => {
            let expected = wanted()?;
            Ok((expected, share(limit, expected)))
        }
        None => Ok((0, 0)),
    }
}

/// A count or a percentage, rounded up.
fn share(limit: &IntOrString, of: i32) -> i32 {
    shares::of(limit, of, shares::Round::Up)
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    generation: Option<i64>,
    (value, reason, message): (&str, &str, String),
    now: Timestamp,
) {
    let condition = Condition {
        last_transition_time: api_time(now),
        message,
        observed_generation: generation,
        reason: reason.to_owned(),
        status: value.to_owned(),
        type_: CONDITION.to_owned(),
    };
    conditions::set(status.conditions.get_or_insert_default(), condition);
}

/// Writes the status over the one that was looked at and no later one: an eviction may have counted down.
fn write(
    budget: &PodDisruptionBudget,
    old: &PodDisruptionBudgetStatus,
    new: &PodDisruptionBudgetStatus,
) -> Option<Action> {
    let mut action = Action::status(Kind::of::<PodDisruptionBudget>(), &budget.metadata, old, new)?;
    if let Action::Patch { body, .. } = &mut action {
        body["metadata"]["resourceVersion"] = json!(budget.metadata.resource_version);
    }
    Some(action)
}
