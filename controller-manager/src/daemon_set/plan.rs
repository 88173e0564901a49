//! What a DaemonSet lacks and what it has too much of: pods on nodes that should have one, pods where none may be,
//! pods that have ended, pods of an older template. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::nodes::{self, Verdict};
use super::rolling::{self, Rollout};
use crate::frame::{Action, Kind, Plan, Timestamp, Told, reference};
use crate::kit::claim::{Claim, Owner};
use crate::kit::revisions::{self, History};
use crate::kit::{owners, pods, selector};

/// The label that counts changes of the template, for old clients.
const TEMPLATE_GENERATION_LABEL: &str = "pod-template-generation";
/// The annotation that it comes from.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The most pods created or deleted in one plan, so that a large cluster is not filled at once.
const BURST: usize = 250;

/// All that a plan for one DaemonSet looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The DaemonSet.
    pub set: Arc<DaemonSet>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Pods that it controls, and those of its namespace that nobody does.
    pub pods: Vec<Arc<Pod>>,
    /// Revisions that it controls, and those that nobody does.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Until when failed pods stay, by uid.
    pub failed_until: HashMap<String, Timestamp>,
}

impl Snapshot {
    /// The specification; the server accepts no DaemonSet without one.
    pub fn spec(&self) -> &DaemonSetSpec {
        self.set.spec.as_ref().expect("the API server refuses a DaemonSet without spec")
    }

    fn owner(&self) -> Owner<'_> {
        Owner { kind: Kind::of::<DaemonSet>(), meta: &self.set.metadata, selector: &self.spec().selector }
    }

    /// The history of its template.
    pub fn history(&self) -> History {
        let collisions = self.set.status.as_ref().and_then(|status| status.collision_count);
        History::of(&self.owner(), &self.spec().template, collisions, revisions::POD_LABEL, &self.revisions)
    }

    /// What its pods are to be, but for the node.
    pub fn pod_spec(&self) -> PodSpec {
        nodes::spec_of(self.spec().template.spec.as_ref().unwrap_or(&PodSpec::default()))
    }

    /// Its nodes by name, and what each means to it.
    pub fn verdicts(&self) -> Vec<(&str, Verdict)> {
        let spec = self.pod_spec();
        let judge = |node: &Arc<Node>| nodes::judge(&spec, node);
        self.nodes.iter().map(|node| (owners::name(&node.metadata), judge(node))).collect()
    }

    /// How long a pod has to be ready to be available.
    pub fn min_ready(&self) -> i32 {
        self.spec().min_ready_seconds.unwrap_or(0)
    }

    /// Its pods by the node they are for, oldest first.
    pub fn pods_by_node(&self) -> BTreeMap<&str, Vec<&Pod>> {
        let owner = self.owner();
        let mut by_node: BTreeMap<&str, Vec<&Pod>> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| owner.claim(&pod.metadata, true).is_ours()) {
            if let Some(node) = nodes::target(pod) {
                by_node.entry(node).or_default().push(pod);
            }
        }
        for pods in by_node.values_mut() {
            pods.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
        }
        by_node
    }
}

/// The hash that pods of a revision carry.
pub fn hash(revision: &ControllerRevision) -> &str {
    revision
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(revisions::POD_LABEL))
        .map(String::as_str)
        .unwrap_or_default()
}

/// The hash of the revision that a pod was made from.
pub fn hash_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(revisions::POD_LABEL).map(String::as_str)
}

/// What is to be done about pods.
#[derive(Default)]
pub(super) struct Steps<'a> {
    /// Nodes that get a pod.
    pub(super) create: BTreeSet<&'a str>,
    /// Pods to delete, by uid so that each goes once.
    pub(super) delete: BTreeMap<&'a str, &'a Pod>,
    /// What to say before.
    pub(super) told: Vec<Action>,
    /// When to look again.
    pub(super) later: Plan,
}

impl<'a> Steps<'a> {
    pub(super) fn delete(&mut self, pod: &'a Pod) {
        self.delete.insert(owners::uid(&pod.metadata), pod);
    }
}

/// What to do next about a DaemonSet.
pub fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let (set, spec) = (&*snapshot.set, snapshot.spec());
    let mut plan = Plan::default();
    if selector::is_empty(&spec.selector) {
        plan.actions.push(Action::Tell {
            about: reference(set),
            warning: true,
            reason: "SelectingAll",
            message: "This daemon set is selecting all pods. A non-empty selector is required.".to_owned(),
        });
        return plan;
    }
    let owner = snapshot.owner();
    let claims: Vec<(&Pod, Claim)> =
        snapshot.pods.iter().map(|pod| (&**pod, owner.claim(&pod.metadata, true))).collect();
    plan.actions.extend(claims.iter().filter_map(|(pod, claim)| owner.settle(*pod, *claim)));
    if set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let mut history = snapshot.history();
    plan.actions.append(&mut history.actions);
    let by_node = snapshot.pods_by_node();
    let mut steps = Steps::default();
    let verdicts = snapshot.verdicts();
    let rollout = Rollout::of(snapshot, hash(history.newest()), &verdicts, now);
    manage(&rollout, &by_node, &mut steps);
    rollout.replace(&by_node, &mut steps);
    let live: BTreeSet<&str> = by_node.values().flatten().filter_map(|pod| hash_of(pod)).collect();
    let live_names: BTreeSet<&str> = history
        .known
        .iter()
        .filter(|revision| live.contains(hash(revision)))
        .map(|revision| owners::name(&revision.metadata))
        .collect();
    plan.actions.extend(history.prune(&live_names, spec.revision_history_limit));
    plan.actions.append(&mut steps.told);
    plan.actions.extend(create(snapshot, rollout.newest, steps.create.into_iter().take(BURST)));
    plan.actions.extend(steps.delete.into_values().take(BURST).map(|pod| delete(set, pod)));
    plan.requeue_after = steps.later.requeue_after;
    plan
}

