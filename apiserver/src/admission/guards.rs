//! What new objects carry until a controller takes it off: nodes take no pods before they are ready, and
//! claims, volumes and their classes stay while they are in use.
//!
//! Counterpart of upstream's admission plugins TaintNodesByCondition and StorageObjectInUseProtection. The
//! controllers are `node_lifecycle` and `protection` in `controller-manager`.

use api::object::ObjectExt as _;
use serde_json::{Value, json};

use crate::verbs::Ctx;

/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Puts on a new object what guards it.
pub fn create(ctx: &Ctx, object: &mut Value) {
    let finalizer = match (&*ctx.kind.group, &*ctx.kind.plural) {
        ("", "nodes") => return taint(object),
        ("", "persistentvolumeclaims") => "kubernetes.io/pvc-protection",
        ("", "persistentvolumes") => "kubernetes.io/pv-protection",
        ("storage.k8s.io", "volumeattributesclasses") => "kubernetes.io/vac-protection",
        _ => return,
    };
    let mut finalizers: Vec<Value> = object.finalizers().into_iter().map(Value::from).collect();
    if !finalizers.iter().any(|present| present == finalizer) {
        finalizers.push(finalizer.into());
        object.set_meta("finalizers", finalizers);
    }
}

fn taint(node: &mut Value) {
    if let Some(taints) = node["spec"]["taints"].as_array_mut() {
        let is_there = |t: &Value| t.str_at(&["key"]) == NOT_READY && t.str_at(&["effect"]) == "NoSchedule";
        if !taints.iter().any(is_there) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
    } else {
        node["spec"]["taints"] = json!([{"key": NOT_READY, "effect": "NoSchedule"}]);
    }
}
