//! Values of expressions. Those of an object stay where they are in its JSON and are read with its schema
//! when they are asked for.

use std::{
    borrow::Cow,
    cmp::Ordering,
    collections::{HashMap, HashSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
};

use api::{duration, quantity::Quantity};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Map as JsonMap, Value as Json};

use super::{
    Decision,
    access::Access,
    functions::url::Url,
    index::Entries,
    types::{Decl, ListKind, Shape, escape},
};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Duration(SignedDuration),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    /// An object and its declaration.
    Object(&'a JsonMap<String, Json>, &'a Decl),
    /// A type, by name.
    Type(Cow<'static, str>),
    Optional(Option<Rc<Value<'a>>>),
    Opaque(Rc<Opaque>),
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// It costs more than it may.
    Cost,
    /// In `cel-go`'s words.
    Error(String),
}

impl Failure {
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    pub fn no_overload() -> Self {
        Self::error("no such overload")
    }
}

pub(super) type Evaluated<'a> = Result<Value<'a>, Failure>;

/// Values of the libraries' own types.
#[derive(Debug, PartialEq)]
pub(super) enum Opaque {
    Url(Url),
    Ip(IpAddr),
    Cidr(ipnet::IpNet),
    Quantity(Quantity),
    Format(&'static str),
    Semver(super::functions::semver::Version),
    Access(Access),
    Decision(Decision),
}

#[derive(Debug, Clone)]
pub(super) struct List<'a> {
    pub items: Items<'a>,
    pub kind: &'a ListKind,
}

#[derive(Debug, Clone)]
pub(super) enum Items<'a> {
    Json(&'a [Json], &'a Arc<Decl>),
    Made(Rc<Vec<Value<'a>>>),
}

#[derive(Debug, Clone)]
pub(super) enum Map<'a> {
    Json(&'a JsonMap<String, Json>, &'a Arc<Decl>),
    /// What an expression makes, with the name of the message that it is, if it is one.
    Made(Rc<Entries<'a>>, Option<&'a str>),
}

impl<'a> List<'a> {
    pub fn made(items: Vec<Value<'a>>) -> Self {
        Self { items: Items::Made(items.into()), kind: &ListKind::Atomic }
    }

    pub fn len(&self) -> usize {
        match &self.items {
            Items::Json(items, _) => items.len(),
            Items::Made(items) => items.len(),
        }
    }

    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match &self.items {
            Items::Json(items, decl) => items.get(at).map(|item| Value::of(item, decl)),
            Items::Made(items) => items.get(at).cloned(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub fn contains(&self, wanted: &Value<'a>) -> bool {
        self.iter().any(|item| item == *wanted)
    }

    /// The values of an item's key fields.
    fn key_of(item: &Value<'a>, fields: &[String]) -> Vec<Option<Value<'a>>> {
        fields.iter().map(|field| item.field_in_json(field)).collect()
    }

    /// The two lists as one. Sets and list maps keep each item or key once: the later one counts.
    pub fn concat(&self, other: &Self) -> Self {
        let mut items: Vec<Value<'a>> = self.iter().collect();
        match self.kind {
            ListKind::Atomic => items.extend(other.iter()),
            ListKind::Set => {
                let mut known: HashSet<Value<'a>> = items.iter().cloned().collect();
                items.extend(other.iter().filter(|item| known.insert(item.clone())));
            }
            ListKind::Map(fields) => {
                let mut places = HashMap::new();
                for (at, item) in items.iter().enumerate() {
                    places.entry(Self::key_of(item, fields)).or_insert(at);
                }
                for item in other.iter() {
                    let at = *places.entry(Self::key_of(&item, fields)).or_insert(items.len());
                    match items.get_mut(at) {
                        Some(known) => *known = item,
                        None => items.push(item),
                    }
                }
            }
        }
        Self { items: Items::Made(items.into()), kind: self.kind }
    }
}

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let kind = if *self.kind == ListKind::Atomic { other.kind } else { self.kind };
        match kind {
            ListKind::Atomic => self.iter().zip(other.iter()).all(|(a, b)| a == b),
            // Items with other keys are not equal.
            ListKind::Set | ListKind::Map(_) => {
                let others: HashSet<Value<'_>> = other.iter().collect();
                self.iter().all(|item| others.contains(&item))
            }
        }
    }
}

impl<'a> Map<'a> {
    pub fn made(entries: Entries<'a>) -> Self {
        Self::Made(entries.into(), None)
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Made(entries, _) => entries.len(),
        }
    }

    pub fn get(&self, key: &Value<'a>) -> Option<Value<'a>> {
        match self {
            Self::Json(map, decl) => match key {
                Value::String(name) => map.get(&**name).map(|value| Value::of(value, decl)),
                _ => None,
            },
            Self::Made(entries, _) => entries.get(key).cloned(),
        }
    }

    pub fn iter(&self) -> Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_> {
        match self {
            Self::Json(map, decl) => {
                Box::new(map.iter().map(|(key, value)| (Value::String(key.into()), Value::of(value, decl))))
            }
            Self::Made(entries, _) => Box::new(entries.iter().cloned()),
        }
    }
}

impl PartialEq for Map<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().all(|(key, value)| other.get(&key).is_some_and(|found| found == value))
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Object(a, decl), Self::Object(b, other)) => same_object(a, decl, b, other),
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => a == b,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            _ => compare_numbers(self, other) == Some(Ordering::Equal),
        }
    }
}

