//! The entries of `metadata.managedFields`.

use std::collections::{HashMap, hash_map::Entry};

use api::object::ObjectExt as _;
use serde_json::{Map, Value};

use super::set::Set;

/// So many managers that update are told apart; older ones are put together.
const MAX_UPDATERS: usize = 10;
/// The manager that holds what older updaters owned.
const ANCIENT: &str = "ancient-changes";

/// How a manager writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// A manager and what it owns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: Set,
}

impl Manager {
    /// One who applies stays the same in another version; one who updates does not.
    pub(super) fn is_same(&self, other: &Manager) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflict messages name it.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// All managers of an object.
#[derive(Debug, Default)]
pub(super) struct Managers(Vec<Manager>);

impl Managers {
    /// Reads `metadata.managedFields`; `None` when it makes no sense.
    pub(super) fn decode(value: &Value) -> Option<Managers> {
        let mut managers = Managers::default();
        let mut places = HashMap::new();
        for entry in value.as_array()? {
            let entry = entry.as_object()?;
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("");
            if text("fieldsType") != "FieldsV1" || text("apiVersion").is_empty() {
                return None;
            }
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let empty = Value::Object(Map::new());
            let fields = entry.get("fieldsV1").filter(|f| !f.is_null()).unwrap_or(&empty);
            let manager = Manager {
                name: text("manager").to_owned(),
                operation,
                api_version: text("apiVersion").to_owned(),
                subresource: text("subresource").to_owned(),
                time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
                fields: Set::decode(fields)?,
            };
            // Of several entries of one manager the last counts.
            let version = if operation == Operation::Apply { "" } else { text("apiVersion") };
            match places.entry([text("manager"), text("operation"), text("subresource"), version]) {
                Entry::Occupied(place) => managers.0[*place.get()] = manager,
                Entry::Vacant(place) => {
                    place.insert(managers.0.len());
                    managers.0.push(manager);
                }
            }
        }
        Some(managers)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Manager> {
        self.0.iter()
    }

    /// Lets `visit` change every entry and drop it.
    pub(super) fn retain(&mut self, visit: impl FnMut(&mut Manager) -> bool) {
        self.0.retain_mut(visit);
    }

    /// The entry of a manager, made when missing.
    pub(super) fn entry(&mut self, manager: Manager) -> &mut Manager {
        let place = self.0.iter().position(|m| m.is_same(&manager)).unwrap_or_else(|| {
            self.0.push(manager);
            self.0.len() - 1
        });
        &mut self.0[place]
    }

    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|m| !m.fields.is_empty());
    }

    /// Puts the oldest updaters together, by version, while there are too many.
    pub(super) fn cap_updaters(&mut self) {
        let mut updaters: Vec<usize> =
            (0..self.0.len()).filter(|i| self.0[*i].operation == Operation::Update).collect();
        if updaters.len() <= MAX_UPDATERS {
            return;
        }
        updaters.sort_by(|a, b| {
            let key = |i: &usize| (self.0[*i].time.clone().unwrap_or_default(), self.0[*i].name.clone());
            key(a).cmp(&key(b))
        });
        let mut excess = updaters.len() - MAX_UPDATERS;
        // Version → the entry that older ones of the version go into.
        let mut buckets: HashMap<String, usize> = HashMap::new();
        for i in updaters {
            if excess == 0 {
                break;
            }
            match buckets.get(&self.0[i].api_version) {
                None => drop(buckets.insert(self.0[i].api_version.clone(), i)),
                Some(&bucket) => {
                    let fields = std::mem::take(&mut self.0[i].fields);
                    let time = self.0[i].time.take();
                    let bucket = &mut self.0[bucket];
                    ANCIENT.clone_into(&mut bucket.name);
                    bucket.subresource.clear();
                    bucket.fields.union(fields);
                    bucket.time = time;
                    excess -= 1;
                }
            }
        }
        self.drop_empty();
    }

    /// The entries as they are written: those that apply first, then by time and name.
    pub(super) fn encode(mut self) -> Value {
        self.0.sort_by(|a, b| {
            let key = |m: &Manager| {
                (m.operation, m.time.clone(), m.name.clone(), m.api_version.clone(), m.subresource.clone())
            };
            key(a).cmp(&key(b))
        });
        let entry = |m: Manager| {
            let mut map = Map::new();
            let mut put = |name: &str, value: Value| drop(map.insert(name.to_owned(), value));
            put("apiVersion", m.api_version.into());
            put("fieldsType", "FieldsV1".into());
            put("fieldsV1", m.fields.encode());
            put("manager", m.name.into());
            put("operation", m.operation.name().into());
            if !m.subresource.is_empty() {
                put("subresource", m.subresource.into());
            }
            if let Some(time) = m.time {
                put("time", time.into());
            }
            Value::Object(map)
        };
        Value::Array(self.0.into_iter().map(entry).collect())
    }
}

/// Writes the entries into an object; none at all is no field.
pub(super) fn set_managed(object: &mut Value, managed: Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else { return };
    if managed.as_array().is_none_or(Vec::is_empty) {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), managed);
    }
}

/// Whether what an object says of its managers makes sense.
pub fn has_sound_managers(object: &Value) -> bool {
    object.metadata().and_then(|m| m.get("managedFields")).is_none_or(|m| Managers::decode(m).is_some())
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
    let same_but = |name: &str, a: &Map<String, Value>, b: &Map<String, Value>| {
        a.len() == b.len() && a.iter().all(|(k, v)| k == name || b.get(k) == Some(v))
    };
    let entries = |m: &'_ Map<String, Value>| -> Vec<Value> {
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
