//! Server-side apply and the bookkeeping of who manages which field (`metadata.managedFields`).
//!
//! Each manager owns a set of fields. Applying a configuration merges it into the object, takes away what the
//! manager applied before and nobody owns now, and is refused where it changes what others own. Ordinary
//! writes own what they change. Counterpart of upstream's `apimachinery/pkg/util/managedfields` and
//! structured-merge-diff.

mod compare;
mod managers;
mod merge;
mod set;
mod skeleton;

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    object::ObjectExt,
    schema::{Node, TypeRef, Types},
    status::{Cause, Details, Status},
    version::Versions,
};
use compare::{Comparison, compare};
use managers::{Manager, Managers, Operation};
use set::Set;

/// The annotation in which client-side `kubectl apply` keeps what it applied last.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Annotations may not grow beyond this.
const MAX_ANNOTATIONS: usize = 256 * 1024;
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

    fn time(&self) -> String {
        Timestamp::from_second(self.now.as_second()).unwrap_or(self.now).to_string()
    }
}

/// Why a configuration cannot be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// It changes fields that others own.
    Conflicts(Vec<Conflict>),
    /// It does not fit the type.
    Config(String),
}

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The other manager, as messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The field, e.g. `.spec.replicas`.
    pub field: String,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let conflicts = match refusal {
            Refusal::Config(text) => return Status::failure(500, "", text),
            Refusal::Conflicts(conflicts) => conflicts,
        };
        let message = match conflicts.as_slice() {
            [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field),
            many => {
                let mut text = format!("Apply failed with {} conflicts: ", many.len());
                let mut last = "";
                for conflict in many {
                    if conflict.manager != last {
                        let newline = if last.is_empty() { "" } else { "\n" };
                        let _infallible = write!(text, "{newline}conflicts with {}:", conflict.manager);
                        last = &conflict.manager;
                    }
                    let _infallible = write!(text, "\n- {}", conflict.field);
                }
                text
            }
        };
        let mut status = Status::failure(409, "Conflict", message);
        let cause = |c: Conflict| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {}", c.manager),
            field: c.field,
        };
        status.details =
            Some(Details { causes: conflicts.into_iter().map(cause).collect(), ..Details::default() });
        status
    }
}

/// Records in `new` who manages what after an ordinary create (`old` is `None`) or update.
pub fn track_update(
    versions: Versions<'_>,
    old: Option<&Value>,
    mut new: Value,
    options: &Options<'_>,
) -> Value {
    let Versions { types, root, .. } = versions;
    let sent =
        new.as_object_mut().and_then(|o| o.get_mut("metadata")?.as_object_mut()?.remove("managedFields"));
    let live = old.and_then(|o| o.metadata()?.get("managedFields"));
    let reset = |sent: &Value| {
        sent.as_array().is_some_and(|a| matches!(a.as_slice(), [Value::Object(o)] if o.is_empty()))
    };
    let managed = match sent {
        Some(sent) if options.subresource.is_empty() && reset(&sent) => Value::Null,
        // A client that does not know managedFields does not lose them.
        Some(sent)
            if options.subresource.is_empty() && Managers::decode(&sent).is_some_and(|m| !m.is_empty()) =>
        {
            sent
        }
        _ => live.cloned().unwrap_or(Value::Null),
    };
    if old.is_some() && managed.as_array().is_none_or(Vec::is_empty) {
        return new;
    }
    let Comparison { added: mut changed, mut removed, modified } = match old {
        Some(old) => compare(types, root, old, &new),
        None => compare(types, root, &skeleton::of(types, root), &new),
    };
    changed.union(modified);
    drop_reset(&mut changed, options);
    drop_reset(&mut removed, options);
    if changed.is_empty() && removed.is_empty() {
        set_managed(&mut new, managed);
        return new;
    }
    let mut managers = Managers::decode(&managed).unwrap_or_default();
    let empty = Value::Null;
    let mut changes = Changes::new(versions, old.unwrap_or(&empty), &new, options, &changed, &removed);
    managers.retain(|other| {
        let Some((changed, removed)) = changes.at(&other.api_version) else { return false };
        other.fields.subtract(changed);
        other.fields.subtract(removed);
        true
    });
    if !changed.is_empty() {
        let me = managers.entry(options.manager(Operation::Update));
        me.fields.union(changed);
        me.time = Some(options.time());
    }
    managers.drop_empty();
    managers.cap_updaters();
    set_managed(&mut new, managers.encode());
    new
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
    merge::check(types, root, config).map_err(|errors| Refusal::Config(not_typed(config, &errors)))?;
    let given = config;
    let mut config = given.clone();
    types.canonical_scalars(&mut config, root);
    let attempt = |force| merge_into(versions, live, &config, options, force);
    let mut result = match attempt(options.force) {
        // What client-side apply owned goes over to kubectl's server-side apply without a conflict.
        Err(Refusal::Conflicts(conflicts)) if options.manager == "kubectl" => {
            let allowed = live.map(|live| applied_by_client(types, root, live)).unwrap_or_default();
            let rest: Vec<Conflict> = conflicts.into_iter().filter(|c| !allowed.contains(&c.field)).collect();
            if !rest.is_empty() {
                return Err(Refusal::Conflicts(rest));
            }
            attempt(true)?
        }
        other => other?,
    };
    if options.manager == "kubectl" && live.is_some_and(|l| last_applied(l).is_some()) {
        record_last_applied(&mut result, given);
    }
    Ok(result)
}

