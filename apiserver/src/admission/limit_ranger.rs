//! LimitRanges fill in what the containers of new pods do not say of resources, and bound pods and claims.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{LimitRange, PersistentVolumeClaim, Pod};
use kinds::limits;
use serde::Deserialize as _;

use super::{Operation, Step, Verb};
use crate::{
    resources::{LIMIT_RANGES, PERSISTENT_VOLUME_CLAIMS, PODS},
    watch_cache::Scope,
};

/// The step.
pub struct LimitRanger;

#[async_trait]
impl Step for LimitRanger {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        let writes = matches!(operation.verb, Verb::Create | Verb::Update);
        operation.creates(PODS) || is_resize(operation) || writes && operation.is_of(PERSISTENT_VOLUME_CLAIMS)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        if PODS.is(&operation.ctx.kind) {
            for range in ranges(operation)? {
                if let Some(pod) = operation.new.as_deref_mut() {
                    let filled = limits::fill(&range, pod);
                    filled.map_err(|why| operation.forbidden(why))?;
                }
            }
        }
        Ok(())
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let ranges = ranges(operation)?;
        let Some(new) = operation.new.as_deref().filter(|_| !ranges.is_empty()) else { return Ok(()) };
        let checked = if PODS.is(&operation.ctx.kind) {
            let pod = Pod::deserialize(new).map_err(Status::internal)?;
            ranges.iter().try_for_each(|range| limits::check_pod(range, &pod))
        } else {
            let claim = PersistentVolumeClaim::deserialize(new).map_err(Status::internal)?;
            ranges.iter().try_for_each(|range| limits::check_claim(range, &claim))
        };
        checked.map_err(|why| operation.forbidden(why))
    }
}

fn is_resize(operation: &Operation<'_>) -> bool {
    operation.verb == Verb::Update
        && PODS.is(&operation.ctx.kind)
        && operation.subresource() == Some("resize")
}

/// The ranges of the namespace; none for an object that is on its way out.
fn ranges(operation: &Operation<'_>) -> Result<Vec<LimitRange>, Status> {
    let ctx = operation.ctx;
    let Some(namespace) = &ctx.path.namespace else { return Ok(Vec::new()) };
    if operation.old.is_some_and(|old| old.is_deleting()) {
        return Ok(Vec::new());
    }
    let ranges = ctx.api.objects(LIMIT_RANGES);
    let within = Scope::Namespace(namespace.clone());
    let range = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(Status::internal);
    ranges.scan(&within, None).map(|object| range(&object.stored())).collect()
}
