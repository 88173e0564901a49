//! Which ReplicaSet is the newest and which are old, their revision numbers,
//! and the annotations that carry all this. `kubectl rollout history` and
//! `undo` read exactly these. Upstream: `deployment/util/deployment_util.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Revision number, on Deployment and ReplicaSet.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revision numbers of a ReplicaSet that came back.
pub const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's replicas when the ReplicaSet was last sized.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// Replicas plus surge when the ReplicaSet was last sized.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// The label that tells the pods of one ReplicaSet from those of another.
pub const HASH_LABEL: &str = "pod-template-hash";

const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.revision",
];

/// Longest revision history kept, in characters.
const LONGEST_HISTORY: usize = 2000;

/// An annotation's value.
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// An annotation that is a number.
pub fn number<T: std::str::FromStr>(meta: &ObjectMeta, key: &str) -> Option<T> {
    annotation(meta, key)?.parse().ok()
}

/// The revision of a ReplicaSet, 0 when it has none.
pub fn revision(set: &ReplicaSet) -> i64 {
    number(&set.metadata, REVISION).unwrap_or(0)
}

/// Whether two templates differ in nothing but the hash label.
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    a.spec == b.spec && without_hash(a) == without_hash(b)
}

fn without_hash(template: &PodTemplateSpec) -> Option<ObjectMeta> {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    let empty = metadata.labels.as_mut().is_some_and(|labels| {
        labels.remove(HASH_LABEL);
        labels.is_empty()
    });
    if empty {
        metadata.labels = None;
    }
    Some(metadata)
}

/// The position of the ReplicaSet that has the Deployment's template; the oldest wins.
pub fn find_new(deployment: &Deployment, sets: &[ReplicaSet]) -> Option<usize> {
    let wanted = &deployment.spec.as_ref()?.template;
    let has_it = |set: &ReplicaSet| {
        set.spec
            .as_ref()
            .and_then(|spec| spec.template.as_ref())
            .is_some_and(|template| same_template(template, wanted))
    };
    (0..sets.len()).filter(|index| has_it(&sets[*index])).min_by_key(|index| {
        (sets[*index].metadata.creation_timestamp.clone(), sets[*index].metadata.name.clone())
    })
}

/// Brings the annotations of the newest ReplicaSet up to date with the Deployment.
pub fn annotate(set: &mut ReplicaSet, deployment: &Deployment, new_revision: i64, exists: bool) {
    let notes = set.metadata.annotations.get_or_insert_default();
    copy_annotations(deployment.metadata.annotations.as_ref(), notes);
    let old = notes.get(REVISION).cloned();
    let old_number: i64 = old.as_deref().and_then(|old| old.parse().ok()).unwrap_or(0);
    if old_number >= new_revision {
        return;
    }
    notes.insert(REVISION.to_owned(), new_revision.to_string());
    if let Some(old) = old.filter(|_| exists) {
        let history = match notes.get(HISTORY).filter(|history| !history.is_empty()) {
            Some(history) => format!("{history},{old}"),
            None => old,
        };
        notes.insert(HISTORY.to_owned(), shortened(history));
    }
}

fn shortened(mut history: String) -> String {
    while history.len() > LONGEST_HISTORY {
        match history.split_once(',') {
            Some((_, rest)) => history = rest.to_owned(),
            None => break,
        }
    }
    history
}

fn copy_annotations(from: Option<&BTreeMap<String, String>>, to: &mut BTreeMap<String, String>) {
    for (key, value) in from.into_iter().flatten().filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())) {
        to.insert(key.clone(), value.clone());
    }
}

/// Notes for which size of the Deployment the ReplicaSet was sized.
pub fn annotate_size(set: &mut ReplicaSet, desired: i64, max: i64) {
    let notes = set.metadata.annotations.get_or_insert_default();
    notes.insert(DESIRED.to_owned(), desired.to_string());
    notes.insert(MAX.to_owned(), max.to_string());
}
