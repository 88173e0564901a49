//! Claims, volumes and their classes stay while they are in use: the controller `protection` lets them go.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;

use super::{Operation, Step};
use crate::resources::{BuiltIn, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, VOLUME_ATTRIBUTES_CLASSES};

/// The finalizers of what must not go while it is in use.
const FINALIZERS: [(BuiltIn, &str); 3] = [
    (PERSISTENT_VOLUME_CLAIMS, "kubernetes.io/pvc-protection"),
    (PERSISTENT_VOLUMES, "kubernetes.io/pv-protection"),
    (VOLUME_ATTRIBUTES_CLASSES, "kubernetes.io/vac-protection"),
];

/// The step.
pub struct StorageObjectInUseProtection;

/// The finalizer for what is made.
fn finalizer(operation: &Operation<'_>) -> Option<&'static str> {
    FINALIZERS.iter().find(|(resource, _)| operation.creates(*resource)).map(|(_, finalizer)| *finalizer)
}

#[async_trait]
impl Step for StorageObjectInUseProtection {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        finalizer(operation).is_some()
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let Some(finalizer) = finalizer(operation) else { return Ok(()) };
        let Some(object) = operation.new.as_deref_mut() else { return Ok(()) };
        let present = object.finalizers();
        if !present.contains(&finalizer) {
            let all = present.into_iter().chain([finalizer]).map(str::to_owned).collect();
            object.set_finalizers(all);
        }
        Ok(())
    }
}
