//! Create: decode, default, mutate, prepare, validate, store.

use std::sync::Arc;

use api::{object::ObjectExt as _, status::Status, validation::NameRule};
use bytes::Bytes;
use http::{Response, StatusCode};
use kinds::{apply, kind::Kind};
use serde_json::Value;

use super::{MUTATED, Tracking, Written, apply_options, keep_owners_once};
use crate::{
    admission::Operation,
    auth::authorize::check_escalation,
    body,
    commit::{self, Outcome, Write},
    context::Ctx,
    resources::BuiltIn,
    response::Body,
    stamp::{generated, new_uid, now},
    strategies,
};

/// How often a generated name is tried again when it is taken.
const GENERATE_TRIES: usize = 8;

/// `POST` to a resource.
///
/// # Errors
/// Whatever is wrong with the object, as a `Status`.
pub async fn create(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let decoded = body::object(&ctx.kind, &ctx.media, &bytes, ctx.query.field_validation)?;
    ctx.warnings.add(decoded.warnings);
    let created = create_object(&ctx, decoded.object, Tracking::Update).await?;
    Ok(created.answer(&ctx, StatusCode::CREATED))
}

/// Creates what an update or apply did not find, for who may create, too.
///
/// # Errors
/// 403, and as [`create_object`].
pub async fn create_missing(ctx: &Ctx, object: Value, tracking: Tracking) -> Result<Written, Status> {
    ctx.permit("create")?;
    create_object(ctx, object, tracking).await
}

/// Creates one object; also used by the parts of the server that make objects themselves.
///
/// # Errors
/// As [`create`].
pub async fn create_object(ctx: &Ctx, mut object: Value, tracking: Tracking) -> Result<Written, Status> {
    let kind = &ctx.kind;
    if !kind.verbs.contains(&"create") {
        // An apply can come here, too.
        return Err(refused(kind));
    }
    object = match tracking {
        Tracking::Update => body::read_as(kind, object)?,
        Tracking::Done => body::read_applied(kind, object)?,
    };
    if tracking == Tracking::Update {
        ctx.trail.was_sent(&object);
    }
    keep_owners_once(ctx, &mut object, "");
    let said = object.resource_version().to_owned();
    place(ctx, &mut object)?;
    // The creator manages what he wrote and its defaults, not what the server adds from here on.
    if tracking == Tracking::Update {
        object = track(ctx, object);
    }
    wipe(&mut object);
    let name = object.name().to_owned();
    ctx.api.admission.mutate(&mut Operation::create(ctx, &name, &mut object)).await?;
    keep_owners_once(ctx, &mut object, MUTATED);
    // What others have changed is held to the same.
    place(ctx, &mut object)?;
    check_escalation(ctx, None, &object).await?;
    if !object.name().is_empty() || object.meta_str("generateName").is_empty() {
        return attempt(ctx, &name, &said, object).await;
    }
    let mut tries = GENERATE_TRIES;
    loop {
        // Some kinds' rules write the name into the object, so it comes first.
        let generated = generated(object.meta_str("generateName"));
        object.set_meta("name", generated);
        match attempt(ctx, &name, &said, object.clone()).await {
            Err(s) if s.reason == "AlreadyExists" && tries > 1 => tries -= 1,
            other => return other,
        }
    }
}

/// The refusal of new objects of a kind that takes none.
pub fn refused(kind: &Kind) -> Status {
    if !kind.is_custom() {
        return Status::method_not_allowed();
    }
    let why = "create not allowed while custom resource definition is terminating";
    Status { message: why.into(), ..Status::method_not_allowed() }
}

