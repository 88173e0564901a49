//! What new objects carry until a controller takes it off: nodes take no pods before they are ready, and
//! claims, volumes and their classes stay while they are in use.
//!
//! Counterpart of upstream's admission plugins TaintNodesByCondition and StorageObjectInUseProtection. The
//! controllers are `node_lifecycle` and `protection` in `controller-manager`.

use api::object::ObjectExt as _;
use serde_json::{Value, json};

use crate::{
    context::Ctx,
    resources::{BuiltIn, NODES, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, VOLUME_ATTRIBUTES_CLASSES},
};

/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// The finalizers of what must not go while it is in use.
const FINALIZERS: [(BuiltIn, &str); 3] = [
    (PERSISTENT_VOLUME_CLAIMS, "kubernetes.io/pvc-protection"),
    (PERSISTENT_VOLUMES, "kubernetes.io/pv-protection"),
    (VOLUME_ATTRIBUTES_CLASSES, "kubernetes.io/vac-protection"),
];

/// Puts on a new object what guards it.
pub fn create(ctx: &Ctx, object: &mut Value) {
    if NODES.is(&ctx.kind) {
        return taint(object);
    }
    let guarded = FINALIZERS.iter().find(|(resource, _)| resource.is(&ctx.kind));
    let Some((_, finalizer)) = guarded else { return };
    let present = object.finalizers();
    if !present.contains(finalizer) {
        let all = present.into_iter().chain([*finalizer]).map(str::to_owned).collect();
        object.set_finalizers(all);
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
