//! Statuses that this server itself keeps true.

use std::sync::Arc;

use api::{object::ObjectExt as _, status::Status};
use kinds::kind::Part;
use serde_json::Value;

use crate::{Api, context::Ctx, resources::BuiltIn, verbs::update, watch_cache::Scope};

/// Gives all objects of a resource the status that `told` gives them, in the name of a field manager. What has that
/// status already is not written.
pub async fn tell(
    api: &Arc<Api>,
    resource: BuiltIn,
    manager: &str,
    told: impl Fn(&Value) -> Value + Send + Sync,
) -> Result<(), Status> {
    for object in api.values(resource, &Scope::All)? {
        if told(&object) == object {
            continue;
        }
        let mut ctx = Ctx::internal(api, resource, None, Some(object.name()))?.at_status();
        ctx.query.field_manager = manager.into();
        let expected = update::Expected { uid: Some(object.uid().to_owned()), revision: None };
        let written = update::write(&ctx, Part::Status, expected, |current| Ok(told(current)));
        match written.await {
            Ok(_) => {}
            // It was deleted, or made anew: the next look is about that one.
            Err(status) if matches!(status.code, 404 | 409) => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}