fn same_object(a: &JsonMap<String, Json>, decl: &Decl, b: &JsonMap<String, Json>, other: &Decl) -> bool {
    let (Shape::Object { fields }, Shape::Object { fields: others }) = (&decl.shape, &other.shape) else {
        return false;
    };
    let present = |object: &JsonMap<String, Json>, fields: &std::collections::BTreeMap<_, (String, _)>| {
        fields.values().filter(|(name, _)| object.contains_key(name)).count()
    };
    present(a, fields) == present(b, others)
        && fields.values().all(|(name, decl)| match (a.get(name), b.get(name)) {
            (None, None) => true,
            (Some(x), Some(y)) => Value::of(x, decl) == Value::of(y, decl),
            _ => false,
        })
}

/// Numbers compare by their value, whatever their type.
pub(super) fn compare_numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    use Value::{Double, Int, Uint};
    match (a, b) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Double(a), Double(b)) => a.partial_cmp(b),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Int(_) | Uint(_), Double(d)) => compare_whole(a, *d),
        (Double(d), Int(_) | Uint(_)) => compare_whole(b, *d).map(Ordering::reverse),
        _ => None,
    }
}

fn compare_whole(whole: &Value<'_>, double: f64) -> Option<Ordering> {
    let whole = match whole {
        Value::Int(n) => i128::from(*n),
        Value::Uint(n) => i128::from(*n),
        _ => return None,
    };
    if double.is_nan() {
        return None;
    }
    // Doubles beyond all integers compare by their sign; all others fit.
    if double.abs() > 1e20 {
        return Some(if double > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    #[expect(clippy::cast_possible_truncation, reason = "is below 1e20")]
    let below = double.floor() as i128;
    Some(whole.cmp(&below).then(if double > double.floor() { Ordering::Less } else { Ordering::Equal }))
}

impl<'a> Value<'a> {
    /// A JSON value, read as it is declared.
    pub fn of(json: &'a Json, decl: &'a Arc<Decl>) -> Self {
        match (json, &decl.shape) {
            (Json::Null, _) => Self::Null,
            (Json::String(text), shape) => Self::of_text(text, shape),
            (Json::Number(number), Shape::Double) => Self::Double(number.as_f64().unwrap_or_default()),
            (Json::Bool(b), _) => Self::Bool(*b),
            (Json::Number(number), _) => match number.as_i64() {
                Some(n) => Self::Int(n),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            (Json::Array(items), Shape::Dyn) => {
                Self::List(List { items: Items::Json(items, decl), kind: &ListKind::Atomic })
            }
            (Json::Object(map), Shape::Dyn) => Self::Map(Map::Json(map, decl)),
            (Json::Array(items), Shape::List { item, kind }) => {
                Self::List(List { items: Items::Json(items, item), kind })
            }
            (Json::Object(map), Shape::Map { value }) => Self::Map(Map::Json(map, value)),
            (Json::Object(map), Shape::Object { .. }) => Self::Object(map, decl),
            // Nothing is known of what is inside; schema validation refuses it where it is not allowed.
            (Json::Array(_) | Json::Object(_), _) => Self::Null,
        }
    }

    fn of_text(text: &'a str, shape: &Shape) -> Self {
        let read = match shape {
            Shape::Bytes => STANDARD.decode(text).ok().map(|bytes| Self::Bytes(bytes.into())),
            Shape::Duration => duration::parse(text).ok().map(Self::Duration),
            Shape::Timestamp => timestamp(text).map(Self::Timestamp),
            _ => None,
        };
        read.unwrap_or_else(|| Self::String(text.into()))
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::String(Cow::Owned(text.into()))
    }

    pub fn some(value: Value<'a>) -> Self {
        Self::Optional(Some(value.into()))
    }

    /// A field of an object by its name in JSON.
    fn field_in_json(&self, name: &str) -> Option<Value<'a>> {
        let Self::Object(map, decl) = self else { return None };
        let Shape::Object { fields } = &decl.shape else { return None };
        let (_, decl) = fields.get(&escape(name)?)?;
        map.get(name).map(|value| Value::of(value, decl))
    }

    /// A field or entry by the name that expressions use.
    pub fn member(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Object(map, decl) => {
                let Shape::Object { fields } = &decl.shape else { return None };
                let (name, decl) = fields.get(name)?;
                map.get(name).map(|value| Value::of(value, decl))
            }
            Self::Map(map) => map.get(&Value::String(name.to_owned().into())),
            _ => None,
        }
    }

    /// What `size` counts: characters, bytes, items, entries; 1 for everything else.
    pub fn size(&self) -> u64 {
        (match self {
            Self::String(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Object(map, _) => map.len(),
            _ => 1,
        }) as u64
    }

    /// Whether there are no values in it.
    pub fn is_leaf(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_) | Self::Object(..) | Self::Optional(_))
    }

    /// Whether it is what its type has by default.
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(b) => !b,
            Self::Int(n) => *n == 0,
            Self::Uint(n) => *n == 0,
            Self::Double(n) => *n == 0.0,
            Self::Duration(d) => d.is_zero(),
            Self::Timestamp(_) | Self::Type(_) | Self::Opaque(_) => false,
            Self::Optional(of) => of.is_none(),
            other => other.size() == 0,
        }
    }

    /// The type's name, as `type()` gives it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(..) => "object",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Opaque(opaque) => match &**opaque {
                Opaque::Url(_) => super::library::URL,
                Opaque::Ip(_) => super::library::IP,
                Opaque::Cidr(_) => super::library::CIDR,
                Opaque::Quantity(_) => super::library::QUANTITY,
                Opaque::Format(_) => super::library::FORMAT,
                Opaque::Semver(_) => super::library::SEMVER,
                Opaque::Access(access) => access.ty,
                Opaque::Decision(_) => Decision::TYPE,
            },
        }
    }
}

/// A moment, or a day at midnight.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = text.parse() {
        return Some(moment);
    }
    let date: Date = text.parse().ok()?;
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}
