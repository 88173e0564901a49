//! Update and patch: one read-modify-write loop for every kind and every part of an object.

use api::{
    apply,
    kind::Part,
    object::ObjectExt as _,
    patch::{self, PatchType},
    schema::Types,
    status::Status,
};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::{Ctx, create, store_failed};
use crate::{
    admission, allocate, body,
    response::{self, Body},
    store::{Committed, Op, Revision},
};

/// How often a patch is tried on a new state when others write in between, as upstream.
const PATCH_TRIES: usize = 100;

/// What an update came to.
pub enum Updated {
    /// The object as it is now.
    Object(Value),
    /// It was waiting for its last finalizer, and is gone now: its last state.
    Gone(Value),
}

/// The part of the object that the request's subresource writes.
pub fn part(ctx: &Ctx) -> Part<'_> {
    match ctx.path.subresource.as_deref() {
        None => Part::Main,
        Some("status") => Part::Status,
        Some(other) => Part::Other(other),
    }
}

/// Whose changes `managedFields` records, and for which part.
pub fn tracking(ctx: &Ctx) -> apply::Options<'_> {
    apply::Options {
        manager: ctx.field_manager(),
        force: ctx.query.force.unwrap_or(false),
        subresource: ctx.path.subresource.as_deref().unwrap_or(""),
        status_leaves: ctx.kind.status_leaves,
        api_version: ctx.kind.api_version(),
        now: Timestamp::now(),
    }
}

/// `PUT` of an object or a subresource of it.
///
/// # Errors
/// As upstream: 400, 404, 409, 422.
pub async fn update(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let decoded = body::object(&ctx.kind, &ctx.media, &bytes, ctx.query.field_validation)?;
    let mut warnings = decoded.warnings;
    let mut given = body::read_as(&ctx.kind, decoded.object)?;
    if given.name().is_empty() {
        return Err(nameless(&ctx));
    }
    check_address(&ctx, &mut given)?;
    let expected = Expected::of(&given)?;
    let may_create = ctx.kind.rules.creates_on_update() && part(&ctx) == Part::Main && expected.uid.is_none();
    match write(&ctx, part(&ctx), expected, &mut warnings, |_| Ok(given.clone())).await {
        Err(refusal) if may_create && refusal.reason == "NotFound" => {
            given.metadata_mut().remove("resourceVersion");
            let created = create::create_object(&ctx, given, Tracking::Update, &mut warnings).await?;
            Ok(create::respond(&ctx, &created, &warnings))
        }
        updated => Ok(respond(&ctx, updated?, &warnings)),
    }
}

/// `PATCH` of an object or a subresource of it, in any of the four forms.
///
/// # Errors
/// As [`update`], and 415 for an unknown form.
pub async fn patch(ctx: Ctx, bytes: Bytes) -> Result<Response<Body>, Status> {
    let Some(patch_type) = PatchType::of(&ctx.media) else {
        let mut refusal = Status::unsupported_media_type("415: Unsupported Media Type");
        refusal.details = Some(api::status::Details::default());
        return Err(refusal);
    };
    if ctx.kind.is_custom() && patch_type == PatchType::Strategic {
        // Nobody said how lists of a custom kind merge for this form.
        return Err(Status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ));
    }
    let mut warnings = Vec::new();
    if ctx.query.force.is_some() && patch_type != PatchType::Apply {
        let mut errors = api::field::Errors::default();
        errors.forbidden(&api::field::Path::new("force"), "may not be specified for non-apply patch");
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
    let mut found = Vec::new();
    let updated = write(&ctx, part(&ctx), Expected::default(), &mut warnings, |current| {
        let patched = patch::apply_patch(patch_type, types, root, current, &bytes)?;
        found = body::unknown_fields(&kind, &patched, validation)?;
        body::try_read(&ctx.kind, patched).map_err(|why| {
            match patch::apply_patch(patch_type, types, root, current, &bytes) {
                Ok(patched) => patch::unreadable(patch_type, &patched, &bytes, &why),
                Err(refusal) => refusal,
            }
        })
    })
    .await?;
    warnings.extend(found);
    Ok(respond(&ctx, updated, &warnings))
}

