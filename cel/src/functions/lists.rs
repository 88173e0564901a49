//! Lists, maps and sets.

use std::cmp::Ordering;

use super::{arithmetic, compare};
use crate::{
    ast::Operator,
    value::{Evaluated, Failure, List, Value},
};

pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    Some(match (name, args) {
        ("size", [value @ (Value::List(_) | Value::Map(_) | Value::Object(..) | Value::Bytes(_))]) => {
            Ok(Value::Int(value.size().cast_signed()))
        }
        ("isSorted", [Value::List(list)]) => is_sorted(list),
        ("sum", [Value::List(list)]) => sum(list),
        ("min", [Value::List(list)]) => extreme(list, "min", Ordering::Less),
        ("max", [Value::List(list)]) => extreme(list, "max", Ordering::Greater),
        ("indexOf", [Value::List(list), wanted]) => Ok(place(list.iter().position(|item| item == *wanted))),
        ("lastIndexOf", [Value::List(list), wanted]) => {
            let last = (0..list.len()).rev().find(|at| list.get(*at).as_ref() == Some(wanted));
            Ok(place(last))
        }
        ("join", [Value::List(list)]) => join(list, ""),
        ("join", [Value::List(list), Value::String(separator)]) => join(list, separator),
        ("sets.contains", [Value::List(list), Value::List(part)]) => {
            Ok(Value::Bool(part.iter().all(|item| list.contains(&item))))
        }
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => {
            Ok(Value::Bool(a.iter().all(|item| b.contains(&item)) && b.iter().all(|item| a.contains(&item))))
        }
        ("sets.intersects", [Value::List(a), Value::List(b)]) => {
            Ok(Value::Bool(a.iter().any(|item| b.contains(&item))))
        }
        _ => return None,
    })
}

fn place<'a>(at: Option<usize>) -> Value<'a> {
    Value::Int(at.map_or(-1, |at| at as i64))
}

fn is_sorted<'a>(list: &List<'a>) -> Evaluated<'a> {
    let mut previous: Option<Value<'a>> = None;
    for item in list.iter() {
        if let Some(previous) = &previous {
            match compare(previous, &item) {
                Some(Ordering::Greater) => return Ok(Value::Bool(false)),
                Some(_) => {}
                None => return Err(Failure::no_overload()),
            }
        }
        previous = Some(item);
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(list: &List<'a>) -> Evaluated<'a> {
    let mut items = list.iter();
    let Some(first) = items.next() else { return Ok(Value::Int(0)) };
    items.try_fold(first, |sum, item| arithmetic(Operator::Add, &sum, &item))
}

fn extreme<'a>(list: &List<'a>, name: &str, wanted: Ordering) -> Evaluated<'a> {
    let mut items = list.iter();
    let first = items.next().ok_or_else(|| Failure::error(format!("{name} called on empty list")))?;
    items.try_fold(first, |best, item| match compare(&item, &best) {
        Some(order) if order == wanted => Ok(item),
        Some(_) => Ok(best),
        None => Err(Failure::no_overload()),
    })
}

fn join<'a>(list: &List<'a>, separator: &str) -> Evaluated<'a> {
    let mut out = String::new();
    for (i, item) in list.iter().enumerate() {
        let Value::String(text) = item else { return Err(Failure::no_overload()) };
        if i > 0 {
            out.push_str(separator);
        }
        out.push_str(&text);
    }
    Ok(Value::text(out))
}
