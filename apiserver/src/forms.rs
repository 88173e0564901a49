//! The forms of an object: the bytes that the store keeps, those that lie in the cache, and a version that is shown.

use api::{object::ObjectExt as _, status::Status};
use bytes::Bytes;
use kinds::{
    json::{MAX_DEPTH, is_within},
    kind::Kind,
};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value};

use crate::{store::Revision, watch_cache::CachedObject};

/// The bytes that are stored for an object: its stored form, without its resource version, which the store keeps.
///
/// # Errors
/// 400 when it is nested so deep that it could not be read again; 500 when it cannot be written.
pub fn stored(kind: &Kind, object: &Value) -> Result<Vec<u8>, Status> {
    if !is_within(MAX_DEPTH, object) {
        return Err(Status::bad_request(format!("the object is nested deeper than {MAX_DEPTH} levels")));
    }
    let converted;
    let object = if kind.is_stored_form() {
        object
    } else {
        converted = kind.stored_form(object.clone());
        &converted
    };
    serde_json::to_vec(&Unversioned(object)).map_err(Status::internal)
}

/// An object, written without its resource version.
struct Unversioned<'a>(&'a Value);

impl Serialize for Unversioned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.0.as_object() else { return self.0.serialize(serializer) };
        let mut object = serializer.serialize_map(None)?;
        for (name, value) in fields {
            match value.as_object() {
                Some(metadata) if name == "metadata" => object.serialize_entry(name, &Metadata(metadata))?,
                _ => object.serialize_entry(name, value)?,
            }
        }
        object.end()
    }
}

struct Metadata<'a>(&'a Map<String, Value>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(name, _)| *name != "resourceVersion"))
    }
}

/// An object as it lies in the cache.
///
/// # Errors
/// 500 when it cannot be read.
pub fn value(object: &CachedObject) -> Result<Value, Status> {
    serde_json::from_slice(&object.json()).map_err(Status::internal)
}

/// A cached object in a version of its resource.
///
/// # Errors
/// 500 when it cannot be read.
pub fn shown_value(kind: &Kind, object: &CachedObject) -> Result<Value, Status> {
    let value = serde_json::from_slice(&object.json()).map_err(Status::internal)?;
    Ok(kind.own_form(value))
}

/// [`shown_value`] as JSON: as it lies in the cache when that is the stored version.
///
/// # Errors
/// As [`shown_value`].
pub fn shown(kind: &Kind, object: &CachedObject) -> Result<Bytes, Status> {
    if kind.is_stored_form() {
        return Ok(object.json());
    }
    serde_json::to_vec(&shown_value(kind, object)?).map(Bytes::from).map_err(Status::internal)
}

/// Reads stored bytes back, with the revision that wrote them as resource version.
pub fn loaded(bytes: &[u8], revision: Revision) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(bytes).map_err(Status::internal)?;
    object.set_meta("resourceVersion", revision.to_string());
    Ok(object)
}

#[cfg(test)]
mod tests;
