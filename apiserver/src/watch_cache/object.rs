//! An object as the cache keeps it: its JSON as it goes on the wire, and what selectors ask for.
//!
//! Invariant: the JSON carries the object's revision as `metadata.resourceVersion`, and stands
//! inside a ready watch event, so that GET, LIST and watch all hand out the same bytes.
//! Upstream counterpart: `storeElement` and `cachingObject` of the cacher.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::scan::{Scan, scan};
use crate::store::Revision;

/// What a watch event says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// The object exists now, for this watcher.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or does not match any more.
    Deleted,
}

impl Verb {
    /// As written in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Added => "ADDED",
            Verb::Modified => "MODIFIED",
            Verb::Deleted => "DELETED",
        }
    }

    /// What stands before the object in the line of an event.
    pub fn head(self) -> &'static [u8] {
        match self {
            Verb::Added => br#"{"type":"ADDED","object":"#,
            Verb::Modified => br#"{"type":"MODIFIED","object":"#,
            Verb::Deleted => br#"{"type":"DELETED","object":"#,
        }
    }
}

/// What stands behind the object in the line of an event.
pub const TAIL: &[u8] = b"}\n";
const FIELD: &str = r#""resourceVersion":""#;

/// The values of an object's selectable fields, besides `metadata.name` and
/// `metadata.namespace`, by name.
pub type Fields = Vec<(Cow<'static, str>, String)>;

/// Reads the selectable fields out of an object's JSON.
pub type FieldsFn = Arc<dyn Fn(&[u8]) -> Fields + Send + Sync>;

/// Shows a stored object as it is to be seen; `None` when that is as it is.
pub type ReadFn = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// One state of one object.
pub struct CachedObject {
    key: Box<str>,
    revision: Revision,
    frame: Bytes,
    verb: Verb,
    /// Where the digits of the resource version are in `frame`.
    digits: u32,
    /// Where the members `apiVersion` and `kind` are in the object's JSON, if they are found before its metadata.
    types: Option<[(u32, u32); 2]>,
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(Cow<'static, str>, String)]>,
    /// The stored bytes, where they are not what is seen.
    stored: Option<Bytes>,
}

impl CachedObject {
    /// Makes the cached form of a stored value, or `None` if that is no JSON object with
    /// metadata. `key` is the key below the resource's prefix.
    pub(super) fn new(
        key: &str,
        value: &[u8],
        revision: Revision,
        verb: Verb,
        fields: Option<&FieldsFn>,
    ) -> Option<Self> {
        let found = scan(value)?;
        let (frame, digits) = framed(verb.head(), value, &found, revision, TAIL);
        Some(Self {
            key: key.into(),
            revision,
            frame: frame.into(),
            verb,
            digits: digits as u32,
            types: found.types.map(|types| types.map(|at| (at.start as u32, at.end as u32))),
            labels: found.labels.into(),
            fields: fields.map(|fields| fields(value).into()).unwrap_or_default(),
            stored: None,
        })
    }

    /// The same state, stored as other bytes than those that are seen.
    pub(super) fn stored_as(mut self, stored: &[u8]) -> Self {
        self.stored = Some(Bytes::copy_from_slice(stored));
        self
    }

    /// The key below the resource's prefix: `namespace/name`, or `name`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The object's name.
    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or(&*self.key, |(_, name)| name)
    }

    /// The object's namespace, empty if it has none.
    pub fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The revision that wrote this state, its resource version.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The object's JSON with its resource version.
    pub fn json(&self) -> Bytes {
        self.frame.slice(self.verb.head().len()..self.frame.len() - TAIL.len())
    }

    /// The same without `apiVersion`, `kind` and the brace that opens it, as an item of a list, which says them for all of
    /// its items: three parts.
    pub fn item(&self) -> [Bytes; 3] {
        let json = self.json();
        // Another program may have written it in another order.
        let Some([version, kind]) = self.types else { return [json.slice(1..), Bytes::new(), Bytes::new()] };
        let at = |offset: u32| offset as usize;
        [json.slice(1..at(version.0)), json.slice(at(version.1)..at(kind.0)), json.slice(at(kind.1)..)]
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// All labels, sorted by key.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (&**key, &**value))
    }

    /// A selectable field's value; `None` if the resource has no such field.
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "metadata.name" => Some(self.name()),
            "metadata.namespace" => Some(self.namespace()),
            _ => self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()),
        }
    }

    /// This state as a line of a watch. The bytes made when the object was cached are reused
    /// if they say the same; others are made anew.
    pub fn event(&self, verb: Verb) -> Bytes {
        if verb == self.verb {
            return self.frame.clone();
        }
        [verb.head(), &self.frame[self.verb.head().len()..]].concat().into()
    }

    /// The same state as the object's last one: deleted at `revision`.
    pub(super) fn deleted_at(&self, revision: Revision) -> Self {
        let (start, end) = (self.digits as usize, self.digits as usize + digits_of(self.revision));
        let head = Verb::Deleted.head();
        let old_head = self.verb.head().len();
        let mut frame = Vec::with_capacity(self.frame.len() + 20);
        frame.extend_from_slice(head);
        frame.extend_from_slice(&self.frame[old_head..start]);
        frame.extend_from_slice(itoa::Buffer::new().format(revision).as_bytes());
        frame.extend_from_slice(&self.frame[end..]);
        Self {
            key: self.key.clone(),
            revision,
            frame: frame.into(),
            verb: Verb::Deleted,
            digits: (start - old_head + head.len()) as u32,
            types: self.types,
            labels: self.labels.clone(),
            fields: self.fields.clone(),
            stored: None,
        }
    }

    /// The value as the store has it, without the resource version.
    pub fn stored(&self) -> Bytes {
        if let Some(stored) = &self.stored {
            return stored.clone();
        }
        let json = self.json();
        let start = self.digits as usize - self.verb.head().len() - FIELD.len();
        let mut end = start + FIELD.len() + digits_of(self.revision) + 1;
        if json.get(end) == Some(&b',') {
            end += 1;
        }
        [&json[..start], &json[end..]].concat().into()
    }

    /// The bytes this object holds on to.
    pub(super) fn size(&self) -> usize {
        self.frame.len() + self.stored.as_ref().map_or(0, Bytes::len) + 128
    }
}

