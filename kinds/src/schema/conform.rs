//! Makes a decoded object what Go's decoder would have made of it, or says why Go would refuse it.
//!
//! Nulls vanish (or become zero values inside lists and maps), numbers given as quantities become text,
//! moments become UTC, empty optional lists and maps are left out, and so are zeros that Go would not write. What must be
//! there and is not is the zero of its type: for most types reading them sees to that, moments get [`ZERO_TIME`] here.
//! Messages are those of `encoding/json`.

use std::fmt::Write;

use api::{object::ZERO_TIME, quantity::Quantity};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde_json::Value;

use super::{Node, Scalar, Tag, TypeRef, Types};
use crate::kind::DecodeError;

impl Types {
    /// Brings a value into the form of a built-in type. On a mismatch the text is what follows
    /// `… cannot be handled as a <Kind>: `.
    ///
    /// Of a custom type that is only what every object has: the rest is checked by its schema.
    pub fn conform(&self, value: &mut Value, root: TypeRef) -> Result<(), DecodeError> {
        if let (Node::Object(object), Value::Object(map)) = (self.node(root), &mut *value)
            && object.name.is_empty()
        {
            for name in ["apiVersion", "kind", "metadata"] {
                let Some(field) = object.fields.get(name) else { continue };
                // Upstream reads the metadata alone, and names places from there.
                let mut fields = if name == "metadata" { vec![] } else { vec![name] };
                match map.get_mut(name) {
                    Some(Value::Null) => drop(map.remove(name)),
                    Some(member) => self.walk(member, field.ty, "", &mut fields)?,
                    None => {}
                }
            }
            return Ok(());
        }
        self.walk(value, root, "", &mut Vec::new())
    }

