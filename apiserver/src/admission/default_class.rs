//! Claims and Ingresses that name no class get the default one, if there is one: of several the newest.
//!
//! Counterpart of upstream's admission plugins DefaultStorageClass and DefaultIngressClass.

use api::{object::ObjectExt as _, status::Status};
use serde_json::{Value, json};

use crate::{
    context::Ctx,
    resources::{BuiltIn, INGRESS_CLASSES, INGRESSES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES},
    watch_cache::Scope,
};

/// A kind whose objects name a class.
struct Classified {
    kind: BuiltIn,
    /// The field of the spec that names it, and the annotation that did once.
    field: &'static str,
    annotation: &'static str,
    /// The classes, and the annotation of the default one.
    classes: BuiltIn,
    default: &'static str,
}

const KINDS: [Classified; 2] = [
    Classified {
        kind: PERSISTENT_VOLUME_CLAIMS,
        field: "storageClassName",
        annotation: "volume.beta.kubernetes.io/storage-class",
        classes: STORAGE_CLASSES,
        default: "storageclass.kubernetes.io/is-default-class",
    },
    Classified {
        kind: INGRESSES,
        field: "ingressClassName",
        annotation: "kubernetes.io/ingress.class",
        classes: INGRESS_CLASSES,
        default: "ingressclass.kubernetes.io/is-default-class",
    },
];

/// Completes a new object.
///
/// # Errors
/// 500 for a class that cannot be read.
pub fn create(ctx: &Ctx, object: &mut Value) -> Result<(), Status> {
    let Some(kind) = KINDS.iter().find(|k| k.kind.is(&ctx.kind)) else { return Ok(()) };
    let named = object.at(&["spec", kind.field]).is_some_and(|name| !name.is_null())
        || object.at(&["metadata", "annotations", kind.annotation]).is_some();
    if named {
        return Ok(());
    }
    let mut newest: Option<Value> = None;
    for class in ctx.api.values(kind.classes, &Scope::All)? {
        let made = |class: &Value| class.meta_str("creationTimestamp").to_owned();
        let is_default = class.str_at(&["metadata", "annotations", kind.default]) == "true";
        // Of those made in the same second the first by name.
        if is_default && newest.as_ref().is_none_or(|n| made(&class) > made(n)) {
            newest = Some(class);
        }
    }
    if let Some(class) = newest {
        object["spec"][kind.field] = json!(class.name());
    }
    Ok(())
}
