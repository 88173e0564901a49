//! Conversions between types, and values as text.

use std::borrow::Cow;

use api::duration;
use jiff::{SignedDuration, Timestamp};

use crate::value::{Evaluated, Failure, Opaque, Value, timestamp};

pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let [value] = args else { return None };
    Some(match name {
        "dyn" => Ok(value.clone()),
        "type" => Ok(Value::Type(Cow::Borrowed(value.type_name()))),
        "bool" => bool(value),
        "int" => int(value),
        "uint" => uint(value),
        "double" => double(value),
        "string" => string(value),
        "bytes" => match value {
            Value::Bytes(_) => Ok(value.clone()),
            Value::String(text) => Ok(Value::Bytes(text.as_bytes().to_vec().into())),
            _ => return None,
        },
        "duration" => match value {
            Value::Duration(_) => Ok(value.clone()),
            Value::String(text) => {
 duration::parse(text).map(Value::Duration).map_err(|why| Failure::error(why.to_string()))
},
            Value::Int(nanos) => Ok(Value::Duration(SignedDuration::from_nanos(*nanos))),
            _ => return None,
        },
        "timestamp" => match value {
            Value::Timestamp(_) => Ok(value.clone()),
            Value::String(text) => timestamp(text).map(Value::Timestamp).ok_or_else(|| {
                Failure::error(format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
                ))
            }),
            Value::Int(seconds) => Timestamp::from_second(*seconds)
                .map(Value::Timestamp)
                .map_err(|_| Failure::error("timestamp overflow")),
            _ => return None,
        },
        _ => return None,
    })
}

fn type_conversion<'a>(value: &Value<'a>, to: &str) -> Evaluated<'a> {
    match value {
        Value::String(_) => Err(Failure::error(format!("type conversion error from 'string' to '{to}'"))),
        _ => Err(Failure::no_overload()),
    }
}

fn bool<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => type_conversion(value, "bool"),
        },
        _ => Err(Failure::no_overload()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is checked")]
fn int<'a>(value: &Value<'a>) -> Evaluated<'a> {
    let overflow = || Failure::error("integer overflow");
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(n) => i64::try_from(*n).map(Value::Int).map_err(|_| overflow()),
        Value::Double(d) if d.is_finite() && *d > i64::MIN as f64 && *d < i64::MAX as f64 => {
            Ok(Value::Int(*d as i64))
        }
        Value::Double(_) => Err(overflow()),
        Value::String(text) => match text.parse() {
            Ok(n) => Ok(Value::Int(n)),
            Err(_) => type_conversion(value, "int"),
        },
        Value::Timestamp(t) => Ok(Value::Int(t.as_second())),
        Value::Duration(d) => i64::try_from(d.as_nanos()).map(Value::Int).map_err(|_| overflow()),
        _ => Err(Failure::no_overload()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the range is checked"
)]
fn uint<'a>(value: &Value<'a>) -> Evaluated<'a> {
    let overflow = || Failure::error("unsigned integer overflow");
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(n) => u64::try_from(*n).map(Value::Uint).map_err(|_| overflow()),
        Value::Double(d) if d.is_finite() && *d >= 0.0 && *d < u64::MAX as f64 => Ok(Value::Uint(*d as u64)),
        Value::Double(_) => Err(overflow()),
        Value::String(text) => match text.parse() {
            Ok(n) => Ok(Value::Uint(n)),
            Err(_) => type_conversion(value, "uint"),
        },
        _ => Err(Failure::no_overload()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "as the conversion is defined")]
fn double<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(n) => Ok(Value::Double(*n as f64)),
        Value::Uint(n) => Ok(Value::Double(*n as f64)),
        Value::String(text) => match text.parse() {
            Ok(n) => Ok(Value::Double(n)),
            Err(_) => type_conversion(value, "double"),
        },
        _ => Err(Failure::no_overload()),
    }
}

fn string<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(Failure::error("invalid UTF-8 in bytes, cannot convert to string")),
        },
        Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Duration(_)
        | Value::Timestamp(_) => Ok(Value::text(shown(value))),
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Ip(ip) => Ok(Value::text(ip.to_string())),
            Opaque::Cidr(cidr) => Ok(Value::text(cidr.to_string())),
            _ => Err(Failure::no_overload()),
        },
        _ => Err(Failure::no_overload()),
    }
}

/// How many values and bytes of a value are shown: parts that are shared are shown again and again.
const MAX_SHOWN: usize = 1 << 20;

/// A value as `string()` and messages show it.
pub(crate) fn shown(value: &Value<'_>) -> String {
    part(value, &mut { MAX_SHOWN })
}

/// The same, of what stands in another, with what may still be written.
fn part(value: &Value<'_>, left: &mut usize) -> String {
    if *left == 0 {
        return "…".into();
    }
    *left -= 1;
    let text = match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Uint(n) => n.to_string(),
        Value::Double(d) => go_double(*d),
        Value::String(text) => text.clone().into_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(d) => format!("{}s", d.as_secs_f64()),
        Value::Timestamp(t) => t.to_string(),
        Value::List(list) => {
            format!("[{}]", list.iter().map(|item| part(&item, left)).collect::<Vec<_>>().join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> =
                map.iter().map(|(k, v)| format!("{}: {}", part(&k, left), part(&v, left))).collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Type(name) => name.clone().into_owned(),
        Value::Optional(None) => "optional.none()".into(),
        Value::Optional(Some(inner)) => format!("optional({})", part(inner, left)),
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Ip(ip) => ip.to_string(),
            Opaque::Cidr(cidr) => cidr.to_string(),
            Opaque::Quantity(quantity) => quantity.to_string(),
            other => format!("{other:?}"),
        },
        Value::Object(map, _) => serde_json::Value::Object((*map).clone()).to_string(),
    };
    if value.is_leaf() || matches!(value, Value::Object(..)) {
        *left = left.saturating_sub(text.len());
    }
    text
}

/// A number as Go's `%g` writes it.
pub(super) fn go_double(d: f64) -> String {
    if d.is_nan() {
        return "NaN".into();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    let scientific = format!("{d:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..21).contains(&exponent) {
        return d.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