async fn server_side_apply(ctx: Ctx, bytes: &[u8]) -> Result<Response<Body>, Status> {
    check_manager(&ctx)?;
    let body::Decoded { object: mut config, mut warnings } =
        body::configuration((&ctx.kind.api_version(), &ctx.kind.kind), bytes, ctx.query.field_validation)?;
    let named = !config.name().is_empty();
    if config.get("metadata").is_some_and(Value::is_object) {
        check_address(&ctx, &mut config)?;
    }
    if config.metadata().is_some_and(|m| m.contains_key("managedFields")) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let options = tracking(&ctx);
    let Some(versions) = ctx.versions(&options.api_version) else {
        return Err(Status::internal(format!("no schema for {}", ctx.kind.kind)));
    };
    let merge = |live: Option<&Value>| apply::apply(versions, live, &config, &options).map_err(Status::from);
    let expected = Expected::of(&config)?;
    let exists = expected.uid.is_some() || !config.resource_version().is_empty();
    let outcome = write_with(&ctx, part(&ctx), expected, &mut warnings, Tracking::Done, |current| {
        body::read_as(&ctx.kind, merge(Some(current))?)
    })
    .await;
    match outcome {
        Err(s) if s.reason == "NotFound" && part(&ctx) == Part::Main && !exists => {
            let fresh = merge(None)?;
            if !named {
                return Err(nameless(&ctx));
            }
            let created = create::create_object(&ctx, fresh, Tracking::Done, &mut warnings).await?;
            Ok(create::respond(&ctx, &created, &warnings))
        }
        Err(s) => Err(s),
        Ok(updated) => Ok(respond(&ctx, updated, &warnings)),
    }
}

/// Whoever applies must say who he is.
///
/// # Errors
/// 422.
pub fn check_manager(ctx: &Ctx) -> Result<(), Status> {
    if ctx.query.field_manager.is_empty() {
        let mut errors = api::field::Errors::default();
        errors.required(&api::field::Path::new("fieldManager"), "is required for apply patch");
        return Err(Status::invalid_options("PatchOptions", &errors));
    }
    Ok(())
}

fn respond(ctx: &Ctx, updated: Updated, warnings: &[String]) -> Response<Body> {
    let (Updated::Object(object) | Updated::Gone(object)) = updated;
    let mut response = ctx.answer(StatusCode::OK, &object);
    response::warn(&mut response, warnings);
    response
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

/// What a write insists on.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The object must be the one with this uid.
    pub uid: Option<String>,
    /// The object must not have changed since.
    pub revision: Option<Revision>,
}

impl Expected {
    /// What the metadata of a sent object insists on.
    ///
    /// # Errors
    /// 400 for a resource version that is no number.
    pub fn of(object: &Value) -> Result<Self, Status> {
        let uid = Some(object.uid()).filter(|u| !u.is_empty()).map(str::to_owned);
        let revision = match object.resource_version() {
            "" | "0" => None,
            v => Some(crate::query::parse_revision(v)?),
        };
        Ok(Self { uid, revision })
    }
}

/// Whether `managedFields` are still to be kept up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// The change is an ordinary update.
    Update,
    /// The change came with its own.
    Done,
}

/// Changes an object: reads it, lets `change` make the new state from the present one, checks the result
/// and stores it, again and again until nobody else wrote in between.
///
/// # Errors
/// Those of `change`, and as [`update`].
pub async fn write(
    ctx: &Ctx,
    part: Part<'_>,
    expected: Expected,
    warnings: &mut Vec<String>,
    change: impl FnMut(&Value) -> Result<Value, Status> + Send,
) -> Result<Updated, Status> {
    write_with(ctx, part, expected, warnings, Tracking::Update, change).await
}

