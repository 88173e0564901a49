//! Volumes and the claims to them: who gets which (`binder`), what becomes of a volume that was given back (`reclaim`),
//! volumes made to order on nodes' own disks (`provision`), claims that grow (`expansion`), claims that pods bring along
//! (`ephemeral`).

mod binder;
mod ephemeral;
mod expansion;
mod provision;
mod reclaim;

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::Serialize;
use serde_json::json;

use crate::frame::{Action, Kind, reference, to_value};
use crate::kit::owners;

pub use binder::Binder;
pub use ephemeral::EphemeralClaims;
pub use expansion::Expansion;

/// When to look again at what waits for something that nobody would tell.
const RESYNC: Duration = Duration::from_secs(15);

/// The names of the claims that a pod mounts, its own ephemeral ones included.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    let name = owners::name(&pod.metadata);
    pod.spec.iter().flat_map(move |spec| api::pod::claims(name, spec)).map(|(claim, _)| claim)
}

/// `namespace/name` of the claims that a pod mounts.
pub fn claim_keys(pod: &Pod) -> Vec<String> {
    claims_of(pod).map(|claim| claim_key(owners::namespace(&pod.metadata), &claim)).collect()
}

/// `namespace/name` of a claim.
pub fn claim_key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// The volume that a claim names.
pub fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Writes a status if it differs; refused when somebody else has changed the object meanwhile.
fn status<K, S>(object: &K, old: &Option<S>, new: &S) -> Option<Action>
where
    K: Resource + Metadata<Ty = ObjectMeta>,
    S: Serialize,
{
    let meta = object.metadata();
    let mut action = Action::status(Kind::of::<K>(), meta, &to_value(old), &to_value(new))?;
    if let Action::Patch { body, .. } = &mut action {
        body["metadata"]["resourceVersion"] = json!(meta.resource_version);
    }
    Some(action)
}

/// Tells of an object.
fn tell<K>(about: &K, warning: bool, reason: &'static str, message: impl Into<String>) -> Action
where
    K: Resource + Metadata<Ty = ObjectMeta>,
{
    Action::Tell { about: reference(about), warning, reason, message: message.into() }
}

fn annotate(meta: &mut ObjectMeta, name: &str, value: &str) {
    meta.annotations.get_or_insert_default().insert(name.to_owned(), value.to_owned());
}

/// Takes an annotation away; none at all look better than an empty list.
fn strip(meta: &mut ObjectMeta, name: &str) {
    let annotations = meta.annotations.get_or_insert_default();
    annotations.remove(name);
    if annotations.is_empty() {
        meta.annotations = None;
    }
}

fn labels_of(meta: &ObjectMeta) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    meta.labels.as_ref().unwrap_or(&NONE)
}
