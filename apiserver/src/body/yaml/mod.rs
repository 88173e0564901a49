//! YAML as Kubernetes' clients write it: version 1.1, as Go's `yaml.v2` reads it and `sigs.k8s.io/yaml` makes JSON of it,
//! with their words for what is wrong.
//!
//! The parser is a port of libyaml, as Go's is. Work is linear in a body's size: depth and directives are bounded, and so is
//! what aliases repeat. Counterparts: `go.yaml.in/yaml/v2/decode.go`, `sigs.k8s.io/yaml/yaml.go`.

mod nodes;
mod scalar;

use std::{borrow::Cow, collections::HashSet};

use api::{Message, field::cut, message};
use kinds::{json::MAX_DEPTH, patch::drop_nulls};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use nodes::{Content, Document, NodeId};
use scalar::Scalar;

/// How many nodes aliases may repeat in a document, and how many bytes of text.
const MAX_REPEATED: usize = 50_000;
const MAX_REPEATED_TEXT: usize = super::MAX_BODY;
/// At most so many doubled keys are listed, and so much is shown of each.
const MAX_DOUBLED: usize = 100;
const MAX_KEY: usize = 1024;

/// What a body holds.
#[derive(Debug)]
pub struct Read {
    /// Its first document; null when there is none. Of a key that is given twice the last counts.
    pub value: Value,
    /// The complaint about keys that a map has twice.
    pub doubled: Option<String>,
}

/// Reads a configuration file of one kind, in one of some versions, and gives what it says beside the two.
///
/// # Errors
/// What is wrong with it.
pub fn read_file<T: DeserializeOwned>(bytes: &[u8], kind: &str, versions: &[&str]) -> Result<T, Message> {
    let Read { mut value, doubled } = read(bytes)?;
    doubled.map_or(Ok(()), |why| Err(Message::from(why)))?;
    drop_nulls(&mut value);
    let mut take = |field| value.as_object_mut().and_then(|file| file.remove(field)).unwrap_or_default();
    let (version, named) = (take("apiVersion"), take("kind"));
    // Upstream repeats the file here, which may hold keys.
    for (field, said) in [("Kind", &named), ("apiVersion", &version)] {
        if said.as_str().unwrap_or_default().is_empty() {
            return Err(message!("Object '{field}' is missing"));
        }
    }
    if named != kind || !versions.iter().any(|one| version == *one) {
        return Err(message!("no kind {named} is registered for version {version}"));
    }
    serde_json::from_value(value).map_err(Message::of)
}

/// Reads a body.
///
/// # Errors
/// What is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Read, Message> {
    let text = decoded(bytes)?;
    let Some(document) = Document::parse(&text)? else {
        return Ok(Read { value: Value::Null, doubled: None });
    };
    let mut decoder = Decoder::new(&document);
    let value = decoder.value(document.root())?;
    let lines: String = decoder.doubled.iter().map(|line| format!("\n  {line}")).collect();
    Ok(Read { value, doubled: (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:{lines}")) })
}

/// A body's text: UTF-8, or UTF-16 that says so.
fn decoded(bytes: &[u8]) -> Result<Cow<'_, str>, Message> {
    let wide = |rest: &[u8], of: fn([u8; 2]) -> u16| {
        let units = rest.as_chunks().0.iter().map(|unit| of(*unit));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        let text = text.map_err(|_| "yaml: unexpected low surrogate area".to_owned())?;
        if rest.len().is_multiple_of(2) {
            Ok(text.into())
        } else {
            Err("yaml: incomplete UTF-16 character".into())
        }
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => Ok(text.into()),
            Err(e) => Err(match (e.error_len(), rest.get(e.valid_up_to())) {
                (None, _) => "yaml: incomplete UTF-8 octet sequence",
                (_, Some(0xc2..=0xf4)) => "yaml: invalid trailing UTF-8 octet",
                _ => "yaml: invalid leading UTF-8 octet",
            }
            .into()),
        },
    }
}

/// Makes JSON of a document.
struct Decoder<'a> {
    document: &'a Document,
    /// Nodes that were looked at, and those of them that aliases led to.
    seen: usize,
    repeated: usize,
    repeated_text: usize,
    /// The aliases that lead to where we are.
    inside: HashSet<NodeId>,
    depth: usize,
    doubled: Vec<String>,
}

impl<'a> Decoder<'a> {
    fn new(document: &'a Document) -> Self {
        Self {
            document,
            seen: 0,
            repeated: 0,
            repeated_text: 0,
            inside: HashSet::new(),
            depth: 0,
            doubled: Vec::new(),
        }
    }

    /// Counts a node.
    fn see(&mut self, id: NodeId) -> Result<(), Message> {
        self.seen += 1;
        if !self.inside.is_empty() {
            self.repeated += 1;
            if let Content::Scalar { text, .. } = self.document.content(id) {
                self.repeated_text += text.len();
            }
        }
        // Go's own rule for documents that are not large: 99 of 100 nodes may come from aliases.
        let ratio = self.repeated > 100 && self.seen > 1000 && self.repeated * 100 > self.seen * 99;
        if ratio || self.repeated > MAX_REPEATED || self.repeated_text > MAX_REPEATED_TEXT {
            return Err("yaml: document contains excessive aliasing".into());
        }
        Ok(())
    }