/// Each node has the one pod that it should have, and no other.
fn manage<'a>(rollout: &Rollout<'a>, by_node: &BTreeMap<&'a str, Vec<&'a Pod>>, steps: &mut Steps<'a>) {
    let Rollout { snapshot, now, .. } = *rollout;
    let mut known = BTreeSet::new();
    for &(name, Verdict { should_run, may_stay }) in rollout.verdicts {
        known.insert(name);
        let pods = by_node.get(name).map(Vec::as_slice).unwrap_or_default();
        if !may_stay {
            pods.iter().filter(|pod| !pods::is_terminating(pod)).for_each(|pod| steps.delete(pod));
            continue;
        }
        let mut running = Vec::new();
        for pod in pods.iter().filter(|pod| !pods::is_terminating(pod)) {
            match pods::phase(pod) {
                "Failed" => match snapshot.failed_until.get(owners::uid(&pod.metadata)) {
                    Some(until) if *until > now => {
                        running.push(*pod);
                        steps.later.look_again_at(*until, now);
                    }
                    _ => {
                        let message = format!(
                            "Found failed daemon pod {}/{} on node {name}, will try to kill it",
                            owners::namespace(&pod.metadata),
                            owners::name(&pod.metadata)
                        );
                        steps.told.push(tell(&snapshot.set, true, "FailedDaemonPod", message));
                        steps.delete(pod);
                    }
                },
                "Succeeded" => {
                    let message = format!(
                        "Found succeeded daemon pod {}/{} on node {name}, will try to delete it",
                        owners::namespace(&pod.metadata),
                        owners::name(&pod.metadata)
                    );
                    steps.told.push(tell(&snapshot.set, false, "SucceededDaemonPod", message));
                    steps.delete(pod);
                }
                _ => running.push(*pod),
            }
        }
        if pods.is_empty() && should_run {
            steps.create.insert(name);
        }
        surplus(rollout, &running, steps);
    }
    // The scheduler will find no place for pods whose node has gone; those that were bound are the collector's.
    for (_, pods) in by_node.iter().filter(|(node, _)| !known.contains(**node)) {
        let unbound = |pod: &&&Pod| pods::node_name(pod).is_empty() && !pods::is_terminating(pod);
        pods.iter().filter(unbound).for_each(|pod| steps.delete(pod));
    }
}

/// Of several pods on one node the oldest stays; in a roll-out that makes new pods first, the oldest of the new ones
/// and, until that one is available, the oldest of the old ones.
fn surplus<'a>(rollout: &Rollout<'a>, running: &[&'a Pod], steps: &mut Steps<'a>) {
    if running.len() < 2 {
        return;
    }
    let mut keep: Vec<&Pod> = Vec::new();
    if rollout.bounds.surge > 0 {
        let (new, old): (Vec<&Pod>, Vec<&Pod>) =
            running.iter().partition(|pod| hash_of(pod) == Some(rollout.newest));
        keep.extend(new.first());
        let replaced =
            new.first().is_some_and(|pod| rolling::is_available(rollout.snapshot, pod, rollout.now));
        keep.extend(old.first().filter(|_| !replaced));
    } else {
        keep.extend(running.first());
    }
    let stays = |pod: &Pod| keep.iter().any(|kept| owners::uid(&kept.metadata) == owners::uid(&pod.metadata));
    running.iter().filter(|pod| !stays(pod)).for_each(|pod| steps.delete(pod));
}

fn create<'a>(snapshot: &Snapshot, newest: &str, nodes: impl Iterator<Item = &'a str>) -> Option<Action> {
    let set = &*snapshot.set;
    let mut pod = pods::from_template(&snapshot.spec().template, &Kind::of::<DaemonSet>(), &set.metadata);
    pod.metadata.generate_name = Some(pods::generate_name(owners::name(&set.metadata)));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(revisions::POD_LABEL.to_owned(), newest.to_owned());
    let generation = set.metadata.annotations.as_ref().and_then(|notes| notes.get(TEMPLATE_GENERATION));
    if let Some(generation) = generation {
        labels.insert(TEMPLATE_GENERATION_LABEL.to_owned(), generation.clone());
    }
    let spec = snapshot.pod_spec();
    let aimed: Vec<Pod> = nodes
        .map(|node| {
            let mut spec = spec.clone();
            nodes::aim(&mut spec, node);
            Pod { spec: Some(spec), ..pod.clone() }
        })
        .collect();
    let told = Told {
        about: reference(set),
        done: Some(("SuccessfulCreate", "Created pod: {name}".to_owned())),
        failed: Some(("FailedCreate", "Error creating: {error}".to_owned())),
    };
    Action::create_all(&aimed, Some(told))
}

fn delete(set: &DaemonSet, pod: &Pod) -> Action {
    let told = Told {
        about: reference(set),
        done: Some(("SuccessfulDelete", "Deleted pod: {name}".to_owned())),
        failed: Some(("FailedDelete", "Error deleting: {error}".to_owned())),
    };
    Action::delete(pod, Some(told))
}

fn tell(set: &DaemonSet, warning: bool, reason: &'static str, message: String) -> Action {
    Action::Tell { about: reference(set), warning, reason, message }
}