fn merge_into(
    versions: Versions<'_>,
    live: Option<&Value>,
    config: &Value,
    options: &Options<'_>,
    force: bool,
) -> Result<Value, Refusal> {
    let Versions { types, root, .. } = versions;
    let empty = Value::Object(serde_json::Map::new());
    let managed = live.and_then(|l| l.metadata()?.get("managedFields")).unwrap_or(&Value::Null);
    let mut managers = Managers::decode(managed).unwrap_or_default();
    let mut live_object = live.cloned().unwrap_or_else(|| empty.clone());
    set_managed(&mut live_object, Value::Null);
    if managers.is_empty() && live.is_some() {
        let Comparison { added: mut all, modified, .. } =
            compare(types, root, &skeleton::of(types, root), &live_object);
        all.union(modified);
        drop_reset(&mut all, options);
        let first = Options { manager: BEFORE_FIRST_APPLY, ..options.clone() };
        let entry = managers.entry(first.manager(Operation::Update));
        entry.fields = all;
        entry.time = Some(options.time());
    }

    let mut merged = merge::merge(types, root, &live_object, config);
    let mut wanted = merge::field_set(types, root, config);
    drop_reset(&mut wanted, options);
    let me = managers.entry(options.manager(Operation::Apply));
    let before = std::mem::replace(&mut me.fields, wanted);
    let version_before = std::mem::replace(&mut me.api_version, options.api_version.clone());
    let mut owned: BTreeMap<&str, Set> = BTreeMap::new();
    for manager in managers.iter() {
        owned.entry(&manager.api_version).or_default().union(manager.fields.clone());
    }
    merged = merge::prune(versions, merged, &version_before, &before, owned);

    let Comparison { added: mut changed, mut removed, modified } =
        compare(types, root, &live_object, &merged);
    changed.union(modified);
    drop_reset(&mut changed, options);
    drop_reset(&mut removed, options);
    let identity = options.manager(Operation::Apply);
    let mut conflicts = Vec::new();
    let mut changes = Changes::new(versions, &live_object, &merged, options, &changed, &removed);
    managers.retain(|other| {
        if other.is_same(&identity) {
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
    if !force && !conflicts.is_empty() {
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        return Err(Refusal::Conflicts(conflicts));
    }
    let unchanged = changed.is_empty() && removed.is_empty() && merged == live_object;
    let me = managers.entry(identity);
    strip(&mut me.fields);
    if !unchanged {
        me.time = Some(options.time());
    }
    managers.drop_empty();
    let mut result = if unchanged { live_object } else { merged };
    set_managed(&mut result, managers.encode());
    Ok(result)
}

/// What a write changes and removes, as each version names it.
struct Changes<'a> {
    versions: Versions<'a>,
    old: &'a Value,
    new: &'a Value,
    options: &'a Options<'a>,
    own: (&'a Set, &'a Set),
    /// Other versions that were asked about; `None` for those that are not served.
    others: HashMap<String, Option<(Set, Set)>>,
}

impl<'a> Changes<'a> {
    fn new(
        versions: Versions<'a>,
        old: &'a Value,
        new: &'a Value,
        options: &'a Options<'a>,
        changed: &'a Set,
        removed: &'a Set,
    ) -> Self {
        Self { versions, old, new, options, own: (changed, removed), others: HashMap::new() }
    }

    /// The fields changed and removed in a version; `None` when it is not served.
    fn at(&mut self, version: &str) -> Option<(&Set, &Set)> {
        if version == self.options.api_version {
            return Some(self.own);
        }
        if !self.others.contains_key(version) {
            let found = self.compare_at(version);
            self.others.insert(version.to_owned(), found);
        }
        self.others.get(version)?.as_ref().map(|(changed, removed)| (changed, removed))
    }

    fn compare_at(&self, version: &str) -> Option<(Set, Set)> {
        let (types, root) = self.versions.object_type(version)?;
        let seen = |object| self.versions.convert(object, self.versions.own, version);
        let Comparison { added: mut changed, mut removed, modified } =
            compare(types, root, seen(self.old)?.as_ref(), seen(self.new)?.as_ref());
        changed.union(modified);
        drop_reset(&mut changed, self.options);
        drop_reset(&mut removed, self.options);
        Some((changed, removed))
    }
}

/// Lets `look` see an object without its `managedFields`: the rules of kinds say nothing about them, and reading
/// them takes as long as reading all the rest.
pub fn without_managers<T>(object: &mut Value, look: impl FnOnce(&mut Value) -> T) -> T {
    let managed = object.metadata_mut().remove("managedFields");
    let seen = look(object);
    if let Some(managed) = managed {
        object.set_meta("managedFields", managed);
    }
    seen
}

/// Takes back new times of entries when nothing but they would change.
pub fn keep_times(old: &Value, new: &mut Value) {
    let (Some(old_object), Some(new_object)) = (old.as_object(), new.as_object()) else { return };
    let (Some(before), Some(after)) = (old.metadata(), new.metadata()) else { return };
    let same_but = |name: &str, a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
        a.len() == b.len() && a.iter().all(|(k, v)| k == name || b.get(k) == Some(v))
    };
    let entries = |m: &'_ serde_json::Map<String, Value>| -> Vec<Value> {
        let mut entries = m.get("managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
            entry.remove("time");
        }
        entries
    };
    if same_but("metadata", old_object, new_object)
        && same_but("managedFields", before, after)
        && entries(before) == entries(after)
    {
        let managed = before.get("managedFields").cloned().unwrap_or(Value::Null);
        set_managed(new, managed);
    }
}