/// [`write`], for callers that keep `managedFields` themselves.
///
/// # Errors
/// As [`write`].
pub async fn write_with(
    ctx: &Ctx,
    part: Part<'_>,
    expected: Expected,
    warnings: &mut Vec<String>,
    tracking: Tracking,
    mut change: impl FnMut(&Value) -> Result<Value, Status> + Send,
) -> Result<Updated, Status> {
    let kind = &ctx.kind;
    let mut current = Current::cached(ctx).await?;
    for _ in 0..PATCH_TRIES {
        let mut old = ctx.loaded(&current.bytes, current.revision)?;
        let step = async {
            if let Some(revision) = expected.revision
                && revision != current.revision
            {
                return Err(Status::modified(&kind.plural, &kind.group, ctx.name()));
            }
            let new = change(&old)?;
            next_state(ctx, part, &expected, tracking, &mut old, new).await
        };
        let (mut new, unwise) = match step.await {
            // A refusal may come from a cache that lags: what the store holds decides.
            Err(_) if !current.verified => {
                current = Current::stored(ctx).await?;
                continue;
            }
            other => other?,
        };
        let mut allocation = allocate::Allocation::new(ctx, &mut new, Some(&old)).await?;
        let finished = super::delete::is_finished(kind, &new);
        let bytes = ctx.stored(&new)?;
        if !finished && !ctx.query.dry_run && bytes == current.bytes {
            if current.verified {
                warnings.extend(unwise);
                return Ok(Updated::Object(old));
            }
            current = Current::stored(ctx).await?;
            continue;
        }
        if finished {
            allocation.release(ctx, &old).await?;
        }
        let revision = match commit(ctx, &current, &mut new, bytes, finished, &mut allocation).await? {
            Ok(revision) => revision,
            Err(present) => {
                current = present;
                continue;
            }
        };
        warnings.extend(unwise);
        if let Some(revision) = revision {
            new.set_meta("resourceVersion", revision.to_string());
        }
        return Ok(if finished { Updated::Gone(new) } else { Updated::Object(new) });
    }
    Err(Status::modified(&kind.plural, &kind.group, ctx.name()))
}

/// Stores a new state, given also as bytes, (or the object's end) with what it takes and gives back. Answers the revision, none for
/// a dry run; or the present state, when somebody else wrote in between.
async fn commit(
    ctx: &Ctx,
    current: &Current,
    new: &mut Value,
    mut bytes: Vec<u8>,
    finished: bool,
    allocation: &mut allocate::Allocation,
) -> Result<Result<Option<Revision>, Current>, Status> {
    if ctx.query.dry_run {
        return Ok(Ok(None));
    }
    let key = ctx.key(ctx.name());
    loop {
        let first = if finished {
            Op::delete(key.clone(), current.revision)
        } else {
            Op::update(key.clone(), current.revision, bytes)
        };
        let mut ops = vec![first];
        ops.extend(allocation.ops());
        match ctx.api.store.commit(ops).await.map_err(store_failed)? {
            Committed::Done(revision) => return Ok(Ok(Some(revision))),
            Committed::Conflict { index: 0, current: Some(now) } => {
                return Ok(Err(Current { bytes: now.value, revision: now.revision, verified: true }));
            }
            Committed::Conflict { index: 0, current: None } => return Err(ctx.not_found()),
            // An address that seemed free was taken meanwhile: pick again, or say so when it was asked for.
            Committed::Conflict { index, .. } => allocation.taken(ctx, index - 1, new).await?,
        }
        bytes = ctx.stored(new)?;
    }
}

/// The present state of the object a write starts from.
struct Current {
    bytes: Bytes,
    revision: Revision,
    /// Read from the store, not from a cache that may lag.
    verified: bool,
}

impl Current {
    async fn cached(ctx: &Ctx) -> Result<Self, Status> {
        match ctx.resource.get(&ctx.cache_key(ctx.name())) {
            Some(object) => Ok(Self { bytes: object.stored(), revision: object.revision(), verified: false }),
            None => Self::stored(ctx).await,
        }
    }

    async fn stored(ctx: &Ctx) -> Result<Self, Status> {
        let found = ctx.api.store.get(&ctx.key(ctx.name())).await.map_err(store_failed)?;
        let found = found.ok_or_else(|| ctx.not_found())?;
        Ok(Self { bytes: found.value, revision: found.revision, verified: true })
    }
}

