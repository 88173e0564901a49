//! What becomes of an object when somebody wants it changed.

use api::{object::ObjectExt as _, status::Status};
use kinds::{
    apply,
    kind::{Kind, Part},
};
use serde_json::{Map, Value};

use super::{Expected, check_address, nameless};
use crate::{
    context::Ctx,
    strategies,
    verbs::{Tracking, apply_options},
};

/// What the caller wants an object to become, once it is sure that he means this object in its present state, with his
/// changes noted.
pub(super) fn wanted(
    ctx: &Ctx,
    expected: &Expected,
    tracking: Tracking,
    old: &Value,
    mut new: Value,
) -> Result<Value, Status> {
    let kind = &ctx.kind;
    if let Some(uid) = &expected.uid
        && uid != old.uid()
    {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            ctx.key(ctx.name()),
            old.uid()
        );
        return Err(Status::conflict(&kind.plural, &kind.group, ctx.name(), why));
    }
    if new.name().is_empty() {
        return Err(nameless(ctx));
    }
    check_address(ctx, &mut new)?;
    // The writer manages what he changed, not what the server makes of it from here on.
    let options = apply_options(ctx);
    if tracking == Tracking::Update
        && let Some(versions) = ctx.versions(&options.api_version)
    {
        new = apply::track_update(versions, Some(old), new, &options);
    }
    if let Some(sent) = Expected::of(&new)?.revision
        && old.resource_version() != sent.to_string()
    {
        return Err(ctx.modified(ctx.name()));
    }
    Ok(new)
}

/// Makes the state that is to be stored from what is wanted: what may not be touched is carried over, the generation
/// counts, and validation has its say. `old` is as it was when this ends well.
pub(super) fn next_state(
    ctx: &Ctx,
    part: Part<'_>,
    tracking: Tracking,
    old: &mut Value,
    mut new: Value,
) -> Result<Value, Status> {
    let kind = &ctx.kind;
    strategies::prepare_update(ctx, part, &mut new, old);
    carry_over(kind, part, &mut new, old);
    new.set_meta("resourceVersion", old.resource_version());
    apply::without_managers(&mut new, |new| {
        apply::without_managers(old, |old| kind.rules.prepare_update(new, old, part));
    });
    kind.complete(&mut new);
    // Which node a pod is bound to is the scheduler's word, not another will of the pod's owner.
    let counts = !part.is_of_status() && part != Part::Other("binding");
    if kind.facts.has_generation && counts && spec_changed(kind, &new, old) {
        new.set_meta("generation", old.generation() + 1);
    }
    let mut errors = api::validation::object_meta_update(&new, old);
    if !kind.facts.takes_plain_finalizers {
        api::validation::owned_finalizers(&new, &mut errors);
    }
    let findings = apply::without_managers(&mut new, |new| {
        apply::without_managers(old, |old| kind.rules.validate_update(new, old, part))
    });
    errors.extend(findings.errors);
    errors.extend(strategies::errors(ctx, &new, Some(old)));
    if !errors.is_empty() {
        return Err(ctx.invalid(ctx.name(), &errors));
    }
    ctx.warnings.add(findings.warnings);
    ctx.warnings.add(strategies::warnings(ctx, &new));
    kind.rules.drop_undeclared(&mut new);
    if tracking == Tracking::Done {
        apply::keep_times(old, &mut new);
    }
    Ok(new)
}

/// Carries over what the written part does not include.
fn carry_over(kind: &Kind, part: Part<'_>, new: &mut Value, old: &Value) {
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
fn spec_changed(kind: &Kind, new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return false };
    let status_apart = kind.has_status();
    let relevant = |k: &str| match k {
        "metadata" | "apiVersion" | "kind" => false,
        "status" => !status_apart,
        _ => true,
    };
    let count = |m: &Map<String, Value>| m.keys().filter(|k| relevant(k)).count();
    count(new) != count(old) || new.iter().any(|(k, v)| relevant(k) && old.get(k) != Some(v))
}
