//! What the strategies of single kinds need the caller, the clock or cryptography for, which rules (`kinds::builtin`) do not
//! have. Comes after mutating admission, before the rules prepare and validate; warnings come after these.

pub mod api_service;
mod app_armor;
mod certificate;
mod tls_secret;
mod trust_bundle;
mod unserved_sources;
mod volume_phase;

use api::{field::Errors, status::Status};
use kinds::kind::Part;
use serde_json::Value;

use crate::{
    context::Ctx,
    resources::{
        API_SERVICES, CERTIFICATE_SIGNING_REQUESTS, CLUSTER_TRUST_BUNDLES, PERSISTENT_VOLUMES, PODS, SECRETS,
    },
};

/// Completes a new object.
///
/// # Errors
/// 422.
pub fn prepare_create(ctx: &Ctx, object: &mut Value) -> Result<(), Status> {
    unserved_sources::drop_from(ctx, object, None);
    if CERTIFICATE_SIGNING_REQUESTS.is(&ctx.kind) {
        certificate::create(ctx, object)?;
    } else if API_SERVICES.is(&ctx.kind) {
        api_service::tell(object);
    } else if PERSISTENT_VOLUMES.is(&ctx.kind) {
        volume_phase::create(object);
    } else if PODS.is(&ctx.kind) {
        app_armor::create(ctx, object);
    }
    Ok(())
}

/// What only the server can tell to be wrong with an object, behind what its kind's rules say.
pub fn errors(ctx: &Ctx, new: &Value, old: Option<&Value>) -> Errors {
    if CLUSTER_TRUST_BUNDLES.is(&ctx.kind) { trust_bundle::errors(new, old) } else { Errors::default() }
}

/// What only the server can tell of an object that is allowed but unwise.
pub fn warnings(ctx: &Ctx, object: &Value) -> Vec<String> {
    let pair = SECRETS.is(&ctx.kind).then(|| tls_secret::warning(object)).flatten();
    pair.into_iter().collect()
}

/// Completes a changed object.
pub fn prepare_update(ctx: &Ctx, part: Part<'_>, new: &mut Value, old: &Value) {
    unserved_sources::drop_from(ctx, new, Some(old));
    if CERTIFICATE_SIGNING_REQUESTS.is(&ctx.kind) && part.is_of_status() {
        certificate::stamp(new, old);
    } else if PERSISTENT_VOLUMES.is(&ctx.kind) && part.is_of_status() {
        volume_phase::stamp(new, old);
    }
}
