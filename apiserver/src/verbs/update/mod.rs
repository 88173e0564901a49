//! Update and patch: two ways to say what an object is to become, and one read-modify-write loop for every kind and
//! every part of an object ([`write()`]).

mod next_state;
mod patch;
mod write;

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::Status,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use kinds::kind::Part;
use serde_json::Value;

use super::{Tracking, create, keep_owners_once};
use crate::{body, context::Ctx, response::Body};
pub use patch::{check_manager, patch};
pub use write::{Expected, Lens, Seen, Terms, edit, write, write_on};

/// The part of the object that the request's subresource writes.
pub fn part(ctx: &Ctx) -> Part<'_> {
    match ctx.path.subresource.as_deref() {
        None => Part::Main,
        Some("status") => Part::Status,
        Some(other) => Part::Other(other),
    }
}

/// `PUT` of an object or a subresource of it.
///
/// # Errors
/// As upstream: 400, 404, 409, 422.
pub async fn update(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let decoded = body::object(&ctx.kind, &ctx.media, &bytes, ctx.query.field_validation)?;
    ctx.warnings.add(decoded.warnings);
    let mut given = body::read_as(&ctx.kind, decoded.object)?;
    ctx.trail.was_sent(&given);
    keep_owners_once(&ctx, &mut given, "");
    if given.name().is_empty() {
        return Err(nameless(&ctx));
    }
    check_address(&ctx, &mut given)?;
    let expected = Expected::of(&given)?;
    let may_create = ctx.kind.facts.creates_on_update && part(&ctx) == Part::Main && expected.uid.is_none();
    let blind = expected.revision.is_none() && !ctx.kind.facts.updates_unconditionally;
    let change = |_: &Value| if blind { Err(unconditional(&ctx)) } else { Ok(given.clone()) };
    let (code, written) = match write(&ctx, part(&ctx), expected, change).await {
        Err(refusal) if may_create && refusal.reason == "NotFound" => {
            given.metadata_mut().remove("resourceVersion");
            (StatusCode::CREATED, create::create_missing(&ctx, given, Tracking::Update).await?)
        }
        written => (StatusCode::OK, written?),
    };
    Ok(written.answer(&ctx, code))
}

/// The refusal of an update that does not say which state it is of. As upstream, it names the resource for the kind.
fn unconditional(ctx: &Ctx) -> Status {
    let mut errors = Errors::default();
    errors.invalid(&Path::new("metadata.resourceVersion"), 0, "must be specified for an update");
    Status::invalid(&ctx.kind.plural, &ctx.kind.group, ctx.name(), &errors)
}

/// The refusal of an object that does not say what it is called.
fn nameless(ctx: &Ctx) -> Status {
    Status::bad_request(format!(
        "the name of the object ({} based on URL) was undeterminable: name must be provided",
        ctx.name()
    ))
}

/// The name and namespace of a body must be those of the path, or absent.
fn check_address(ctx: &Ctx, object: &mut Value) -> Result<(), Status> {
    let name = object.name();
    if name.is_empty() {
        object.set_meta("name", ctx.name());
    } else if name != ctx.name() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            ctx.name()
        )));
    }
    match &ctx.path.namespace {
        Some(ns) if object.namespace().is_empty() => object.set_meta("namespace", ns.clone()),
        Some(ns) if object.namespace() != ns => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        None if !object.namespace().is_empty() => {
            object.metadata_mut().remove("namespace");
        }
        _ => {}
    }
    Ok(())
}