/// Creates an object that has been mutated and has a name; `name` is what the request calls it, `said` the resource version
/// that it names. Only who stores objects cares about that, as upstream.
async fn attempt(ctx: &Ctx, name: &str, said: &str, mut object: Value) -> Result<Written, Status> {
    let kind = &ctx.kind;
    stamp(ctx, &mut object);
    strategies::prepare_create(ctx, &mut object)?;
    apply::without_managers(&mut object, |object| kind.rules.prepare_create(object));
    kind.complete(&mut object);
    let mut errors = api::validation::object_meta(&object, kind.facts.names, kind.namespaced);
    if !kind.facts.takes_plain_finalizers {
        api::validation::owned_finalizers(&object, &mut errors);
    }
    let findings = apply::without_managers(&mut object, |object| kind.rules.validate(object));
    if kind.facts.names == NameRule::PathSegmentLast && !findings.errors.is_empty() {
        errors = findings.errors;
    } else {
        errors.extend(findings.errors);
    }
    errors.extend(strategies::errors(ctx, &object, None));
    if !errors.is_empty() {
        return Err(ctx.invalid(object.name(), &errors));
    }
    ctx.warnings.add(findings.warnings);
    ctx.warnings.add(strategies::warnings(ctx, &object));
    kind.rules.drop_undeclared(&mut object);
    let mut write = Write::create(ctx, object);
    let mut riders = commit::riders(&mut write).await?;
    ctx.api.admission.validate(&Operation::create(ctx, name, &mut write.new)).await?;
    if !ctx.query.dry_run && said.parse::<u64>().is_ok_and(|version| version > 0) {
        return Err(Status::failure(500, "", "resourceVersion should not be set on objects to be created"));
    }
    match commit::commit(&mut write, &mut riders).await? {
        Outcome::Done(revision) => Written::stored(write, revision),
        Outcome::Tried => {
            if !said.is_empty() {
                write.new.set_meta("resourceVersion", said);
            }
            Ok(Written::unstored(write.new))
        }
        Outcome::Conflict(_) => Err(Status::already_exists(&kind.plural, &kind.group, write.new.name())),
    }
}

fn track(ctx: &Ctx, object: Value) -> Value {
    let options = apply_options(ctx);
    let Some(versions) = ctx.versions(&options.api_version) else { return object };
    apply::track_update(versions, None, object, &options)
}

/// Puts an object into a namespace.
///
/// # Errors
/// 400 when it says that it belongs into another one.
pub fn put_into(namespace: &str, object: &mut Value) -> Result<(), Status> {
    match object.namespace() {
        "" => object.set_meta("namespace", namespace),
        given if given != namespace => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        _ => {}
    }
    Ok(())
}

/// Puts the object into the namespace of the path.
fn place(ctx: &Ctx, object: &mut Value) -> Result<(), Status> {
    match &ctx.path.namespace {
        Some(namespace) => put_into(namespace, object)?,
        None if ctx.kind.namespaced => {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        None => {
            object.metadata_mut().remove("namespace");
        }
    }
    Ok(())
}

/// Takes out what only the system says.
fn wipe(object: &mut Value) {
    let meta = object.metadata_mut();
    for field in [
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        meta.remove(field);
    }
}

/// Fills in what the system decides about a new object.
fn stamp(ctx: &Ctx, object: &mut Value) {
    wipe(object);
    object.set_meta("uid", new_uid());
    object.set_meta("creationTimestamp", now());
    if ctx.kind.facts.has_generation {
        object.set_meta("generation", 1);
    }
    if ctx.kind.has_status()
        && !ctx.kind.facts.status_at_creation
        && let Some(map) = object.as_object_mut()
        && map.contains_key("status")
    {
        map.insert("status".into(), serde_json::json!({}));
    }
}

/// Creates an object that the server itself needs, as the system's own user.
///
/// # Errors
/// As [`create`]; an object that exists already is fine.
pub async fn ensure(api: &Arc<crate::Api>, resource: BuiltIn, object: Value) -> Result<(), Status> {
    let namespace = Some(object.namespace()).filter(|namespace| !namespace.is_empty());
    let ctx = Ctx::internal(api, resource, namespace, None)?;
    if ctx.resource.get(&ctx.cache_key(object.name())).is_some() {
        return Ok(());
    }
    match create_object(&ctx, object, Tracking::Update).await {
        Err(refusal) if refusal.reason != "AlreadyExists" => Err(refusal),
        _ => Ok(()),
    }
}
