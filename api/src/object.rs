//! Views of an object that is a JSON value: its metadata and its type, whatever its kind.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The moment that Go has where there is none, as it is written; [`is_zero_time`] knows it when it is read.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Whether a moment is the one that stands for none.
pub fn is_zero_time(moment: Timestamp) -> bool {
    const SECONDS: i64 = -62_135_596_800;
    moment == Timestamp::constant(SECONDS, 0)
}

/// Read access to the metadata of a JSON object. Missing or wrongly typed fields read as empty.
pub trait ObjectExt {
    /// `metadata`, if it is an object.
    fn metadata(&self) -> Option<&Map<String, Value>>;
    /// `metadata`, made if missing.
    fn metadata_mut(&mut self) -> &mut Map<String, Value>;
    /// A string field of `metadata`.
    fn meta_str(&self, field: &str) -> &str;
    /// The string at `path`, "" when there is none.
    fn str_at(&self, path: &[&str]) -> &str;
    /// The value at `path`.
    fn at(&self, path: &[&str]) -> Option<&Value>;
    /// The list at `path`, empty when there is none.
    fn list_at(&self, path: &[&str]) -> &[Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.meta_str("name")
    }
    /// `metadata.namespace`.
    fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }
    /// What tells the object from others of its resource: `namespace/name`, or `name`.
    fn key(&self) -> String {
        match self.namespace() {
            "" => self.name().to_owned(),
            namespace => format!("{namespace}/{}", self.name()),
        }
    }
    /// `metadata.uid`.
    fn uid(&self) -> &str {
        self.meta_str("uid")
    }
    /// `metadata.resourceVersion`.
    fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }
    /// `metadata.generation`, 0 when missing.
    fn generation(&self) -> i64 {
        self.metadata().and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or(0)
    }
    /// True once a deletion has begun.
    fn is_deleting(&self) -> bool {
        !self.meta_str("deletionTimestamp").is_empty()
    }
    /// `metadata.finalizers`.
    fn finalizers(&self) -> Vec<&str> {
        self.metadata()
            .and_then(|m| m.get("finalizers"))
            .and_then(Value::as_array)
            .map(|a| a.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }
    /// Sets `metadata.finalizers`; none at all is no field.
    fn set_finalizers(&mut self, finalizers: Vec<String>)
    where
        Self: Sized,
    {
        if finalizers.is_empty() {
            self.metadata_mut().remove("finalizers");
        } else {
            self.set_meta("finalizers", finalizers);
        }
    }
    /// Sets a field of `metadata`.
    fn set_meta(&mut self, field: &str, value: impl Into<Value>)
    where
        Self: Sized,
    {
        self.metadata_mut().insert(field.to_owned(), value.into());
    }
}

impl ObjectExt for Value {
    fn metadata(&self) -> Option<&Map<String, Value>> {
        self.get("metadata").and_then(Value::as_object)
    }

    fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        if !self.is_object() {
            *self = json!({});
        }
        let Value::Object(map) = self else { unreachable!("made an object above") };
        let meta = map.entry("metadata").or_insert_with(|| json!({}));
        if !meta.is_object() {
            *meta = json!({});
        }
        match meta {
            Value::Object(m) => m,
            _ => unreachable!("made an object above"),
        }
    }

    fn meta_str(&self, field: &str) -> &str {
        self.metadata().and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or("")
    }

    fn str_at(&self, path: &[&str]) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or("")
    }

    fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |v, p| v.get(p))
    }
}

/// `v1` or `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The kind that an object says it is of, as Go prints it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`.
pub fn named(object: &Value) -> String {
    let (version, kind) = (object.str_at(&["apiVersion"]), object.str_at(&["kind"]));
    let slash = if version.contains('/') { "" } else { "/" };
    format!("{slash}{version}, Kind={kind}")
}
