//! Server-side apply and the bookkeeping of who manages which field (`metadata.managedFields`).
//!
//! Each manager owns a set of fields. Applying a configuration merges it into the object, takes away what the
//! manager applied before and nobody owns now, and is refused where it changes what others own. Ordinary
//! writes own what they change. Counterpart of upstream's `apimachinery/pkg/util/managedfields` and
//! structured-merge-diff.

mod changes;
mod client_side;
mod compare;
mod managers;
mod merge;
mod refusal;
mod set;
mod shape;
mod skeleton;
#[cfg(test)]
mod tests;
mod track;
mod unmanaged;
mod words;

use std::collections::{BTreeMap, HashSet};

use api::{Message, message, object::ObjectExt as _};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    kind::version::Versions,
    schema::{TypeRef, Types},
};
use changes::Changes;
use managers::{Manager, Managers, Operation, set_managed};
pub use managers::{has_sound_managers, keep_times, without_managers};
pub use refusal::{Conflict, Refusal};
use set::Set;
pub use track::track_update;

/// The manager that owns what was there before anything was applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, and how.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// The manager's name; "" is recorded as `unknown`.
    pub manager: &'a str,
    /// Apply: take over what others own.
    pub force: bool,
    /// The subresource written through, "" for the object itself.
    pub subresource: &'a str,
    /// The fields of the metadata that cannot be written through `status`.
    pub status_leaves: &'a [&'static str],
    /// The version of the object as it is written.
    pub api_version: String,
    /// The time of the write.
    pub now: Timestamp,
}

impl Options<'_> {
    fn manager(&self, operation: Operation) -> Manager {
        Manager {
            name: if self.manager.is_empty() { "unknown" } else { self.manager }.to_owned(),
            operation,
            api_version: self.api_version.clone(),
            subresource: self.subresource.to_owned(),
            time: None,
            fields: Set::default(),
        }
    }

    /// Notes that a manager has written now. What is written through a scale is timed by the scale, and the object's
    /// entry stays as it was.
    fn stamp(&self, manager: &mut Manager) {
        if self.subresource != "scale" {
            let time = Timestamp::from_second(self.now.as_second()).unwrap_or(self.now);
            manager.time = Some(time.to_string());
        }
    }
}

/// The object after `config` was applied to `live`, with its managers.
///
/// # Errors
/// Conflicts with other managers unless forced; a configuration that does not fit the type.
pub fn apply(
    versions: Versions<'_>,
    live: Option<&Value>,
    config: &Value,
    options: &Options<'_>,
) -> Result<Value, Refusal> {
    let Versions { types, root, .. } = versions;
    let mut config = config.clone();
    crate::json::drop_empty_fractions(&mut config);
    merge::check(types, root, &config).map_err(|errors| Refusal::of_config(&config, &errors))?;
    let attempt = |force| merge_into(versions, live, &config, options, force);
    let mut result = match attempt(options.force) {
        // What client-side apply owned goes over to kubectl's server-side apply without a conflict.
        Err(Refusal::Conflicts(conflicts)) if options.manager == "kubectl" => {
            let allowed: HashSet<String> = live
                .map(|live| client_side::applied_by_client(versions, live).into_iter().collect())
                .unwrap_or_default();
            let rest: Vec<Conflict> = conflicts.into_iter().filter(|c| !allowed.contains(&c.field)).collect();
            if !rest.is_empty() {
                return Err(Refusal::Conflicts(rest));
            }
            attempt(true)?
        }
        other => other?,
    };
    if options.manager == "kubectl" && client_side::last_applied(&result).is_some() {
        client_side::record_last_applied(&mut result, &config);
    }
    Ok(result)
}

/// The object with what a mutation says laid over it: nobody owns that.
///
/// # Errors
/// When it does not fit the type, or replaces what is only taken as a whole.
pub fn overlay(types: &Types, root: TypeRef, live: &Value, config: &Value) -> Result<Value, Message> {
    merge::check(types, root, config).map_err(|errors| {
        let all = match &errors[..] {
            [one] => one.clone(),
            several => format!("errors:\n  {}", several.join("\n  ")),
        };
        format!("failed to convert patch object to typed object: {all}")
    })?;
    let mut whole = Vec::new();
    merge::atomics(types, root, config, &mut String::new(), &mut whole);
    if whole.is_empty() {
        return Ok(merge::merge(types, root, live, config));
    }
    Err(message!(
        "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
        whole.join(", ")
    ))
}

fn merge_into(
    versions: Versions<'_>,
    live: Option<&Value>,
    config: &Value,
    options: &Options<'_>,
    force: bool,
) -> Result<Value, Refusal> {
    let Versions { types, root, .. } = versions;
    let mut managers = live.map(|live| managers_of(versions, live, options)).unwrap_or_default();
    let mut live = live.cloned().unwrap_or_else(|| json!({}));
    set_managed(&mut live, Value::Null);
    let mut wanted = merge::field_set(types, root, config);
    unmanaged::drop_reset(&mut wanted, options);
    let identity = options.manager(Operation::Apply);
    let me = managers.entry(identity.clone());
    let before = std::mem::replace(&mut me.fields, wanted);
    let version_before = std::mem::replace(&mut me.api_version, options.api_version.clone());
    let mut owned: BTreeMap<&str, Set> = BTreeMap::new();
    for manager in managers.iter() {
        owned.entry(&manager.api_version).or_default().union(manager.fields.clone());
    }
    let merged = merge::merge(types, root, &live, config);
    let merged = merge::prune(versions, merged, &version_before, &before, owned);

    let mut changes = Changes::new(versions, Some(&live), &merged, options);
    let conflicts = take_from_others(&mut managers, &identity, &mut changes);
    if !force && !conflicts.is_empty() {
        return Err(Refusal::Conflicts(conflicts));
    }
    let unchanged = changes.is_empty() && merged == live;
    let me = managers.entry(identity);
    unmanaged::strip(&mut me.fields);
    if !unchanged {
        options.stamp(me);
    }
    managers.drop_empty();
    let mut result = if unchanged { live } else { merged };
    set_managed(&mut result, managers.encode());
    Ok(result)
}

/// The managers of an object; one of its own for what was there before anybody applied anything.
fn managers_of(versions: Versions<'_>, live: &Value, options: &Options<'_>) -> Managers {
    let managed = live.metadata().and_then(|m| m.get("managedFields")).unwrap_or(&Value::Null);
    let mut managers = Managers::decode(managed).unwrap_or_default();
    if managers.is_empty() {
        let mut live = live.clone();
        set_managed(&mut live, Value::Null);
        let first = Options { manager: BEFORE_FIRST_APPLY, ..options.clone() };
        let entry = managers.entry(first.manager(Operation::Update));
        entry.fields = Changes::new(versions, None, &live, options).changed;
        options.stamp(entry);
    }
    managers
}

/// Takes from all others what a write changes or removes. The changes of what they owned are conflicts.
fn take_from_others(managers: &mut Managers, me: &Manager, changes: &mut Changes<'_>) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    managers.retain(|other| {
        if other.is_same(me) {
            return true;
        }
        let Some((changed, removed)) = changes.at(&other.api_version) else { return false };
        let taken = other.fields.intersection(changed);
        if !taken.is_empty() {
            let manager = other.describe();
            conflicts
                .extend(taken.paths().into_iter().map(|field| Conflict { manager: manager.clone(), field }));
            other.fields.subtract(&taken);
        }
        other.fields.subtract(removed);
        true
    });
    conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
    conflicts
}