fn set_managed(object: &mut Value, managed: Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    if managed.as_array().is_none_or(Vec::is_empty) {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), managed);
    }
}

/// Nobody manages what identifies the object or is the system's.
fn strip(set: &mut Set) {
    const SYSTEM: [&str; 8] = [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    ];
    set.remove(&["f:apiVersion"]);
    set.remove(&["f:kind"]);
    set.remove(&["f:metadata"]);
    for field in SYSTEM {
        set.remove(&["f:metadata", field]);
    }
}

/// Nobody manages through one part of an object what belongs to another part.
fn drop_reset(set: &mut Set, options: &Options<'_>) {
    match options.subresource {
        "" => set.remove_below(&["f:status"]),
        "status" => {
            set.keep_below(&["f:status", "f:metadata"]);
            for field in options.status_leaves {
                set.remove_below(&["f:metadata", &format!("f:{field}")]);
            }
        }
        _ => {}
    }
}

fn not_typed(config: &Value, errors: &[String]) -> String {
    let kind = crate::version::named(config);
    let what = match errors {
        [one] => one.clone(),
        many => format!("errors:\n{}", many.iter().map(|e| format!("  {e}\n")).collect::<String>()),
    };
    format!("failed to create typed patch object ({}/{}; {kind}): {what}", config.namespace(), config.name())
}

