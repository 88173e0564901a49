//! Objects are only made in namespaces that exist and are not on their way out; some namespaces stay.

use api::{
    object::ObjectExt as _,
    status::{Cause, Status},
};
use serde_json::Value;

use crate::{context::Ctx, resources::NAMESPACES};

/// Namespaces that nobody may delete.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// Refuses creation in a namespace that is missing or terminating.
///
/// # Errors
/// 404, 403.
pub async fn create(ctx: &Ctx, object: &Value) -> Result<(), Status> {
    let Some(name) = ctx.path.namespace.as_deref() else { return Ok(()) };
    // Each creation comes by here: the cache knows the phase without decoding the namespace.
    let terminating = match ctx.api.cached(NAMESPACES, name) {
        Some(namespace) => namespace.field("status.phase") == Some("Terminating"),
        None => {
            let namespace = ctx.api.stored(NAMESPACES, name).await?;
            namespace.ok_or_else(|| Status::not_found("namespaces", "", name))?.is_deleting()
        }
    };
    if !terminating {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut status = Status::forbidden(&ctx.kind.plural, &ctx.kind.group, object.name(), why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    Err(status)
}

/// Refuses the deletion of the namespaces every cluster has.
///
/// # Errors
/// 403.
pub fn delete(ctx: &Ctx, name: &str) -> Result<(), Status> {
    if NAMESPACES.is(&ctx.kind) && IMMORTAL.contains(&name) {
        return Err(Status::forbidden("namespaces", "", name, "this namespace may not be deleted"));
    }
    Ok(())
}
