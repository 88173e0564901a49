//! Lists, maps and sets.

use std::cmp::Ordering;

use super::{arithmetic, compare};
use crate::{
    ast::Operator,
    library::SORT_BY,
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
        ("distinct", [Value::List(list)]) => Ok(distinct(list)),
        ("flatten", [Value::List(list)]) => flatten(list, 1),
        ("flatten", [Value::List(list), Value::Int(depth)]) => flatten(list, *depth),
        ("slice", [Value::List(list), Value::Int(from), Value::Int(to)]) => slice(list, *from, *to),
        ("sort", [Value::List(list)]) => sort(list, list),
        (SORT_BY, [Value::List(list), Value::List(keys)]) => sort(list, keys),
        ("reverse", [Value::List(list)]) => {
            let mut items: Vec<_> = list.iter().collect();
            items.reverse();
            Ok(Value::List(List::made(items)))
        }
        ("first", [Value::List(list)]) => Ok(list.get(0).map_or(Value::Optional(None), Value::some)),
        ("last", [Value::List(list)]) => {
            let last = list.len().checked_sub(1).and_then(|last| list.get(last));
            Ok(last.map_or(Value::Optional(None), Value::some))
        }
        ("lists.range", [Value::Int(count)]) => {
            Ok(Value::List(List::made((0..*count).map(Value::Int).collect())))
        }
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => unwrap(list),
        _ => return None,
    })
}

fn distinct<'a>(list: &List<'a>) -> Value<'a> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in list.iter() {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    Value::List(List::made(kept))
}

/// The items of lists in a list, `depth` levels down.
fn flatten<'a>(list: &List<'a>, depth: i64) -> Evaluated<'a> {
    let below = match depth {
        ..0 => return Err(Failure::error("level must be non-negative")),
        0 => return Ok(Value::List(list.clone())),
        _ => depth - 1,
    };
    let mut items = Vec::new();
    for item in list.iter() {
        match item {
            Value::List(inner) => {
                let Value::List(inner) = flatten(&inner, below)? else { return Err(Failure::no_overload()) };
                items.extend(inner.iter());
            }
            other => items.push(other),
        }
    }
    Ok(Value::List(List::made(items)))
}

fn slice<'a>(list: &List<'a>, from: i64, to: i64) -> Evaluated<'a> {
    let why = |why: &str| Err(Failure::error(format!("cannot slice({from}, {to}), {why}")));
    let (Ok(start), Ok(end)) = (usize::try_from(from), usize::try_from(to)) else {
        return why("negative indexes not supported");
    };
    if start > end {
        return why("start index must be less than or equal to end index");
    }
    if list.len() < end {
        return why(&format!("list is length {}", list.len()));
    }
    Ok(Value::List(List::made((start..end).filter_map(|at| list.get(at)).collect())))
}

/// A list in the order of its keys.
fn sort<'a>(list: &List<'a>, keys: &List<'a>) -> Evaluated<'a> {
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.iter().zip(list.iter()).collect();
    let kinds: Vec<_> = pairs.iter().map(|(key, _)| key.type_name()).collect();
    if let [first, rest @ ..] = &kinds[..]
        && rest.iter().any(|kind| kind != first)
    {
        return Err(Failure::error("list elements must have the same type"));
    }
    if pairs.iter().any(|(key, _)| compare(key, key).is_none()) {
        return Err(Failure::error("list elements must be comparable"));
    }
    pairs.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(Value::List(List::made(pairs.into_iter().map(|(_, item)| item).collect())))
}

/// What is in the optionals of a list that are not empty.
fn unwrap<'a>(list: &List<'a>) -> Evaluated<'a> {
    let items = list.iter().map(|item| match item {
        Value::Optional(inner) => Ok(inner.map(|inner| (*inner).clone())),
        _ => Err(Failure::no_overload()),
    });
    let items = items.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    Ok(Value::List(List::made(items)))
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