    /// `owner` is the innermost object type, `fields` the names that led here.
    fn walk<'a>(
        &'a self,
        value: &mut Value,
        ty: TypeRef,
        owner: &'a str,
        fields: &mut Vec<&'a str>,
    ) -> Result<(), DecodeError> {
        match self.node(ty) {
            Node::Any | Node::Raw => Ok(()),
            Node::Scalar(scalar) => conform_scalar(value, *scalar)
                .map_err(|e| DecodeError(e.describe(value, || place(owner, fields)))),
            Node::List { item, .. } => {
                let Value::Array(items) = value else {
                    return Err(self.mismatch(value, ty, owner, fields));
                };
                for member in items {
                    if member.is_null() {
                        *member = self.zero(*item);
                    }
                    self.walk(member, *item, owner, fields)?;
                }
                Ok(())
            }
            Node::Map { value: of, .. } => {
                let Value::Object(map) = value else {
                    return Err(self.mismatch(value, ty, owner, fields));
                };
                if matches!(self.node(*of), Node::Any) {
                    // Of what may be anything, nothing is all that is known.
                    map.retain(|_, member| !member.is_null());
                }
                for (_, member) in map.iter_mut() {
                    if member.is_null() {
                        *member = self.zero(*of);
                    }
                    self.walk(member, *of, owner, fields)?;
                }
                Ok(())
            }
            Node::Object(object) => {
                let Value::Object(map) = value else {
                    return Err(self.mismatch(value, ty, owner, fields));
                };
                let mut failure = None;
                map.retain(|name, member| {
                    let Some((name, field)) = object.fields.get_key_value(name.as_str()) else { return true };
                    if member.is_null() {
                        return false;
                    }
                    if failure.is_some() {
                        return true;
                    }
                    fields.push(name);
                    failure = self.walk(member, field.ty, &object.name, fields).err();
                    fields.pop();
                    let kept = field.required || field.tag == Tag::KeptEmpty;
                    let dropped =
                        self.says_nothing(member, field.ty) || field.tag == Tag::DropsZero && is_zero(member);
                    kept || !dropped
                });
                for moment in &object.moments {
                    if !map.contains_key(&**moment) {
                        map.insert(moment.to_string(), ZERO_TIME.into());
                    }
                }
                failure.map_or(Ok(()), Err)
            }
        }
    }

    /// Whether a value is what an absent one is taken for: an empty list or map, no time.
    fn says_nothing(&self, value: &Value, ty: TypeRef) -> bool {
        match (value, self.node(ty)) {
            (Value::Array(items), _) => items.is_empty(),
            (Value::Object(map), Node::Map { .. }) => map.is_empty(),
            (Value::String(text), Node::Scalar(Scalar::Time)) => text == ZERO_TIME,
            (Value::String(text), Node::Scalar(Scalar::MicroTime)) => text == "0001-01-01T00:00:00.000000Z",
            _ => false,
        }
    }

    /// What Go has where a list item or map value is null.
    fn zero(&self, ty: TypeRef) -> Value {
        match self.node(ty) {
            Node::Scalar(s) => match s {
                Scalar::Boolean => false.into(),
                Scalar::Int32 | Scalar::Int64 | Scalar::Number | Scalar::IntOrString => 0.into(),
                Scalar::Quantity => "0".into(),
                Scalar::String | Scalar::Formatted | Scalar::Bytes => "".into(),
                Scalar::Time | Scalar::MicroTime => ZERO_TIME.into(),
            },
            Node::Object(_) | Node::Map { .. } => Value::Object(serde_json::Map::new()),
            Node::List { .. } => Value::Array(Vec::new()),
            Node::Any | Node::Raw => Value::Null,
        }
    }

    fn mismatch(&self, value: &Value, ty: TypeRef, owner: &str, fields: &[&str]) -> DecodeError {
        DecodeError(wrong_type(json_kind(value), &place(owner, fields), &self.go_name(ty)))
    }

    /// The type as Go writes it.
    fn go_name(&self, ty: TypeRef) -> String {
        match self.node(ty) {
            Node::Any | Node::Raw => "interface {}".into(),
            Node::Scalar(s) => s.go_name().into(),
            Node::Object(o) => o.name.to_string(),
            Node::Map { value, .. } => format!("map[string]{}", self.go_name(*value)),
            Node::List { item, .. } => format!("[]{}", self.go_name(*item)),
        }
    }
}

impl Scalar {
    fn go_name(self) -> &'static str {
        match self {
            Self::String | Self::Formatted => "string",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Number => "float64",
            Self::Boolean => "bool",
            Self::Bytes => "[]uint8",
            Self::Time => "v1.Time",
            Self::MicroTime => "v1.MicroTime",
            Self::Quantity => "resource.Quantity",
            Self::IntOrString => "intstr.IntOrString",
        }
    }
}

/// Whether a scalar is the zero of its type.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

