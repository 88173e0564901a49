//! One step of a roll-out: adopt and release ReplicaSets, find or make the
//! newest, size them all, drop old history. Pure; every call plans the one
//! step that can be taken before the world has to be looked at again.
//! Upstream: `pkg/controller/deployment/{sync,rolling,recreate}.go`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{revisions, scaling};
use crate::frame::{Action, Kind, Plan, Told, reference};
use crate::kit::claim::{Claim, Owner};
use crate::kit::shares::{self, Round};
use crate::kit::{owners, pods, selector, template_hash};

/// All that a plan for one Deployment looks at.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The Deployment.
    pub deployment: Arc<Deployment>,
    /// ReplicaSets it controls, and unowned ones that its selector selects.
    pub sets: Vec<Arc<ReplicaSet>>,
    /// Pods of those sets; only Recreate looks at them.
    pub pods: Vec<Arc<Pod>>,
}

impl Snapshot {
    /// The specification; the server accepts no Deployment without one.
    pub fn spec(&self) -> &DeploymentSpec {
        self.deployment.spec.as_ref().expect("the API server refuses a Deployment without spec")
    }

    /// The Deployment as the owner of its sets.
    fn owner(&self) -> Owner<'_> {
        let meta = &self.deployment.metadata;
        Owner { kind: Kind::of::<Deployment>(), meta, selector: &self.spec().selector }
    }

    fn claims(&self) -> impl Iterator<Item = (&ReplicaSet, Claim)> {
        let owner = self.owner();
        self.sets.iter().map(move |set| (&**set, owner.claim(&set.metadata, true)))
    }

    /// The sets that are the Deployment's after this plan, oldest first.
    pub fn claimed(&self) -> Vec<ReplicaSet> {
        let mut sets: Vec<ReplicaSet> =
            self.claims().filter(|(_, claim)| claim.is_ours()).map(|(set, _)| set.clone()).collect();
        sets.sort_by(|a, b| by_age(a).cmp(&by_age(b)));
        sets
    }
}

fn by_age(set: &ReplicaSet) -> (Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>, &str) {
    (set.metadata.creation_timestamp.as_ref(), owners::name(&set.metadata))
}

/// How many pods a roll-out may have too many and too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Above the wanted number.
    pub surge: i64,
    /// Below the wanted number.
    pub unavailable: i64,
}

/// Whether the Deployment replaces its pods all at once.
pub fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// The wanted number of pods. Numbers of pods have 32 bits in the API; here they have 64, so that sums of them
/// cannot overflow.
pub fn wanted(spec: &DeploymentSpec) -> i64 {
    spec.replicas.unwrap_or(1).into()
}

/// A number of pods as the API has it.
pub fn in_api(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

/// The bounds of a roll-out: surge rounded up, unavailable rounded down, not both zero.
pub fn bounds(spec: &DeploymentSpec) -> Bounds {
    let replicas = wanted(spec);
    if is_recreate(spec) {
        return Bounds { surge: 0, unavailable: 0 };
    }
    let rolling = spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
    let share = |value: Option<&IntOrString>, round| {
        i64::from(value.map_or(0, |value| shares::of(value, in_api(replicas), round)))
    };
    let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), Round::Up);
    let mut unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), Round::Down);
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    Bounds { surge, unavailable: if replicas == 0 { 0 } else { unavailable.min(replicas) } }
}

/// The wanted size of a set.
pub fn size(set: &ReplicaSet) -> i64 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).into()
}

/// How many of its pods exist.
pub fn existing(set: &ReplicaSet) -> i64 {
    set.status.as_ref().map_or(0, |status| status.replicas).into()
}

/// How many of its pods are available.
pub fn available(set: &ReplicaSet) -> i64 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0).into()
}

/// The ReplicaSets as the plan shapes them: what they become is compared with
/// what they are at the end, so that each set is written once at most.
pub struct Draft<'a> {
    /// The Deployment.
    pub deployment: &'a Deployment,
    /// Its specification.
    pub spec: &'a DeploymentSpec,
    /// The sets, oldest first.
    pub sets: Vec<ReplicaSet>,
    /// Which of them has the Deployment's template.
    pub newest: Option<usize>,
    /// Bounds of the roll-out.
    pub bounds: Bounds,
}

