//! Brings the definitions of custom kinds in order: they get their names and conditions, and take their objects
//! along when they go.
//!
//! A definition is decided on as it was seen and written only if it still is. Upstream counterparts: the naming,
//! establishing and finalizing controllers of `apiextensions-apiserver`.

use std::{sync::Arc, time::Duration};

use api::{conditions, object::ObjectExt as _, status::Status};
use kinds::{builtin::custom_resource_definition::CLEANUP, custom::names, kind::Part};
use serde_json::Value;

use super::Left;
use crate::{
    Api,
    context::Ctx,
    custom::{prefix_of, resource_of},
    forms::value,
    resources::{BuiltIn, CUSTOM_RESOURCE_DEFINITIONS},
    stamp::now,
    store::{Committed, Op, Store, StoreError},
    verbs::{
        delete::{DeleteOptions, delete_object},
        update::{self, Expected},
    },
    watch_cache::Scope,
};

/// What is looked at.
pub const FOLLOWED: [BuiltIn; 1] = [CUSTOM_RESOURCE_DEFINITIONS];
/// How long to wait for a write to be seen.
const PAUSE: Duration = Duration::from_secs(1);

/// Brings all definitions in order; something is left when some wait for their objects to go, or could not be
/// written.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    api.table();
    let mut left = Left::Nothing;
    let mut all = api.values(CUSTOM_RESOURCE_DEFINITIONS, &Scope::All)?;
    // Who came first has the first claim to a name.
    all.sort_by_key(|d| (d.meta_str("creationTimestamp").to_owned(), d.name().to_owned()));
    for i in 0..all.len() {
        let settled = settle(&api, &mut all, i).await;
        // One that cannot be brought in order does not hold up the others.
        if !settled.unwrap_or_else(|error| {
            tracing::warn!(name = all[i].name(), %error, "cannot bring a custom kind in order yet");
            false
        }) {
            left = Left::Something;
        }
    }
    Ok(left)
}

/// Brings one definition in order, given all of them; false when it has to wait.
async fn settle(api: &Arc<Api>, all: &mut [Value], i: usize) -> Result<bool, Status> {
    if all[i].is_deleting() {
        return end(api, &all[i]).await;
    }
    if let Some(status) = names::status(&all[i], all, &now()) {
        let name = all[i].name().to_owned();
        if write(api, &name, Part::Status, |d| d["status"] = status.clone(), &all[i]).await? {
            all[i]["status"] = status;
        }
    }
    Ok(true)
}

/// Changes a definition that is still as it was seen; false when it is not, and will be looked at again.
async fn write(
    api: &Arc<Api>,
    name: &str,
    part: Part<'_>,
    change: impl Fn(&mut Value) + Send + Sync,
    seen: &Value,
) -> Result<bool, Status> {
    let ctx = Ctx::internal(api, CUSTOM_RESOURCE_DEFINITIONS, None, Some(name))?;
    let ctx = if part == Part::Status { ctx.at_status() } else { ctx };
    let expected = Expected::of(seen)?;
    let revision = match update::edit(&ctx, part, expected, change).await {
        Ok(written) => written.object.resource_version().parse(),
        Err(status) if matches!(status.reason.as_str(), "NotFound" | "Conflict") => return Ok(false),
        Err(status) => return Err(status),
    };
    // What follows must not be decided on an older state than this.
    if let Ok(revision) = revision {
        let _late = tokio::time::timeout(PAUSE, api.cache.wait_for(revision)).await;
    }
    Ok(true)
}

/// Deletes the objects of a definition that is to go, and lets it go when there are none left.
async fn end(api: &Arc<Api>, definition: &Value) -> Result<bool, Status> {
    if !definition.finalizers().contains(&CLEANUP) {
        return Ok(true);
    }
    let name = definition.name();
    let left = delete_all(api, definition).await?;
    if left > 0 {
        let message = "CustomResource deletion is in progress";
        let told = conditions::told("Terminating", true, "InstanceDeletionInProgress", message, &now());
        let told_already =
            conditions::find(definition, "Terminating").is_some_and(|c| c["reason"] == told["reason"]);
        if !told_already {
            let change = |d: &mut Value| conditions::set_in(d, told.clone());
            write(api, name, Part::Status, change, definition).await?;
        }
        return Ok(false);
    }
    write(
        api,
        name,
        Part::Main,
        |d| {
            let rest = d.finalizers().into_iter().filter(|f| *f != CLEANUP).map(str::to_owned);
            d.set_finalizers(rest.collect());
        },
        definition,
    )
    .await
}

/// Deletes all objects of a definition; how many are left.
async fn delete_all(api: &Arc<Api>, definition: &Value) -> Result<usize, Status> {
    let (group, plural) = resource_of(definition);
    if plural.is_empty() || api.registry.is_builtin(group, plural) {
        return Ok(0);
    }
    api.cache.fresh().await?;
    let table = api.table();
    let Some(kind) = table.kinds().iter().find(|k| k.group == group && k.plural == plural && k.is_custom())
    else {
        return Ok(drop_unserved(&*api.store, &prefix_of(definition)).await?);
    };
    let ctx = Ctx::internal_to(api, &table, kind, None, None)?;
    for object in ctx.resource.snapshot().objects.scan(&Scope::All, None) {
        // Its deletion has begun; what is left is for its finalizers' owners to do.
        if value(object)?.is_deleting() {
            continue;
        }
        let namespace = kind.namespaced.then(|| object.namespace().to_owned());
        let one: Ctx = ctx.in_namespace(namespace);
        match delete_object(&one, object.name(), &DeleteOptions::default(), true).await {
            Err(status) if status.reason != "NotFound" => return Err(status),
            _ => {}
        }
    }
    api.cache.fresh().await?;
    Ok(ctx.resource.snapshot().objects.len())
}

/// Removes objects that no version serves, so that nobody could take off their finalizers either; how many are
/// left, because somebody wrote them meanwhile.
pub(super) async fn drop_unserved(store: &dyn Store, prefix: &str) -> Result<usize, StoreError> {
    let mut left = 0;
    for item in store.load(prefix, None).await?.items {
        let dropped = store.commit(vec![Op::delete(item.key, item.revision)]).await?;
        left += usize::from(matches!(dropped, Committed::Conflict { current: Some(_), .. }));
    }
    Ok(left)
}
