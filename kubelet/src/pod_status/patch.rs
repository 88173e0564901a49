//! The strategic merge patch that turns the status the API has into the wanted one. Lists of conditions
//! have other writers, so only changed conditions travel; the rest of the status is the kubelet's.
//! Corresponds to upstream's `util/pod.PatchPodStatus`.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

use super::RESIZE_CONDITIONS;

/// The patch from `old` to `new`, or nothing when they are equal. The uid makes sure that a pod of the
/// same name that came later is left alone.
pub fn between(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let fields = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let mut patch = Map::new();
    for (key, value) in &new {
        if old.get(key) == Some(value) {
            continue;
        }
        match key.as_str() {
            "conditions" => conditions(old.get(key), value, &mut patch),
            // Merged by address otherwise, which would keep those of a former sandbox.
            "podIPs" | "hostIPs" => {
                let mut list = value.as_array().cloned().unwrap_or_default();
                list.push(json!({"$patch": "replace"}));
                patch.insert(key.clone(), Value::Array(list));
            }
            "resources" | "allocatedResources" => {
                let mut whole = value.clone();
                if let (Value::Object(whole), Some(Value::Object(_))) = (&mut whole, old.get(key)) {
                    whole.insert("$patch".to_owned(), json!("replace"));
                }
                patch.insert(key.clone(), whole);
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"uid": uid}, "status": patch}))
}

fn conditions(old: Option<&Value>, new: &Value, patch: &mut Map<String, Value>) {
    let empty = Vec::new();
    let old = old.and_then(Value::as_array).unwrap_or(&empty);
    let new = new.as_array().unwrap_or(&empty);
    let mut changed = Vec::new();
    for condition in new {
        let before = old.iter().find(|o| o["type"] == condition["type"]);
        if before == Some(condition) {
            continue;
        }
        let mut condition = condition.clone();
        if let (Value::Object(fields), Some(Value::Object(before))) = (&mut condition, before) {
            for key in before.keys() {
                fields.entry(key.clone()).or_insert(Value::Null);
            }
        }
        changed.push(condition);
    }
    // Of the kubelet's own, these alone go again; what others take away they take away themselves.
    let has = |list: &[Value], kind: &str| list.iter().any(|condition| condition["type"] == kind);
    let gone = RESIZE_CONDITIONS.into_iter().filter(|kind| has(old, kind) && !has(new, kind));
    changed.extend(gone.map(|kind| json!({"type": kind, "$patch": "delete"})));
    let order: Vec<Value> = new.iter().map(|condition| json!({"type": condition["type"]})).collect();
    patch.insert("$setElementOrder/conditions".to_owned(), Value::Array(order));
    if !changed.is_empty() {
        patch.insert("conditions".to_owned(), Value::Array(changed));
    }
}