    /// Follows an alias.
    fn inside<T>(
        &mut self,
        (alias, name): (NodeId, &str),
        target: NodeId,
        look: impl FnOnce(&mut Self, NodeId) -> Result<T, Message>,
    ) -> Result<T, Message> {
        if !self.inside.insert(alias) {
            return Err(message!("yaml: anchor '{name}' value contains itself"));
        }
        self.enter()?;
        let found = look(self, target);
        self.depth -= 1;
        self.inside.remove(&alias);
        found
    }

    fn enter(&mut self) -> Result<(), Message> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(nodes::too_deep().into());
        }
        Ok(())
    }

    fn value(&mut self, id: NodeId) -> Result<Value, Message> {
        let document = self.document;
        self.see(id)?;
        match document.content(id) {
            Content::Alias(target, name) => self.inside((id, name), *target, Self::value),
            Content::Scalar { .. } => self.scalar(id).and_then(json),
            Content::List(items) => {
                self.enter()?;
                let items: Result<Vec<Value>, Message> = items.iter().map(|item| self.value(*item)).collect();
                self.depth -= 1;
                items.map(Value::Array)
            }
            Content::Map(pairs) => {
                let mut map = Map::new();
                self.fill(pairs, &mut map)?;
                Ok(Value::Object(map))
            }
        }
    }

    fn scalar(&self, id: NodeId) -> Result<Scalar, Message> {
        match self.document.content(id) {
            Content::Scalar { tag: None, text, plain: false } => Ok(Scalar::Text(text.to_string())),
            Content::Scalar { tag, text, .. } => scalar::resolve(tag.as_deref().unwrap_or(""), text),
            _ => Err("yaml: invalid map key".into()),
        }
    }

    /// Puts pairs into a map, those that are merged where they stand.
    fn fill(&mut self, pairs: &[(NodeId, NodeId)], map: &mut Map<String, Value>) -> Result<(), Message> {
        self.enter()?;
        for (key, value) in pairs {
            if self.document.is_merge(*key) {
                self.merge(*value, map)?;
                continue;
            }
            self.see(*key)?;
            let key = match self.document.content(*key) {
                Content::Alias(target, _) => {
                    self.see(*target)?;
                    *target
                }
                _ => *key,
            };
            let (name, shown) = name(self.scalar(key)?)?;
            let line = self.document.line(*value);
            let value = self.value(*value)?;
            if map.insert(name, value).is_some() && self.doubled.len() < MAX_DOUBLED {
                self.doubled.push(format!("line {line}: key {} already set in map", cut(&shown, MAX_KEY)));
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Merges a map, or several of which the first counts most.
    fn merge(&mut self, id: NodeId, map: &mut Map<String, Value>) -> Result<(), Message> {
        let document = self.document;
        match document.content(id) {
            Content::List(items) => items.iter().rev().try_for_each(|item| self.merge_one(*item, map)),
            _ => self.merge_one(id, map),
        }
    }

    fn merge_one(&mut self, id: NodeId, map: &mut Map<String, Value>) -> Result<(), Message> {
        const NO_MAP: &str = "yaml: map merge requires map or sequence of maps as the value";
        let document = self.document;
        self.see(id)?;
        match document.content(id) {
            Content::Map(pairs) => self.fill(pairs, map),
            Content::Alias(target, name) => match document.content(*target) {
                Content::Map(pairs) => self.inside((id, name), *target, |decoder, target| {
                    decoder.see(target)?;
                    decoder.fill(pairs, map)
                }),
                _ => Err(NO_MAP.into()),
            },
            _ => Err(NO_MAP.into()),
        }
    }
}

/// The JSON of a scalar, of which JSON knows neither infinities nor what is no number.
fn json(scalar: Scalar) -> Result<Value, Message> {
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(is) => is.into(),
        Scalar::Int(number) => number.into(),
        Scalar::Uint(number) => number.into(),
        // Go writes whole numbers without a point.
        Scalar::Float(number) if number.fract() == 0.0 && number.abs() < 9e18 => {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            let whole = number as i64;
            whole.into()
        }
        Scalar::Float(number) => match Number::from_f64(number) {
            Some(number) => Value::Number(number),
            None => return Err(message!("json: unsupported value: {}", scalar::odd(number))),
        },
        Scalar::Text(text) => text.into(),
    })
}

/// A key as JSON has it, and as complaints show it.
fn name(key: Scalar) -> Result<(String, String), Message> {
    let plain = |text: String| Ok((text.clone(), text));
    match key {
        Scalar::Text(text) => {
            let shown = format!("{:?}", cut(&text, MAX_KEY));
            Ok((text, shown))
        }
        Scalar::Int(number) => plain(number.to_string()),
        Scalar::Bool(is) => plain(is.to_string()),
        Scalar::Float(number) => plain(scalar::shown(number)),
        Scalar::Uint(number) => Err(message!("unsupported map key of type: uint64, key: {number:#x}")),
        Scalar::Null => Err("unsupported map key of type: %!s(<nil>), key: <nil>".into()),
    }
}

#[cfg(test)]
mod tests;
