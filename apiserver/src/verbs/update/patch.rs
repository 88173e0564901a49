//! `PATCH`: the four forms in which a client says what is to change.

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    status::{Details, Status},
};
use bytes::Bytes;
use http::{Response, StatusCode};
use kinds::{
    apply,
    kind::Part,
    patch::{PatchType, apply_patch, odd_fields, unreadable},
    schema::Types,
};
use serde_json::Value;

use super::{Expected, Terms, check_address, nameless, part, write, write_on};
use crate::{
    body,
    context::Ctx,
    query::FieldValidation,
    response::Body,
    verbs::{Tracking, apply_options, create},
};

/// `PATCH` of an object or a subresource of it, in any of the four forms.
///
/// # Errors
/// As [`super::update`], and 415 for an unknown form.
pub async fn patch(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let Some(patch_type) = PatchType::of(&ctx.media) else {
        let mut refusal = Status::unsupported_media_type("415: Unsupported Media Type");
        refusal.details = Some(Details::default());
        return Err(refusal);
    };
    if ctx.kind.is_custom() && patch_type == PatchType::Strategic {
        // Nobody said how lists of a custom kind merge for this form.
        return Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    if ctx.query.force.is_some() && patch_type != PatchType::Apply {
        let mut errors = Errors::default();
        errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
        return Err(Status::invalid_options("PatchOptions", &errors));
    }
    if patch_type == PatchType::Apply {
        return server_side_apply(ctx, &bytes).await;
    }
    let kind = ctx.kind.clone();
    let (types, root) = match kind.object_type() {
        Some((types, root)) => (types, Some(root)),
        None => (Types::builtin(), None),
    };
    let validation = ctx.query.field_validation;
    let checked = validation != FieldValidation::Ignore;
    let odd = if checked { odd_fields(patch_type, &bytes) } else { Vec::new() };
    let mut found = Vec::new();
    let written = write(&ctx, part(&ctx), Expected::default(), |current| {
        let patched = apply_patch(patch_type, types, root, current, &bytes)?;
        found.clone_from(&odd);
        if checked {
            found.extend(body::unknown_in(&kind, &patched));
        }
        let read = body::try_read(&kind, patched).and_then(|object| match validation {
            FieldValidation::Strict if !found.is_empty() => {
                Err(kinds::kind::DecodeError(format!("strict decoding error: {}", found.join(", "))))
            }
            _ => Ok(object),
        });
        ctx.warnings.add(found.clone());
        read.map_err(|why| match apply_patch(patch_type, types, root, current, &bytes) {
            Ok(patched) => unreadable(patch_type, &patched, &bytes, &why.0),
            Err(refusal) => refusal,
        })
    })
    .await?;
    Ok(written.answer(&ctx, StatusCode::OK))
}

async fn server_side_apply(ctx: Ctx, bytes: &[u8]) -> Result<Response<Body>, Status> {
    check_manager(&ctx)?;
    let body::Decoded { object: mut config, warnings } =
        body::configuration((&ctx.kind.api_version(), &ctx.kind.kind), bytes, ctx.query.field_validation)?;
    ctx.warnings.add(warnings);
    if let Some(Value::Object(metadata)) = config.get_mut("metadata") {
        match metadata.get("managedFields") {
            Some(Value::Null) => drop(metadata.remove("managedFields")),
            Some(Value::Array(_)) => return Err(Status::bad_request("metadata.managedFields must be nil")),
            _ => {}
        }
    }
    let options = apply_options(&ctx);
    let Some(versions) = ctx.versions(&options.api_version) else {
        return Err(Status::internal(format!("no schema for {}", ctx.kind.kind)));
    };
    let merge = |live: Option<&Value>| apply::apply(versions, live, &config, &options).map_err(Status::from);
    let exists = !config.resource_version().is_empty();
    let change = |current: &Value| body::read_applied(&ctx.kind, merge(Some(current))?);
    let terms = Terms::of(part(&ctx), Expected::default(), Tracking::Done);
    let (code, written) = match write_on(&ctx, terms, change).await {
        Err(s) if s.reason == "NotFound" && part(&ctx) == Part::Main && !exists => {
            if !config.uid().is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    config.uid()
                );
                return Err(Status::conflict(&ctx.kind.plural, &ctx.kind.group, ctx.name(), why));
            }
            let mut fresh = merge(None)?;
            if fresh.name().is_empty() {
                return Err(nameless(&ctx));
            }
            check_address(&ctx, &mut fresh)?;
            (StatusCode::CREATED, create::create_missing(&ctx, fresh, Tracking::Done).await?)
        }
        written => (StatusCode::OK, written?),
    };
    Ok(written.answer(&ctx, code))
}

/// Whoever applies must say who he is.
///
/// # Errors
/// 422.
pub fn check_manager(ctx: &Ctx) -> Result<(), Status> {
    if ctx.query.field_manager.is_empty() {
        let mut errors = Errors::default();
        errors.required(&Path::new("fieldManager"), "is required for apply patch");
        return Err(Status::invalid_options("PatchOptions", &errors));
    }
    Ok(())
}
