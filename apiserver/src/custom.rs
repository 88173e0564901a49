//! Custom kinds at run time: they enter and leave the table as their definitions come and go, get their names
//! and conditions, and take their objects along when they go.
//!
//! Invariant: the table is a function of the definitions in the watch cache, so that all servers on one store
//! serve the same; whoever needs it makes it when it is behind. Counterparts: upstream's `crdHandler` and the
//! naming, establishing and finalizing controllers.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use api::{
    custom::{kind, names},
    kind::{Kind, Part},
    kinds::custom_resource_definition::CLEANUP,
    object::ObjectExt as _,
    status::Status,
};
use machinery::backoff::Backoff;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    Api,
    http::internal,
    registry::{Registry, Table},
    resource_spec,
    store::Op,
    verbs::{
        Ctx,
        delete::{DeleteOptions, delete_object},
        now, store_failed,
        update::{self, Expected, Updated},
    },
    watch_cache::{CachedObject, Resource, Scope, WatchCache, WatchFrom},
};

const GROUP: &str = "apiextensions.k8s.io";
const DEFINITIONS: (&str, &str, &str) = (GROUP, "v1", "customresourcedefinitions");
const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";
/// When objects that do not go at once, or what failed, are looked at again,
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// and at last, after ever longer pauses.
const LOOK_AGAIN_AT_LAST: Duration = Duration::from_secs(30);
/// How long to wait for a write to be seen.
const PAUSE: Duration = Duration::from_secs(1);

/// What the custom kinds of the table were made from.
pub struct Definitions {
    resource: Option<Arc<Resource>>,
    /// The change of the definitions that the table shows.
    shown: AtomicU64,
    made: Mutex<HashMap<String, Made>>,
}

/// The rows of a definition.
struct Made {
    /// What they depend on; rows are made again when it changes.
    source: Value,
    rows: Vec<Arc<Kind>>,
}

impl Definitions {
    /// Nothing made yet.
    pub fn new(cache: &WatchCache) -> Self {
        Self { resource: cache.resource(PREFIX), shown: AtomicU64::new(0), made: Mutex::default() }
    }

    /// Brings the table up to the definitions in the cache.
    pub fn refresh(&self, registry: &Registry, cache: &WatchCache) {
        let Some(resource) = &self.resource else { return };
        if resource.changed() == self.shown.load(Ordering::Acquire) {
            return;
        }
        let mut made = self.made.lock();
        // Read before the definitions: they are at least this new.
        let changed = resource.changed();
        if changed == self.shown.load(Ordering::Acquire) {
            return;
        }
        let mut present = HashMap::new();
        for object in resource.snapshot().objects.scan(&Scope::All, None) {
            let Some(definition) = read(object).filter(|d| names::holds(d, "Established")) else { continue };
            let (group, plural) = resource_of(&definition);
            if registry.is_builtin(group, plural) {
                // What a built-in kind is called stays that kind's.
                continue;
            }
            let source = source(&definition);
            let known = made.remove(object.name()).filter(|made| made.source == source);
            let rows = known.unwrap_or_else(|| {
                let rows: Vec<_> = kind::rows(&definition).into_iter().map(Arc::new).collect();
                keep(cache, &prefix_of(&definition), &rows);
                Made { source, rows }
            });
            present.insert(object.name().to_owned(), rows);
        }
        let prefixes = |made: &HashMap<String, Made>| -> Vec<String> {
            made.values().filter_map(|m| m.rows.first()).map(|kind| kind.storage_prefix()).collect()
        };
        let kept = prefixes(&present);
        // What is left here is gone, or was made anew.
        let gone: Vec<String> = prefixes(&made).into_iter().filter(|prefix| !kept.contains(prefix)).collect();
        let mut all: Vec<_> = present.iter().collect();
        all.sort_by_key(|(name, _)| (*name).clone());
        registry.set_custom(all.into_iter().flat_map(|(_, made)| made.rows.iter().cloned()));
        gone.iter().for_each(|prefix| cache.remove(prefix));
        *made = present;
        self.shown.store(changed, Ordering::Release);
    }
}

/// The group of a definition and the plural name it has got.
fn resource_of(definition: &Value) -> (&str, &str) {
    (definition.str_at(&["spec", "group"]), definition.str_at(&["status", "acceptedNames", "plural"]))
}

/// The prefix of a definition's objects.
fn prefix_of(definition: &Value) -> String {
    let (group, plural) = resource_of(definition);
    format!("/registry/{group}/{plural}/")
}

/// Has the cache keep a definition's objects as its rows say.
fn keep(cache: &WatchCache, prefix: &str, rows: &[Arc<Kind>]) {
    if rows.is_empty() {
        return;
    }
    let spec = resource_spec(rows);
    if cache.resource(prefix).is_some() { cache.replace(spec) } else { drop(cache.add(spec)) }
}

/// What of a definition its rows depend on.
fn source(definition: &Value) -> Value {
    let terminating = names::holds(definition, "Terminating");
    let names = definition.at(&["status", "acceptedNames"]).cloned().unwrap_or_default();
    Value::from(vec![
        definition.uid().into(),
        definition.get("spec").cloned().unwrap_or_default(),
        names,
        terminating.into(),
    ])
}

fn read(object: &CachedObject) -> Option<Value> {
    serde_json::from_slice(&object.json()).ok()
}

