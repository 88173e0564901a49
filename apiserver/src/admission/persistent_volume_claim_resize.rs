//! A claim grows only while it is bound, and only where its class says that volumes may.

use api::{object::ObjectExt as _, quantity::Quantity, status::Status, volume_binding::BETA_CLASS};
use async_trait::async_trait;
use serde_json::Value;

use super::{Operation, Step, Verb};
use crate::resources::{PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES};

/// The step.
pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Step for PersistentVolumeClaimResize {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.verb == Verb::Update && operation.is_of(PERSISTENT_VOLUME_CLAIMS)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let (Some(new), Some(old)) = (operation.new.as_deref(), operation.old) else { return Ok(()) };
        if size(new) <= size(old) {
            return Ok(());
        }
        if old.str_at(&["status", "phase"]) != "Bound" {
            return Err(operation.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let named = class(new);
        let is_named = !named.is_empty() && named == class(old);
        let found = is_named.then(|| operation.ctx.api.cached(STORAGE_CLASSES, named)).flatten();
        let allows = match found {
            Some(found) => operation.ctx.value(&found)?["allowVolumeExpansion"] == true,
            None => false,
        };
        if allows {
            return Ok(());
        }
        Err(operation.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}

fn size(claim: &Value) -> Quantity {
    claim.str_at(&["spec", "resources", "requests", "storage"]).parse().unwrap_or_default()
}

fn class(claim: &Value) -> &str {
    match claim.str_at(&["metadata", "annotations", BETA_CLASS]) {
        "" => claim.str_at(&["spec", "storageClassName"]),
        class => class,
    }
}