/// Makes the state that is to be stored from what the caller wants: it is admitted, what he may not touch is carried
/// over, the generation counts, and validation has its say. Answers warnings, too. `old` is as it
/// was when this ends well.
async fn next_state(
    ctx: &Ctx,
    part: Part<'_>,
    expected: &Expected,
    tracking: Tracking,
    old: &mut Value,
    mut new: Value,
) -> Result<(Value, Vec<String>), Status> {
    let kind = &ctx.kind;
    if let Some(uid) = &expected.uid
        && uid != old.uid()
    {
        return Err(Status::conflict(
            &kind.plural,
            &kind.group,
            ctx.name(),
            format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                ctx.key(ctx.name()),
                old.uid()
            ),
        ));
    }
    if new.name().is_empty() {
        return Err(nameless(ctx));
    }
    check_address(ctx, &mut new)?;
    // The writer manages what he changed, not what the server makes of it from here on.
    let options = self::tracking(ctx);
    if tracking == Tracking::Update
        && let Some(versions) = ctx.versions(&options.api_version)
    {
        new = apply::track_update(versions, Some(old), new, &options);
    }
    if let Some(sent) = Expected::of(&new)?.revision
        && old.resource_version() != sent.to_string()
    {
        return Err(Status::modified(&kind.plural, &kind.group, ctx.name()));
    }
    admission::update(ctx, part, &mut new, old)?;
    carry_over(kind, part, &mut new, old);
    new.set_meta("resourceVersion", old.resource_version());
    apply::without_managers(&mut new, |new| {
        apply::without_managers(old, |old| kind.rules.prepare_update(new, old, part));
    });
    if kind.rules.has_generation() && !part.is_of_status() && spec_changed(kind, &new, old) {
        new.set_meta("generation", old.generation() + 1);
    }
    let mut errors = api::validation::object_meta_update(&new, old);
    if !kind.rules.takes_plain_finalizers() {
        api::validation::owned_finalizers(&new, &mut errors);
    }
    let findings = apply::without_managers(&mut new, |new| {
        apply::without_managers(old, |old| kind.rules.validate_update(new, old, part))
    });
    errors.0.extend(findings.errors.0);
    if !errors.is_empty() {
        return Err(ctx.invalid(ctx.name(), &errors));
    }
    if tracking == Tracking::Done {
        apply::keep_times(old, &mut new);
    }
    Ok((new, findings.warnings))
}

/// Carries over what the written part does not include.
fn carry_over(kind: &api::kind::Kind, part: Part<'_>, new: &mut Value, old: &Value) {
    if part.is_of_status() {
        // A write of the status changes status and metadata, for some kinds without parts of the metadata.
        let written = std::mem::replace(new, old.clone());
        let (Some(map), Value::Object(mut written)) = (new.as_object_mut(), written) else { return };
        for part in ["metadata", "status"] {
            match written.remove(part) {
                Some(value) => map.insert(part.into(), value),
                None => map.remove(part),
            };
        }
        restore(kind.status_leaves, new, old);
    } else if kind.has_status()
        // A binding also says in the status that the pod has found its node.
        && part != Part::Other("binding")
        && let Some(map) = new.as_object_mut()
    {
        match old.get("status") {
            Some(status) => map.insert("status".into(), status.clone()),
            None => map.remove("status"),
        };
    }
    restore(&["creationTimestamp", "generation", "selfLink"], new, old);
    // What is said of these must be true, but need not be said.
    for field in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let lasts = field != "uid" && old.is_deleting();
        if lasts || new.metadata().is_none_or(|m| m.get(field).is_none_or(|v| v.is_null() || v == "")) {
            restore(&[field], new, old);
        }
    }
}

/// Gives fields of the metadata the values they had.
fn restore(fields: &[&str], new: &mut Value, old: &Value) {
    for field in fields {
        match old.metadata().and_then(|m| m.get(*field)) {
            Some(value) => new.set_meta(field, value.clone()),
            None => {
                new.metadata_mut().remove(*field);
            }
        }
    }
}

/// Whether anything but metadata and status changed. Without a subresource of its own, status is as the rest.
fn spec_changed(kind: &api::kind::Kind, new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let status_apart = kind.has_status();
    let relevant = |k: &str| match k {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !status_apart,
        _ => true,
    };
    let count = |m: &serde_json::Map<String, Value>| m.keys().filter(|k| relevant(k)).count();
    count(new) != count(old) || new.iter().any(|(k, v)| relevant(k) && old.get(k) != Some(v))
}
