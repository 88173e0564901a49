//! Reads request bodies: JSON into values, with the mistakes that field validation reports found on the way.
//!
//! Nesting is limited (the parser recurses), so no body can exhaust the stack. Unknown and duplicate fields
//! come in the order of the text, as upstream's strict decoder gives them.

use std::fmt;

use api::field::cut;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{
    json_syntax,
    schema::{Node, TypeRef, Types, push_index, push_name},
};

/// At most so many mistakes are listed.
pub const MAX_PROBLEMS: usize = 100;
/// So much is shown of the path of one.
const MAX_SHOWN: usize = 1024;

/// How deep objects may be nested, so that what is stored can be read again: `serde_json` reads 127 levels.
pub const MAX_DEPTH: usize = 120;

/// Whether a value is nested at most `depth` levels deep.
pub fn is_within(depth: usize, value: &Value) -> bool {
    let below = |part: &Value| depth > 0 && is_within(depth - 1, part);
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(below),
        Value::Object(map) => depth > 0 && map.values().all(below),
        _ => true,
    }
}

/// Writes numbers without a fraction as such, `2` for `2.0`: Go writes all numbers that it has read as any value so.
pub fn drop_empty_fractions(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            // Beyond this not every whole number is one of its own.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if let Some(whole) = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT) {
                #[expect(clippy::cast_possible_truncation, reason = "whole and within the range")]
                let whole = whole as i64;
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(drop_empty_fractions),
        Value::Object(map) => map.values_mut().for_each(drop_empty_fractions),
        _ => {}
    }
}

/// A text that is no JSON; says so in the words of Go's decoder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(String);

/// Reads a value. Of a field given twice the last counts.
pub fn parse(bytes: &[u8]) -> Result<Value, ParseError> {
    serde_json::from_slice(bytes).map_err(|e| explain(bytes, &e))
}

/// Reads what stands at most `depth` objects deep (lists do not count), with `null` in place of all that lies deeper,
/// and without the outermost object's field `but`. Whoever needs a few fields of an object is spared the making of all
/// others.
pub fn shallow(bytes: &[u8], depth: usize, but: &str) -> Result<Value, ParseError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Read(Shallow { depth, but }).deserialize(&mut deserializer).map_err(|e| explain(bytes, &e))
}

/// How the members of a value are read.
trait Reading<'de>: Sized {
    /// Reads a list.
    fn items<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error>;
    /// Reads an object.
    fn fields<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error>;
}

/// Reads one value: its members as `R` does.
struct Read<R>(R);

impl<'de, R: Reading<'de>> DeserializeSeed<'de> for Read<R> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Reading<'de>> Visitor<'de> for Read<R> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<Value, E> {
        Number::from_f64(v).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        self.0.items(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error> {
        self.0.fields(fields)
    }
}

/// Reads down to a depth.
struct Shallow<'a> {
    depth: usize,
    /// A field that is passed over; "" below the outermost object.
    but: &'a str,
}

impl<'de> Reading<'de> for Shallow<'_> {
    fn items<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(Read(Shallow { depth: self.depth, but: "" }))? {
            found.push(item);
        }
        Ok(found.into())
    }

    fn fields<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        if self.depth == 0 {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut found = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if name == self.but {
                let _passed_over: IgnoredAny = fields.next_value()?;
            } else {
                let below = Shallow { depth: self.depth - 1, but: "" };
                found.insert(name, fields.next_value_seed(Read(below))?);
            }
        }
        Ok(found.into())
    }
}

/// Reads a value and lists its duplicate fields and, when the type is given, those that it does not have,
/// as `duplicate field "a.b"` and `unknown field "a.b"`.
pub fn parse_strict(
    bytes: &[u8],
    expected: Option<(&Types, TypeRef)>,
) -> Result<(Value, Vec<String>), ParseError> {
    let mut problems = Problems { path: String::new(), found: Vec::new() };
    let checked =
        Checked { types: expected.map(|e| e.0), ty: expected.map(|e| e.1), problems: &mut problems };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Read(checked)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|e| explain(bytes, &e))?;
    Ok((value, problems.found))
}

/// Says what is wrong with a text that could not be read.
fn explain(bytes: &[u8], error: &serde_json::Error) -> ParseError {
    ParseError(json_syntax::mistake(bytes).unwrap_or_else(|| format!("invalid JSON: {error}")))
}

struct Problems {
    path: String,
    found: Vec<String>,
}

impl Problems {
    fn add(&mut self, what: &str) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(format!("{what} field {:?}", cut(&self.path, MAX_SHOWN)));
        }
    }
}

/// Reads what is of a type that may be known, and lists what is wrong with it.
struct Checked<'a> {
    types: Option<&'a Types>,
    ty: Option<TypeRef>,
    problems: &'a mut Problems,
}

impl<'de> Reading<'de> for Checked<'_> {
    fn items<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let node = self.types.zip(self.ty).map(|(types, ty)| types.node(ty));
        let item = match node {
            Some(Node::List { item, .. }) => Some(*item),
            _ => None,
        };
        let length = self.problems.path.len();
        let mut items = Vec::new();
        loop {
            push_index(&mut self.problems.path, items.len());
            let seed = Checked { types: self.types, ty: item, problems: &mut *self.problems };
            let next = seq.next_element_seed(Read(seed))?;
            self.problems.path.truncate(length);
            match next {
                Some(value) => items.push(value),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn fields<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let node = self.types.zip(self.ty).map(|(types, ty)| types.node(ty));
        let length = self.problems.path.len();
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            push_name(&mut self.problems.path, &name);
            let ty = match node {
                Some(Node::Object(object)) => {
                    let field = object.fields.get(name.as_str());
                    if field.is_none() && !object.open {
                        self.problems.add("unknown");
                    }
                    field.map(|f| f.ty)
                }
                Some(Node::Map { value, .. }) => Some(*value),
                _ => None,
            };
            if map.contains_key(&name) {
                self.problems.add("duplicate");
            }
            let seed = Checked { types: self.types, ty, problems: &mut *self.problems };
            let value = access.next_value_seed(Read(seed))?;
            self.problems.path.truncate(length);
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests;
