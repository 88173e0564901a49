//! What operators and functions do.
//!
//! Arguments have been checked where their types are known; those of type `dyn` are found out here, and what
//! no function takes is "no such overload". A function of a target has it as its first argument.

mod convert;
mod format;
mod lists;
mod net;
pub(super) mod semver;
mod strings;
mod time;
pub(super) mod url;

use std::cmp::Ordering;

use super::{
    ast::Operator,
    value::{Evaluated, Failure, Opaque, Value, compare_numbers},
};

pub(super) use convert::shown;

/// Carries out a function.
pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Evaluated<'a> {
    let found = match args {
        [Value::Opaque(opaque), rest @ ..] if name != "string" && name != "type" && name != "dyn" => {
            opaque_call(opaque, name, rest)
        }
        _ => convert::call(name, args)
            .or_else(|| strings::call(name, args))
            .or_else(|| lists::call(name, args))
            .or_else(|| net::call(name, args))
            .or_else(|| time::call(name, args))
            .or_else(|| optional_call(name, args)),
    };
    found.unwrap_or_else(|| Err(Failure::no_overload()))
}

fn opaque_call<'a>(opaque: &Opaque, name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    match opaque {
        Opaque::Url(url) => url.call(name, args),
        Opaque::Ip(ip) => net::ip_call(ip, name, args),
        Opaque::Cidr(cidr) => net::cidr_call(cidr, name, args),
        Opaque::Quantity(quantity) => net::quantity_call(quantity, name, args),
        Opaque::Format(format) => format::call(format, name, args),
        Opaque::Semver(version) => version.call(name, args),
        Opaque::Access(access) => access.call(name, args),
        Opaque::Decision(decision) => decision.call(name, args),
    }
    .or_else(|| optional_call(name, &[]))
}

fn optional_call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    Some(match (name, args) {
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.ofNonZeroValue", [value]) if value.is_zero() => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(Value::some(value.clone())),
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("hasValue", [Value::Optional(inner)]) => Ok(Value::Bool(inner.is_some())),
        ("value", [Value::Optional(inner)]) => match inner {
            Some(value) => Ok((**value).clone()),
            None => Err(Failure::error("optional.none() dereference")),
        },
        _ => return None,
    })
}

/// `-x`
pub(super) fn negate<'a>(value: &Value<'a>) -> Evaluated<'a> {
    match value {
        Value::Int(n) => n.checked_neg().map(Value::Int).ok_or_else(overflow),
        Value::Double(n) => Ok(Value::Double(-n)),
        _ => Err(Failure::no_overload()),
    }
}

fn overflow() -> Failure {
    Failure::error("integer overflow")
}

/// The order of two values of types that have one.
pub(super) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        _ => compare_numbers(a, b),
    }
}

/// `+`, `-`, `*`, `/`, `%`.
pub(super) fn arithmetic<'a>(operator: Operator, a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => integers(operator, *a, *b),
        (Value::Uint(a), Value::Uint(b)) => unsigned(operator, *a, *b),
        (Value::Double(a), Value::Double(b)) => match operator {
            Operator::Add => Ok(Value::Double(a + b)),
            Operator::Subtract => Ok(Value::Double(a - b)),
            Operator::Multiply => Ok(Value::Double(a * b)),
            Operator::Divide => Ok(Value::Double(a / b)),
            _ => Err(Failure::no_overload()),
        },
        (Value::String(a), Value::String(b)) if operator == Operator::Add => {
            Ok(Value::text(format!("{a}{b}")))
        }
        (Value::Bytes(a), Value::Bytes(b)) if operator == Operator::Add => {
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) if operator == Operator::Add => Ok(Value::List(a.concat(b))),
        _ => time::arithmetic(operator, a, b),
    }
}

/// Arithmetic of whole numbers: nothing where the result does not fit.
macro_rules! whole {
    ($operator:ident, $a:ident, $b:ident) => {
        match $operator {
            Operator::Add => $a.checked_add($b),
            Operator::Subtract => $a.checked_sub($b),
            Operator::Multiply => $a.checked_mul($b),
            Operator::Divide if $b == 0 => return Err(Failure::error("division by zero")),
            Operator::Modulo if $b == 0 => return Err(Failure::error("modulus by zero")),
            Operator::Divide => $a.checked_div($b),
            Operator::Modulo => $a.checked_rem($b),
            _ => return Err(Failure::no_overload()),
        }
    };
}

fn integers<'a>(operator: Operator, a: i64, b: i64) -> Evaluated<'a> {
    whole!(operator, a, b).map(Value::Int).ok_or_else(overflow)
}

fn unsigned<'a>(operator: Operator, a: u64, b: u64) -> Evaluated<'a> {
    whole!(operator, a, b).map(Value::Uint).ok_or_else(|| Failure::error("unsigned integer overflow"))
}