/// How many digits a revision has.
fn digits_of(revision: Revision) -> usize {
    itoa::Buffer::new().format(revision).len()
}

/// A stored value as it is shown: with the revision that wrote it as its resource version. `None` if it is no JSON object
/// with metadata.
pub fn shown_at(value: &[u8], revision: Revision) -> Option<Vec<u8>> {
    Some(framed(b"", value, &scan(value)?, revision, b"").0)
}

/// A stored value with its resource version, between a head and a tail; and where the version's digits are.
fn framed(head: &[u8], value: &[u8], found: &Scan, revision: Revision, tail: &[u8]) -> (Vec<u8>, usize) {
    let mut number = itoa::Buffer::new();
    let number = number.format(revision).as_bytes();
    let mut frame =
        Vec::with_capacity(head.len() + value.len() + FIELD.len() + number.len() + 2 + tail.len());
    frame.extend_from_slice(head);
    frame.extend_from_slice(&value[..found.metadata]);
    frame.extend_from_slice(FIELD.as_bytes());
    let digits = frame.len();
    frame.extend_from_slice(number);
    frame.extend_from_slice(if found.metadata_empty { b"\"" } else { b"\"," });
    frame.extend_from_slice(&value[found.metadata..]);
    frame.extend_from_slice(tail);
    (frame, digits)
}

impl std::fmt::Debug for CachedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.key, self.revision)
    }
}

impl api::selector::Labels for CachedObject {
    fn label(&self, key: &str) -> Option<&str> {
        CachedObject::label(self, key)
    }
}

#[cfg(test)]
impl CachedObject {
    /// An object as a cache would have it, with the node of a pod as its field.
    pub fn sample(key: &str, object: &serde_json::Value) -> Self {
        let fields: FieldsFn = Arc::new(|bytes| {
            let object: serde_json::Value = serde_json::from_slice(bytes).expect("is JSON");
            vec![("spec.nodeName".into(), object["spec"]["nodeName"].as_str().unwrap_or_default().to_owned())]
        });
        let bytes = object.to_string();
        Self::new(key, bytes.as_bytes(), 1, Verb::Added, Some(&fields)).expect("has metadata")
    }
}

#[cfg(test)]
mod tests;