impl Draft<'_> {
    /// The newest set, if it exists.
    pub fn new_set(&self) -> Option<&ReplicaSet> {
        self.newest.map(|index| &self.sets[index])
    }

    /// Positions of the sets other than the newest, oldest first.
    pub fn old(&self) -> Vec<usize> {
        (0..self.sets.len()).filter(|index| Some(*index) != self.newest).collect()
    }

    /// Sum of the wanted sizes.
    pub fn total(&self) -> i64 {
        self.sets.iter().map(size).sum()
    }

    /// Gives a set another size and says whether that changed it.
    pub fn scale(&mut self, index: usize, to: i64) -> bool {
        let set = &mut self.sets[index];
        let before = size(set);
        set.spec.get_or_insert_default().replicas = Some(in_api(to));
        let changes = size(set) != before;
        let wanted = wanted(self.spec);
        revisions::annotate_size(set, wanted, wanted + self.bounds.surge);
        changes
    }
}

/// What to do next about a Deployment.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let (deployment, spec) = (&*snapshot.deployment, snapshot.spec());
    let mut plan = Plan::default();
    if selector::is_empty(&spec.selector) {
        plan.actions.push(Action::Tell {
            about: reference(deployment),
            warning: true,
            reason: "SelectingAll",
            message: "This deployment is selecting all pods. A non-empty selector is required.".to_owned(),
        });
        return plan;
    }
    let owner = snapshot.owner();
    plan.actions.extend(snapshot.claims().filter_map(|(set, claim)| owner.settle(set, claim)));
    if deployment.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let sets = snapshot.claimed();
    let newest = revisions::find_new(deployment, &sets);
    let mut draft = Draft { deployment, spec, sets, newest, bounds: bounds(spec) };
    let before = draft.sets.clone();

    let revision = draft
        .old()
        .iter()
        .map(|index| revisions::revision(&draft.sets[*index]))
        .max()
        .unwrap_or(0)
        .saturating_add(1);
    refresh_newest(&mut draft, revision);

    let mut creation = None;
    let paused = spec.paused == Some(true);
    if paused || scaling::is_pending(&draft) {
        scaling::scale(&mut draft);
    } else if is_recreate(spec) {
        if !scaling::retire_all_old(&mut draft) && !old_pods_run(snapshot, &draft) {
            match draft.newest {
                Some(newest) => {
                    draft.scale(newest, wanted(spec));
                }
                None => creation = Some(new_set(&draft, revision, wanted(spec))),
            }
        }
    } else if draft.newest.is_none() {
        let first = scaling::size_of_new(&draft);
        creation = Some(new_set(&draft, revision, first));
    } else if !scaling::roll_new(&mut draft) {
        scaling::roll_old(&mut draft);
    }
    if paused || is_complete(snapshot, &draft) {
        plan.actions.extend(cleanup(&draft));
    }

    let revision_now = match (&creation, draft.new_set()) {
        (Some(_), _) => Some(revision.to_string()),
        (None, Some(set)) => revisions::annotation(&set.metadata, revisions::REVISION).map(str::to_owned),
        (None, None) => None,
    };
    plan.actions.extend(note_revision(deployment, revision_now));
    plan.actions.extend(creation);
    plan.actions.extend(before.iter().zip(&draft.sets).filter_map(|(old, new)| write(deployment, old, new)));
    plan
}

fn refresh_newest(draft: &mut Draft, revision: i64) {
    let (deployment, seconds) = (draft.deployment, draft.spec.min_ready_seconds);
    if let Some(newest) = draft.newest {
        let set = &mut draft.sets[newest];
        revisions::annotate(set, deployment, revision, true);
        set.spec.get_or_insert_default().min_ready_seconds = seconds;
    }
}

fn note_revision(deployment: &Deployment, revision: Option<String>) -> Option<Action> {
    let revision = revision?;
    let mut noted = deployment.clone();
    noted.metadata.annotations.get_or_insert_default().insert(revisions::REVISION.to_owned(), revision);
    Action::change(deployment, &noted, None)
}

