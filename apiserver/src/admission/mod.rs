//! Built-in admission: what the cluster adds to objects and what it does not let in, after defaulting and before what
//! kinds' own rules prepare and validate. One list of checks, the same for every way an object is written.
//!
//! Counterpart of upstream's admission plugins NamespaceLifecycle, ServiceAccount, DefaultTolerationSeconds,
//! Priority, DefaultStorageClass, DefaultIngressClass, RuntimeClass, TaintNodesByCondition and
//! StorageObjectInUseProtection, and of what strategies of single kinds need the caller or the clock for.

mod api_service;
mod certificate;
mod default_class;
mod guards;
mod namespace;
mod pod;
mod priority;
mod runtime_class;

use api::status::Status;
use kinds::kind::Part;
use serde_json::Value;

use crate::{
    context::Ctx,
    resources::{CERTIFICATE_SIGNING_REQUESTS, PODS},
};

/// Admits a new object.
///
/// # Errors
/// 403 and 404.
pub async fn create(ctx: &Ctx, object: &mut Value) -> Result<(), Status> {
    namespace::create(ctx, object).await?;
    if PODS.is(&ctx.kind) {
        pod::create(ctx, object).await?;
    }
    if CERTIFICATE_SIGNING_REQUESTS.is(&ctx.kind) {
        certificate::create(ctx, object)?;
    }
    default_class::create(ctx, object)?;
    guards::create(ctx, object);
    priority::check_class(ctx, object)?;
    api_service::create(ctx, object);
    Ok(())
}

/// Admits a change.
///
/// # Errors
/// 403.
pub fn update(ctx: &Ctx, part: Part<'_>, new: &mut Value, old: &Value) -> Result<(), Status> {
    if PODS.is(&ctx.kind) && part == Part::Main {
        pod::update(new, old);
    }
    priority::check_class(ctx, new)?;
    if CERTIFICATE_SIGNING_REQUESTS.is(&ctx.kind) && part.is_of_status() {
        certificate::stamp(new, old);
    }
    Ok(())
}

/// Admits a deletion.
///
/// # Errors
/// 403.
pub fn delete(ctx: &Ctx, name: &str) -> Result<(), Status> {
    namespace::delete(ctx, name)?;
    priority::delete(ctx, name)
}
