//! The annotation in which client-side `kubectl apply` keeps what it applied last. What it says lets kubectl go over
//! to server-side apply without conflicts, and back.

use api::object::ObjectExt as _;
use serde_json::Value;

use super::{
    compare::{Comparison, compare},
    merge,
};
use crate::kind::version::Versions;

pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations may not grow beyond this.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The annotation's text.
pub(super) fn last_applied(live: &Value) -> Option<&str> {
    live.metadata()?.get("annotations")?.get(LAST_APPLIED)?.as_str().filter(|text| !text.is_empty())
}

/// The fields that client-side apply set and that still have the values it gave them.
pub(super) fn applied_by_client(versions: Versions<'_>, live: &Value) -> Vec<String> {
    let Versions { types, root, own, .. } = versions;
    let applied = last_applied(live).and_then(|text| crate::json::parse(text.as_bytes()).ok());
    let fits = |applied: &Value| {
        applied.str_at(&["apiVersion"]) == own && merge::check(types, root, applied).is_ok()
    };
    let Some(applied) = applied.filter(fits) else { return Vec::new() };
    let mut fields = merge::field_set(types, root, &applied);
    let Comparison { modified, added, removed } = compare(types, root, &applied, live);
    for differing in [modified, added, removed] {
        fields.subtract(&differing);
    }
    fields.paths()
}

/// Keeps the annotation of client-side apply up to date.
pub(super) fn record_last_applied(object: &mut Value, config: &Value) {
    let mut applied = config.clone();
    if let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    let text = format!("{applied}\n");
    if let Some(Value::Object(annotations)) = object.metadata_mut().get_mut("annotations") {
        if text.len() > MAX_ANNOTATIONS {
            annotations.remove(LAST_APPLIED);
        } else {
            annotations.insert(LAST_APPLIED.into(), text.into());
        }
    }
}
