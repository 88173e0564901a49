//! Custom kinds at run time: they enter and leave the table as their definitions come and go.
//!
//! Invariant: the table is a function of the definitions in the watch cache, so that all servers on one store
//! serve the same; whoever needs it makes it when it is behind. Counterpart: upstream's `crdHandler`. The
//! definitions themselves are looked after by [`crate::controllers`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use api::{conditions, object::ObjectExt as _, status::Status};
use kinds::{
    custom::kind,
    kind::{Kind, storage_prefix},
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    Api,
    forms::value,
    registry::{Registry, Table, resource_spec},
    request::ResourcePath,
    resources::CUSTOM_RESOURCE_DEFINITIONS,
    watch_cache::{Resource, Scope, WatchCache},
};

/// What the custom kinds of the table were made from.
pub struct Definitions {
    resource: Option<Arc<Resource>>,
    /// The revision of the last change of a definition that the table shows.
    shown: AtomicU64,
    made: Mutex<HashMap<String, Made>>,
}

/// The rows of a definition.
struct Made {
    /// What of the definition its objects depend on, and whether it is being deleted: they are made again when that
    /// changes.
    source: (Value, bool),
    rows: Vec<Arc<Kind>>,
}

impl Definitions {
    /// Nothing made yet.
    pub fn new(cache: &WatchCache) -> Self {
        Self {
            resource: cache.resource(CUSTOM_RESOURCE_DEFINITIONS.prefix),
            shown: AtomicU64::new(0),
            made: Mutex::default(),
        }
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
            let Some(definition) = value(object).ok().filter(|d| conditions::holds(d, "Established")) else {
                continue;
            };
            let (group, plural) = resource_of(&definition);
            if registry.is_builtin(group, plural) {
                // What a built-in kind is called stays that kind's.
                continue;
            }
            let source = source(&definition);
            let made = match made.remove(object.name()) {
                Some(known) if known.source == source => known,
                known => {
                    let rows: Vec<_> = kind::rows(&definition).into_iter().map(Arc::new).collect();
                    // Who watches is told of what goes while a definition is being deleted.
                    if known.is_none_or(|known| known.source.0 != source.0) {
                        keep(cache, &prefix_of(&definition), &rows);
                    }
                    Made { source, rows }
                }
            };
            present.insert(object.name().to_owned(), made);
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
pub(crate) fn resource_of(definition: &Value) -> (&str, &str) {
    (definition.str_at(&["spec", "group"]), definition.str_at(&["status", "acceptedNames", "plural"]))
}

/// The prefix of a definition's objects.
pub(crate) fn prefix_of(definition: &Value) -> String {
    let (group, plural) = resource_of(definition);
    storage_prefix(group, plural)
}

/// Has the cache keep a definition's objects as its rows say.
fn keep(cache: &WatchCache, prefix: &str, rows: &[Arc<Kind>]) {
    if rows.is_empty() {
        return;
    }
    let spec = resource_spec(rows);
    if cache.resource(prefix).is_some() { cache.replace(spec) } else { drop(cache.add(spec)) }
}

/// What of a definition its rows depend on; its objects only on the first of the two.
fn source(definition: &Value) -> (Value, bool) {
    let names = definition.at(&["status", "acceptedNames"]).cloned().unwrap_or_default();
    let shape = vec![definition.uid().into(), definition.get("spec").cloned().unwrap_or_default(), names];
    (Value::from(shape), conditions::holds(definition, "Terminating"))
}

/// The kind of a path and the table it is in, if the server knows it already.
pub fn find(api: &Arc<Api>, path: &ResourcePath) -> Option<(Arc<Table>, Arc<Kind>)> {
    let table = api.table();
    let kind = table.find(&path.group, &path.version, &path.resource).cloned()?;
    Some((table, kind))
}

/// The same, after the definitions were brought up to what the store has. Only then may it be said that there is no
/// such kind.
///
/// # Errors
/// When the store does not answer: nobody may take that for a kind that is gone.
pub async fn find_fresh(
    api: &Arc<Api>,
    path: &ResourcePath,
) -> Result<Option<(Arc<Table>, Arc<Kind>)>, Status> {
    api.cache.fresh().await?;
    Ok(find(api, path))
}
