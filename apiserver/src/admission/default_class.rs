//! Claims and Ingresses that name no class get the default one, if there is one: of several the newest.

use api::{
    object::ObjectExt as _,
    status::Status,
    volume_binding::{BETA_CLASS, DEFAULT_CLASS},
};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step};
use crate::{
    resources::{BuiltIn, INGRESS_CLASSES, INGRESSES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES},
    watch_cache::Scope,
};

/// The step for a kind whose objects name a class.
pub struct DefaultClass {
    kind: BuiltIn,
    /// The field of the spec that names it, and the annotation that did once.
    field: &'static str,
    annotation: &'static str,
    /// The classes, and the annotation of the default one.
    classes: BuiltIn,
    default: &'static str,
}

/// The step DefaultStorageClass.
pub const STORAGE_CLASS: DefaultClass = DefaultClass {
    kind: PERSISTENT_VOLUME_CLAIMS,
    field: "storageClassName",
    annotation: BETA_CLASS,
    classes: STORAGE_CLASSES,
    default: DEFAULT_CLASS,
};

/// The step DefaultIngressClass.
pub const INGRESS_CLASS: DefaultClass = DefaultClass {
    kind: INGRESSES,
    field: "ingressClassName",
    annotation: "kubernetes.io/ingress.class",
    classes: INGRESS_CLASSES,
    default: "ingressclass.kubernetes.io/is-default-class",
};

#[async_trait]
impl Step for DefaultClass {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.creates(self.kind)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let Some(object) = operation.new.as_deref_mut() else { return Ok(()) };
        let named = object.at(&["spec", self.field]).is_some_and(|name| !name.is_null())
            || object.at(&["metadata", "annotations", self.annotation]).is_some();
        if named {
            return Ok(());
        }
        let mut newest: Option<Value> = None;
        for class in operation.ctx.api.values(self.classes, &Scope::All)? {
            let made = |class: &Value| class.meta_str("creationTimestamp").to_owned();
            let is_default = class.str_at(&["metadata", "annotations", self.default]) == "true";
            // Of those made in the same second the first by name.
            if is_default && newest.as_ref().is_none_or(|n| made(&class) > made(n)) {
                newest = Some(class);
            }
        }
        if let Some(class) = newest {
            object["spec"][self.field] = json!(class.name());
        }
        Ok(())
    }
}