enum Mistake {
    /// The JSON type is wrong.
    Type(&'static str),
    /// The number does not fit.
    Number(&'static str),
    /// Another text, complete.
    Text(String),
}

impl Mistake {
    fn describe(self, value: &Value, place: impl Fn() -> String) -> String {
        match self {
            Self::Type(go) => wrong_type(json_kind(value), &place(), go),
            Self::Number(go) => wrong_type(&format!("number {value}"), &place(), go),
            Self::Text(text) => text,
        }
    }
}

fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn place(owner: &str, fields: &[&str]) -> String {
    if fields.is_empty() {
        return "value".into();
    }
    let mut place = String::from("struct field ");
    // The Go type's name without its package.
    place.push_str(owner.rsplit('.').next().unwrap_or(owner));
    for field in fields {
        let _infallible = write!(place, ".{field}");
    }
    place
}

fn wrong_type(what: &str, place: &str, go: &str) -> String {
    format!("json: cannot unmarshal {what} into Go {place} of type {go}")
}

fn conform_scalar(value: &mut Value, scalar: Scalar) -> Result<(), Mistake> {
    let wrong = Err(Mistake::Type(scalar.go_name()));
    match scalar {
        Scalar::String | Scalar::Formatted if value.is_string() => Ok(()),
        Scalar::Boolean if value.is_boolean() => Ok(()),
        Scalar::Number if value.is_number() => Ok(()),
        Scalar::Int32 if value.is_number() => match value.as_i64().map(i32::try_from) {
            Some(Ok(_)) => Ok(()),
            _ => Err(Mistake::Number(scalar.go_name())),
        },
        Scalar::Int64 if value.is_number() => match value.as_i64() {
            Some(_) => Ok(()),
            None => Err(Mistake::Number(scalar.go_name())),
        },
        Scalar::IntOrString if value.is_string() => Ok(()),
        Scalar::IntOrString if value.is_number() => match value.as_i64().map(i32::try_from) {
            Some(Ok(_)) => Ok(()),
            _ => Err(Mistake::Number("int32")),
        },
        Scalar::Bytes => match value {
            Value::String(text) => {
                if text.contains(['\r', '\n']) {
                    text.retain(|c| c != '\r' && c != '\n');
                }
                check_base64(text)
            }
            _ => wrong,
        },
        Scalar::Quantity => {
            let text = match value {
                Value::String(s) => s.trim().to_owned(),
                Value::Number(n) => n.to_string(),
                _ => return Err(Mistake::Text(NOT_A_QUANTITY.into())),
            };
            let quantity: Quantity = text.parse().map_err(|e| Mistake::Text(format!("{e}")))?;
            *value = quantity.to_string().into();
            Ok(())
        }
        Scalar::Time | Scalar::MicroTime => match value {
            Value::String(text) if text.is_empty() => Err(Mistake::Text(not_a_time(text, scalar))),
            Value::String(text) => match text.parse::<Timestamp>() {
                Ok(moment) => {
                    let shown = show_time(moment, scalar);
                    if *text != shown {
                        *text = shown;
                    }
                    Ok(())
                }
                Err(_) => Err(Mistake::Text(not_a_time(text, scalar))),
            },
            _ => Err(Mistake::Type("string")),
        },
        _ => wrong,
    }
}

const NOT_A_QUANTITY: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

fn not_a_time(text: &str, scalar: Scalar) -> String {
    let layout =
        if scalar == Scalar::Time { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
    format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"")
}

fn show_time(moment: Timestamp, scalar: Scalar) -> String {
    let (unit, digits) = if scalar == Scalar::Time { (Unit::Second, 0) } else { (Unit::Microsecond, 6) };
    let rounded = moment.round(TimestampRound::new().smallest(unit).mode(RoundMode::Floor)).unwrap_or(moment);
    format!("{rounded:.digits$}")
}

fn check_base64(text: &str) -> Result<(), Mistake> {
    // The length is what most texts need; the rest is checked by decoding piecewise, without keeping it.
    let mut buffer = [0u8; 768];
    let mut at = 0;
    for piece in text.as_bytes().chunks(1024) {
        let last = at + piece.len() == text.len();
        if let Err(e) = STANDARD.decode_slice(piece, &mut buffer) {
            return Err(Mistake::Text(base64_mistake(at, piece, &e)));
        }
        if !last && piece.ends_with(b"=") {
            return Err(Mistake::Text(format!("illegal base64 data at input byte {}", at + piece.len())));
        }
        at += piece.len();
    }
    Ok(())
}

fn base64_mistake(at: usize, piece: &[u8], error: &base64::DecodeSliceError) -> String {
    use base64::{DecodeError, DecodeSliceError};
    let offset = match error {
        DecodeSliceError::DecodeError(
            DecodeError::InvalidByte(i, _) | DecodeError::InvalidLastSymbol(i, _),
        ) => *i,
        _ => piece
            .iter()
            .position(|b| !b.is_ascii_alphanumeric() && !b"+/=".contains(b))
            .unwrap_or(piece.len()),
    };
    format!("illegal base64 data at input byte {}", at + offset)
}
