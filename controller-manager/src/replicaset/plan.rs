//! How many pods a replica set lacks or has too many, which ones to take in,
//! let go and delete, and the status that follows. Pure; serves ReplicaSets and
//! whatever else keeps a count of equal pods. Upstream: `pkg/controller/replicaset`.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::frame::{Action, Failure, Kind, Outcome, Plan, Timestamp, Told, api_time, reference_to, to_value};
use crate::kit::claim::{Claim, Owner};
use crate::kit::{count as count_of, deletion_order, owners, pods, selector};

/// How many pods are made or deleted before the set is looked at again: it may want other ones by then.
const BURST: usize = 500;

/// What keeps a count of equal pods.
#[derive(Clone, Debug)]
pub struct Set {
    /// Its kind.
    pub kind: Kind,
    /// Its metadata.
    pub meta: ObjectMeta,
    /// How many it wants.
    pub replicas: i32,
    /// How long a pod has to be ready to be available.
    pub min_ready_seconds: i32,
    /// Which pods may be its own.
    pub selector: LabelSelector,
    /// What a pod looks like.
    pub template: PodTemplateSpec,
    /// The status it has now.
    pub status: ReplicaSetStatus,
}

/// All that a plan for one set looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The set.
    pub set: Set,
    /// Pods it controls, and unowned pods that its selector selects.
    pub pods: Vec<Arc<Pod>>,
    /// On each node, how many active pods of this set and its siblings (the
    /// sets of the same owner) run there; only filled in when there are too many.
    pub pods_on_node: HashMap<String, usize>,
}

/// Pods of the set, by what counts.
struct Pods<'a> {
    /// Those that count as replicas.
    active: Vec<&'a Pod>,
    /// Those that are on their way out.
    terminating: usize,
    claims: Vec<(&'a Pod, Claim)>,
}

impl Set {
    fn owner(&self) -> Owner<'_> {
        Owner { kind: self.kind.clone(), meta: &self.meta, selector: &self.selector }
    }
}

fn sort_out(snapshot: &Snapshot) -> Pods<'_> {
    let owner = snapshot.set.owner();
    let mut found = Pods { active: vec![], terminating: 0, claims: vec![] };
    for pod in &snapshot.pods {
        let claim = owner.claim(&pod.metadata, pods::is_active(pod));
        found.claims.push((&**pod, claim));
        if !claim.is_ours() {
            continue;
        }
        if pods::is_active(pod) {
            found.active.push(pod);
        } else if pods::is_terminating(pod) && !pods::is_finished(pod) {
            found.terminating += 1;
        }
    }
    found
}

/// What to do about the pods.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let set = &snapshot.set;
    let found = sort_out(snapshot);
    let mut plan = Plan::default();
    let owner = set.owner();
    plan.actions.extend(found.claims.iter().filter_map(|(pod, claim)| owner.settle(*pod, *claim)));
    if set.meta.deletion_timestamp.is_some() {
        return plan;
    }
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    if found.active.len() < wanted {
        plan.actions.push(create(set, (wanted - found.active.len()).min(BURST)));
    } else if found.active.len() > wanted {
        let surplus = (found.active.len() - wanted).min(BURST);
        let mut ranked = found.active;
        if wanted > 0 {
            deletion_order::sort(&mut ranked, &snapshot.pods_on_node);
        }
        plan.actions.extend(ranked.into_iter().take(surplus).map(|pod| delete(set, pod)));
    }
    plan
}

/// When the next pod will have been ready for long enough.
pub fn next_available(snapshot: &Snapshot, now: Timestamp) -> Option<std::time::Duration> {
    let mut plan = Plan::default();
    if snapshot.set.min_ready_seconds > 0 {
        for pod in &snapshot.pods {
            if let Some(at) = pods::available_from(pod, snapshot.set.min_ready_seconds).filter(|at| *at > now)
            {
                plan.look_again_at(at, now);
            }
        }
    }
    plan.requeue_after
}

fn told(set: &Set, done: (&'static str, String), failed: (&'static str, &'static str)) -> Option<Told> {
    Some(Told {
        about: reference_to(&set.kind, &set.meta),
        done: Some(done),
        failed: Some((failed.0, failed.1.to_owned())),
    })
}

fn create(set: &Set, count: usize) -> Action {
    let mut pod = pods::from_template(&set.template, &set.kind, &set.meta);
    pod.metadata.generate_name = Some(pods::generate_name(owners::name(&set.meta)));
    let told = told(
        set,
        ("SuccessfulCreate", "Created pod: {name}".to_owned()),
        ("FailedCreate", "Error creating: {error}"),
    );
    Action::create_many(&pod, count, told)
}

fn delete(set: &Set, pod: &Pod) -> Action {
    let told = told(
        set,
        ("SuccessfulDelete", format!("Deleted pod: {}", owners::name(&pod.metadata))),
        ("FailedDelete", "Error deleting: {error}"),
    );
    Action::delete(pod, told)
}

/// The status that the snapshot and the way the plan went ask for.
pub fn status(snapshot: &Snapshot, outcome: &Outcome, now: Timestamp) -> ReplicaSetStatus {
    let set = &snapshot.set;
    let found = sort_out(snapshot);
    let labels = set.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let count = |counts: &dyn Fn(&Pod) -> bool| {
        let number = found.active.iter().filter(|pod| counts(pod)).count();
        Some(count_of(number)).filter(|number| *number > 0)
    };
    ReplicaSetStatus {
        replicas: count_of(found.active.len()),
        fully_labeled_replicas: count(&|pod| {
            labels.is_none_or(|labels| selector::has_all(labels, pod.metadata.labels.as_ref()))
        }),
        ready_replicas: count(&pods::is_ready),
        available_replicas: count(&|pod| {
            pods::available_from(pod, set.min_ready_seconds).is_some_and(|at| at <= now)
        }),
        terminating_replicas: Some(count_of(found.terminating)),
        observed_generation: set.meta.generation.or(set.status.observed_generation),
        conditions: conditions(set, outcome.failure.as_ref(), found.active.len(), now),
    }
}

fn conditions(
    set: &Set,
    failure: Option<&Failure>,
    active: usize,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = set.status.conditions.clone().unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure.filter(|failure| !failure.is_passing()) {
        Some(_) if known => {}
        Some(failure) => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(
                if count_of(active) < set.replicas { "FailedCreate" } else { "FailedDelete" }.to_owned(),
            ),
            message: Some(failure.message.clone()),
            last_transition_time: Some(api_time(now)),
        }),
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

/// The action that writes the status, if it changed.
pub fn write_status(set: &Set, status: &ReplicaSetStatus) -> Option<Action> {
    let (mut old, mut new) = (to_value(&set.status), to_value(status));
    if set.kind.kind == "ReplicationController" {
        for status in [&mut old, &mut new] {
            status.as_object_mut().map(|fields| fields.remove("terminatingReplicas"));
        }
    }
    Action::status(set.kind.clone(), &set.meta, &old, &new)
}