fn new_set(draft: &Draft, revision: i64, replicas: i64) -> Action {
    let (deployment, spec) = (draft.deployment, draft.spec);
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash::of(&spec.template, collisions);
    let labelled = |labels: Option<std::collections::BTreeMap<String, String>>| {
        let mut labels = labels.unwrap_or_default();
        labels.insert(revisions::HASH_LABEL.to_owned(), hash.clone());
        Some(labels)
    };
    let mut template = spec.template.clone();
    let metadata = template.metadata.get_or_insert_default();
    metadata.labels = labelled(metadata.labels.take());
    let name = format!("{}-{hash}", owners::name(&deployment.metadata));
    let mut set = ReplicaSet {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: deployment.metadata.namespace.clone(),
            labels: metadata.labels.clone(),
            owner_references: Some(vec![owners::controller_ref(
                &Kind::of::<Deployment>(),
                &deployment.metadata,
            )]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(in_api(replicas)),
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector {
                match_labels: labelled(spec.selector.match_labels.clone()),
                match_expressions: spec.selector.match_expressions.clone(),
            },
            template: Some(template),
        }),
        status: None,
    };
    revisions::annotate(&mut set, deployment, revision, false);
    revisions::annotate_size(&mut set, wanted(spec), wanted(spec) + draft.bounds.surge);
    let done = format!("Scaled up replica set {name} from 0 to {replicas}");
    let told = Told {
        about: reference(deployment),
        done: (replicas > 0).then_some(("ScalingReplicaSet", done)),
        failed: Some((
            "ReplicaSetCreateError",
            format!("Failed to create new replica set \"{name}\": {{error}}"),
        )),
    };
    Action::create_many(&set, 1, Some(told))
}

fn write(deployment: &Deployment, old: &ReplicaSet, new: &ReplicaSet) -> Option<Action> {
    let (from, to) = (size(old), size(new));
    let told = (from != to).then(|| Told {
        about: reference(deployment),
        done: Some((
            "ScalingReplicaSet",
            format!(
                "Scaled {} replica set {} from {from} to {to}",
                if from < to { "up" } else { "down" },
                owners::name(&old.metadata)
            ),
        )),
        failed: None,
    });
    Action::change(old, new, told)
}

fn old_pods_run(snapshot: &Snapshot, draft: &Draft) -> bool {
    let newest = draft.new_set().map(|set| owners::uid(&set.metadata));
    let ours: Vec<&str> = draft.sets.iter().map(|set| owners::uid(&set.metadata)).collect();
    snapshot.pods.iter().filter(|pod| !pods::is_finished(pod)).any(|pod| {
        owners::controller_of(&pod.metadata)
            .is_some_and(|owner| ours.contains(&owner.uid.as_str()) && Some(owner.uid.as_str()) != newest)
    })
}

/// Whether the roll-out has reached its end, as the status last written has it.
fn is_complete(snapshot: &Snapshot, draft: &Draft) -> bool {
    let wanted = wanted(draft.spec);
    let Some(status) = snapshot.deployment.status.as_ref() else { return false };
    let is = |count: Option<i32>| i64::from(count.unwrap_or(0)) == wanted;
    is(status.updated_replicas)
        && is(status.replicas)
        && is(status.available_replicas)
        && status.observed_generation >= snapshot.deployment.metadata.generation
        && draft.newest.is_some()
}

/// Deletes old, empty sets beyond the history limit, lowest revision first.
fn cleanup(draft: &Draft) -> Vec<Action> {
    let Some(limit) = draft.spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return vec![];
    };
    let mut old: Vec<&ReplicaSet> = draft.old().into_iter().map(|index| &draft.sets[index]).collect();
    old.retain(|set| set.metadata.deletion_timestamp.is_none());
    let surplus = old.len().saturating_sub(limit);
    old.sort_by_key(|set| revisions::revision(set));
    let is_idle = |set: &&ReplicaSet| {
        let observed = set.status.as_ref().and_then(|status| status.observed_generation);
        existing(set) == 0 && size(set) == 0 && set.metadata.generation <= observed
    };
    old.into_iter().take(surplus).filter(is_idle).map(|set| Action::delete(set, None)).collect()
}
