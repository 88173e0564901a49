//! The history of a pod template in ControllerRevisions, as DaemonSets and StatefulSets keep it: one revision for
//! each template there was, the newest with the highest number. A template that comes back gets its old revision
//! with a new number. Pure. Upstream: `pkg/controller/history`, `daemon/update.go`.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use machinery::cache::Cache;
use serde_json::{Value, json};

use super::claim::{Claim, Owner};
use super::{owners, template_hash};
use crate::frame::{Action, to_value};

/// The label that says which revision a pod was made from.
pub const POD_LABEL: &str = "controller-revision-hash";

/// The longest beginning of a revision's name, which leaves room for its hash.
const LONGEST_PREFIX: usize = 223;

/// The revisions of one owner.
#[derive(Debug)]
pub struct History {
    /// All that are its own, oldest first, with the newest as it is to be.
    pub known: Vec<ControllerRevision>,
    /// Where among those the one of today's template stands.
    newest: usize,
    /// What takes in and lets go revisions, and makes or renumbers the newest one.
    pub actions: Vec<Action>,
}

impl History {
    /// Reads and continues the history of an owner with this template. `found` are revisions that it has and those
    /// that nobody has; a new one gets `hash_label`.
    pub fn of(
        owner: &Owner,
        template: &PodTemplateSpec,
        collisions: Option<i32>,
        hash_label: &str,
        found: &[Arc<ControllerRevision>],
    ) -> Self {
        let claims: Vec<(&Arc<ControllerRevision>, Claim)> =
            found.iter().map(|revision| (revision, owner.claim(&revision.metadata, true))).collect();
        let mut actions: Vec<Action> =
            claims.iter().filter_map(|(revision, claim)| owner.settle(&***revision, *claim)).collect();
        let mut known: Vec<ControllerRevision> = claims
            .iter()
            .filter(|(_, claim)| claim.is_ours())
            .map(|(revision, _)| (***revision).clone())
            .collect();
        known.sort_by(|a, b| {
            (a.revision, owners::name(&a.metadata)).cmp(&(b.revision, owners::name(&b.metadata)))
        });
        let next = known.last().map_or(1, |last| last.revision.saturating_add(1));
        let data = data(template);
        match known.iter().rposition(|revision| revision.data.as_ref().is_some_and(|known| known.0 == data)) {
            Some(last) if last + 1 == known.len() => {}
            Some(index) => {
                let old = known.remove(index);
                let renumbered = ControllerRevision { revision: next, ..old.clone() };
                actions.extend(Action::change(&old, &renumbered, None));
                known.push(renumbered);
            }
            None => {
                let new = new(owner, template, collisions, hash_label, data, next);
                actions.push(Action::create(&new));
                known.push(new);
            }
        }
        let newest = known.len() - 1;
        History { known, newest, actions }
    }

    /// The revision of today's template.
    pub fn newest(&self) -> &ControllerRevision {
        &self.known[self.newest]
    }

    /// Deletes the oldest revisions beyond `limit` that are neither the newest nor `live`.
    pub fn prune(&self, live: &BTreeSet<&str>, limit: Option<i32>) -> Vec<Action> {
        let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return Vec::new() };
        let old: Vec<&ControllerRevision> = self
            .known
            .iter()
            .enumerate()
            .filter(|(index, revision)| {
                *index != self.newest && !live.contains(owners::name(&revision.metadata))
            })
            .map(|(_, revision)| revision)
            .collect();
        let surplus = old.len().saturating_sub(limit);
        old.into_iter().take(surplus).map(|revision| Action::delete(revision, None)).collect()
    }
}

/// The revisions of a namespace that an owner has, and those that nobody has.
pub fn around(all: &Cache<ControllerRevision>, namespace: &str, owner: &str) -> Vec<Arc<ControllerRevision>> {
    let mut revisions = all.list_in(namespace);
    revisions.retain(|revision| owners::controller_of(&revision.metadata).is_none_or(|has| has.uid == owner));
    revisions
}

/// The part of an owner that a revision keeps, as a patch that brings it back.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = to_value(template);
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template that a revision keeps.
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

fn new(
    owner: &Owner,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    hash_label: &str,
    data: Value,
    revision: i64,
) -> ControllerRevision {
    let hash = template_hash::of(template, collisions);
    let prefix: String = owners::name(owner.meta).chars().take(LONGEST_PREFIX).collect();
    let mut labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(hash_label.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: owner.meta.namespace.clone(),
            labels: Some(labels),
            annotations: owner.meta.annotations.clone(),
            owner_references: Some(vec![owners::controller_ref(&owner.kind, owner.meta)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}