/// The kind of a path and the table it is in. Before it is said that there is none, the definitions are
/// brought up to what the store has.
///
/// # Errors
/// When the store does not answer: nobody may take that for a kind that is gone.
pub async fn find(
    api: &Arc<Api>,
    group: &str,
    version: &str,
    plural: &str,
) -> Result<Option<(Arc<Table>, Arc<Kind>)>, Status> {
    let table = api.table();
    if let Some(kind) = table.find(group, version, plural).cloned() {
        return Ok(Some((table, kind)));
    }
    api.cache.fresh().await.map_err(store_failed)?;
    let table = api.table();
    let kind = table.find(group, version, plural).cloned();
    Ok(kind.map(|kind| (table, kind)))
}

/// Follows the definitions until the server stops.
pub async fn run(api: Arc<Api>) {
    let Some(resource) = api.cache.resource(PREFIX) else { return };
    while !api.stopping() {
        let Ok(mut watcher) = resource.watch(WatchFrom::Initial, Scope::All, None) else { return };
        let mut backoff = Backoff::new(LOOK_AGAIN, LOOK_AGAIN_AT_LAST);
        loop {
            api.table();
            let wait = if settle(&api, &resource).await { Duration::MAX } else { backoff.pause() };
            tokio::select! {
                () = api.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                events = watcher.next(64) => {
                    if events.is_err() {
                        break;
                    }
                    backoff = Backoff::new(LOOK_AGAIN, LOOK_AGAIN_AT_LAST);
                }
            }
        }
    }
}

/// Brings all definitions in order; false when some wait for their objects to go, or could not be written.
async fn settle(api: &Arc<Api>, resource: &Resource) -> bool {
    let mut done = true;
    let mut all: Vec<Value> =
        resource.snapshot().objects.scan(&Scope::All, None).filter_map(|object| read(object)).collect();
    // Who came first has the first claim to a name.
    all.sort_by_key(|d| (d.meta_str("creationTimestamp").to_owned(), d.name().to_owned()));
    for i in 0..all.len() {
        let settled = settle_one(api, &mut all, i).await;
        // One that cannot be brought in order does not hold up the others.
        done &= settled.unwrap_or_else(|error| {
            tracing::warn!(name = all[i].name(), %error, "cannot bring a custom kind in order yet");
            false
        });
    }
    done
}

/// Brings one definition in order, given all of them.
async fn settle_one(api: &Arc<Api>, all: &mut [Value], i: usize) -> Result<bool, Status> {
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
    let mut ctx = internal(api, DEFINITIONS, None, Some(name))?;
    if part == Part::Status {
        ctx.path.subresource = Some("status".into());
    }
    let expected = Expected::of(seen)?;
    let mut warnings = Vec::new();
    let changed = update::write(&ctx, part, expected, &mut warnings, |current| {
        let mut new = current.clone();
        change(&mut new);
        Ok(new)
    });
    let revision = match changed.await {
        Ok(Updated::Object(object) | Updated::Gone(object)) => object.resource_version().parse(),
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
    let told = |reason: &str, holds: bool, message: &str| {
        let mut conditions = names::Conditions::of(definition, &now());
        let before = conditions.list.clone();
        conditions.set("Terminating", holds, reason, message);
        (conditions.list != before).then_some(conditions.list)
    };
    let left = delete_all(api, definition).await?;
    if left > 0 {
        let message = "CustomResource deletion is in progress";
        if let Some(list) = told("InstanceDeletionInProgress", true, message) {
            let change = |d: &mut Value| d["status"]["conditions"] = list.clone().into();
            write(api, name, Part::Status, change, definition).await?;
        }
        return Ok(false);
    }
    write(
        api,
        name,
        Part::Main,
        |d| {
            let rest: Vec<Value> =
                d.finalizers().into_iter().filter(|f| *f != CLEANUP).map(Into::into).collect();
            if rest.is_empty() {
                d.metadata_mut().remove("finalizers");
            } else {
                d.set_meta("finalizers", rest);
            }
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
    api.cache.fresh().await.map_err(store_failed)?;
    let table = api.table();
    let Some(kind) = table.kinds().iter().find(|k| k.group == group && k.plural == plural && k.is_custom())
    else {
        return drop_unserved(api, &prefix_of(definition)).await;
    };
    let ctx = internal(api, (group, &kind.version, plural), None, None)?;
    for object in ctx.resource.snapshot().objects.scan(&Scope::All, None) {
        // Its deletion has begun; what is left is for its finalizers' owners to do.
        if read(object).is_some_and(|object| object.is_deleting()) {
            continue;
        }
        let namespace = kind.namespaced.then(|| object.namespace().to_owned());
        let one: Ctx = ctx.in_namespace(namespace);
        match delete_object(&one, object.name(), &DeleteOptions::default()).await {
            Err(status) if status.reason != "NotFound" => return Err(status),
            _ => {}
        }
    }
    api.cache.fresh().await.map_err(store_failed)?;
    Ok(ctx.resource.snapshot().objects.len())
}

/// Removes objects that no version serves, so that nobody could take off their finalizers either.
async fn drop_unserved(api: &Arc<Api>, prefix: &str) -> Result<usize, Status> {
    let found = api.store.load(prefix, None).await.map_err(store_failed)?;
    for item in found.items {
        api.store.commit(vec![Op::delete(item.key, item.revision)]).await.map_err(store_failed)?;
    }
    Ok(0)
}