fn last_applied(live: &Value) -> Option<&str> {
    live.metadata()?.get("annotations")?.get(LAST_APPLIED)?.as_str()
}

/// The fields that client-side apply set and that still have the values it gave them.
fn applied_by_client(types: &Types, root: TypeRef, live: &Value) -> Vec<String> {
    let Some(applied) = last_applied(live).and_then(|text| crate::json::parse(text.as_bytes()).ok()) else {
        return Vec::new();
    };
    let mut applied = applied;
    types.canonical_scalars(&mut applied, root);
    let mut fields = merge::field_set(types, root, &applied);
    let Comparison { modified, added, .. } = compare(types, root, live, &applied);
    fields.subtract(&modified);
    fields.subtract(&added);
    fields.paths()
}

/// Keeps the annotation of client-side apply up to date.
fn record_last_applied(object: &mut Value, config: &Value) {
    let mut applied = config.clone();
    if let Some(metadata) = applied.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    let text = format!("{applied}\n");
    if let Some(Value::Object(annotations)) = object.metadata_mut().get_mut("annotations") {
        if text.len() > MAX_ANNOTATIONS {
            annotations.remove(LAST_APPLIED);
        } else {
            annotations.insert(LAST_APPLIED.into(), text.into());
        }
    }
}

/// How a value of a type is owned.
enum Shape<'a> {
    /// As a whole.
    Leaf,
    /// Member by member.
    Members(Option<&'a Node>),
    /// Item by item.
    Items(TypeRef, &'a crate::schema::ListKind),
}

/// `ty` is `None` below values of which nothing is known.
fn shape<'a>(types: &'a Types, ty: Option<TypeRef>, values: [Option<&Value>; 2]) -> Shape<'a> {
    use crate::schema::ListKind;
    let all = |is: fn(&Value) -> bool| values.iter().flatten().all(|v| v.is_null() || is(v));
    let node = ty.map(|ty| types.node(ty));
    match node {
        None | Some(Node::Any) => {
            let some = values.iter().flatten().any(|v| v.is_object());
            if some && all(Value::is_object) { Shape::Members(None) } else { Shape::Leaf }
        }
        Some(Node::Scalar(_)) => Shape::Leaf,
        Some(Node::Object(o)) if o.atomic || !all(Value::is_object) => Shape::Leaf,
        Some(Node::Map { atomic, .. }) if *atomic || !all(Value::is_object) => Shape::Leaf,
        Some(Node::Object(_) | Node::Map { .. }) => Shape::Members(node),
        Some(Node::List { kind: ListKind::Atomic, .. }) => Shape::Leaf,
        Some(Node::List { item, kind }) => {
            let fits =
                |v: &&Value| v.as_array().into_iter().flatten().all(|i| set::item_element(kind, i).is_some());
            if all(Value::is_array) && values.iter().flatten().all(fits) {
                Shape::Items(*item, kind)
            } else {
                Shape::Leaf
            }
        }
    }
}

/// The type of a member, when the shape knows it; whether it is a field by name (not a map entry).
fn member(node: Option<&Node>, name: &str) -> (Option<TypeRef>, bool) {
    match node {
        Some(Node::Object(o)) => {
            let field = o.fields.get(name);
            (field.map(|f| f.ty), field.is_some())
        }
        Some(Node::Map { value, .. }) => (Some(*value), false),
        _ => (None, false),
    }
}

#[cfg(test)]
mod tests;
