//! What the parts of an evaluation cost, as `cel-go` and Kubernetes count it.

use serde_json::Value as Json;

use super::{
    ast::{Expr, How, Kind, Operator},
    library::SORT_BY,
    value::{Opaque, Value},
};

/// A name.
pub(super) const NAME: u64 = 1;
/// Making a list.
pub(super) const LIST: u64 = 10;
/// Making a message.
pub(super) const MESSAGE: u64 = 40;
/// Making a map.
pub(super) const MAP: u64 = 30;
/// How many items or entries a list or map may be written with for that.
const WRITTEN: usize = 16;
/// Adding an item to the list that a macro makes: a name, a list of one, an addition.
pub(super) const APPEND: u64 = 2 + LIST;
/// Adding an entry to the map that a macro makes: two names and a call.
pub(super) const INSERT: u64 = 3;
/// Going over a text, for each character.
pub(super) const TRAVERSAL: f64 = 0.1;
/// A regular expression, for each of its characters.
pub(super) const REGEX: f64 = 0.25;
/// The longest regular expression behind a named format.
pub(super) const FORMAT_REGEX: u64 = 128;

/// Asking who may do what.
const ACCESS: u64 = 350_000;

/// A size times a factor, rounded up.
pub(super) fn scale(size: u64, factor: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "casts from floating point saturate"
    )]
    {
        (size as f64 * factor).ceil() as u64
    }
}

/// A step into a value: one that has no name is a place of its own.
pub(super) fn of_step(of: &Expr) -> u64 {
    match &of.kind {
        Kind::Ident(_) | Kind::Select { .. } | Kind::Index { .. } => 1,
        _ => 2,
    }
}

/// Whether `cel-go` makes a call before it evaluates anything.
pub(super) fn is_constant_call(name: &str, args: &[Expr]) -> bool {
    const CONVERSIONS: &[&str] =
        &["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "uint"];
    CONVERSIONS.contains(&name) && matches!(args, [only] if matches!(only.kind, Kind::Literal(_)))
}

/// What is written as a list or map, at what an empty one costs. To `cel-go` all cost the same; making a long one is
/// work, which is paid for.
pub(super) fn of_written(empty: u64, length: usize) -> u64 {
    empty + length.saturating_sub(WRITTEN) as u64
}

/// Before the first item of a macro, as it is estimated: what is made begins as a constant.
pub(super) fn fold_start(how: How) -> u64 {
    match how {
        How::All | How::Exists | How::ExistsOne => 0,
        How::Map | How::Filter => LIST,
        How::TransformMap | How::TransformMapEntry => MAP,
    }
}

/// Finding out before each item whether to go on.
pub(super) fn fold_check(how: How) -> u64 {
    match how {
        How::All => 2,
        How::Exists => 3,
        _ => 0,
    }
}

/// After the last item.
pub(super) fn fold_end(how: How) -> u64 {
    if how == How::ExistsOne { 2 } else { 1 }
}

/// An operator, of which no more is counted than `limit`.
pub(super) fn of_operator(operator: Operator, left: &Value<'_>, right: &Value<'_>, limit: u64) -> u64 {
    let texts = matches!(left, Value::String(_) | Value::Bytes(_));
    match operator {
        Operator::Equal | Operator::NotEqual if matches!(left, Value::Opaque(_)) => 1,
        Operator::Equal | Operator::NotEqual => {
            scale(left.size().min(right.size()), TRAVERSAL).max(comparison(left, right, limit))
        }
        Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual if texts => {
            scale(left.size().min(right.size()), TRAVERSAL)
        }
        Operator::Add if texts => scale(left.size() + right.size(), TRAVERSAL),
        // `cel-go` looks at both when it is asked for their items; here they are put together.
        Operator::Add => match (left, right) {
            (Value::List(left), Value::List(right)) => ((left.len() + right.len()) as u64 / 10).max(1),
            _ => 1,
        },
        Operator::In => match right {
            // Each item is compared.
            Value::List(list) if !left.is_leaf() => {
                list.iter().fold(right.size(), |sum, item| sum.saturating_add(comparison(left, &item, limit)))
            }
            Value::List(_) => right.size(),
            _ => 1,
        },
        _ => 1,
    }
}

/// A call, which is paid for before it is made; no more is counted than `limit`.
pub(super) fn of_call(name: &str, args: &[Value<'_>], limit: u64) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Value::size);
    let text = |at: usize| scale(size(at), TRAVERSAL);
    match name {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            match walking(args.first(), limit) {
                much if much > limit => much,
                much => args.first().map_or(0, traversal).max(much),
            }
        }
        "slice" | "reverse" | "flatten" => {
            let [depth, count] = match (name, args) {
                ("flatten", [_, Value::Int(depth)]) => [u64::try_from(*depth).unwrap_or(0), size(0)],
                ("slice", [_, Value::Int(from), Value::Int(to)]) => {
                    [1, u64::try_from(to.saturating_sub(*from)).unwrap_or(0)]
                }
                _ => [1, size(0)],
            };
            let made = if name == "flatten" { walking(args.first(), limit) } else { 0 };
            made_list(depth.saturating_mul(count).max(made))
        }
        "lists.range" => match args {
            [Value::Int(count)] => made_list(u64::try_from(*count).unwrap_or(0)),
            _ => 1,
        },
        "distinct" | "sort" => self_compared(args.first(), limit),
        SORT_BY => self_compared(args.get(1), limit),
        "unwrapOpt" | "optional.unwrap" => (size(0) / 10).max(1),
        // As `cel-go` has it: two for each expression.
        "check" => ACCESS,
        "fieldSelector" | "labelSelector" => LIST + scale(size(1), TRAVERSAL) + scale(size(1), 0.5),
        "jsonpatch.escapeKey" | "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" => text(0),
        "replace" | "split" => scale(size(0), 2.0 * TRAVERSAL),
        "join" => scale(joined(args), 2.0 * TRAVERSAL),
        "matches" | "find" | "findAll" => scale(size(0) + 1, TRAVERSAL).saturating_mul(scale(size(1), REGEX)),
        "validate" => scale(size(1) + 1, TRAVERSAL).saturating_mul(scale(regex_of(args.first()), REGEX)),
        "contains" => text(0).saturating_mul(text(1)),
        // As `cel-go` has it: the text that is looked at.
        "startsWith" | "endsWith" => text(0).max(text(1)),
        "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => text(0),
        "ip" if matches!(args, [Value::String(_)]) => text(0),
        "ip.isCanonical" => text(0).saturating_mul(2),
        "containsIP" | "containsCIDR" => contains(name, args),
        "sets.contains" | "sets.intersects" => of_sets(args, limit).saturating_add(1),
        "sets.equivalent" => of_sets(args, limit).saturating_mul(2).saturating_add(1),
        "string" if matches!(args, [Value::Bytes(_)]) => text(0),
        "bytes" if matches!(args, [Value::String(_)]) => text(0),
        "format" | "strings.quote" => text(0).max(1).max(walking(args.get(1), limit)),
        _ => 1,
    }
}

/// How long the regular expression behind a format is taken to be.
fn regex_of(format: Option<&Value<'_>>) -> u64 {
    let Some(Value::Opaque(format)) = format else { return FORMAT_REGEX };
    match &**format {
        Opaque::Format("dns1123Label" | "dns1035Label" | "dns1123LabelPrefix" | "dns1035LabelPrefix") => 30,
        Opaque::Format("dns1123Subdomain" | "dns1123SubdomainPrefix" | "qualifiedName") => 60,
        Opaque::Format("labelValue") => 40,
        _ => FORMAT_REGEX,
    }
}

/// A call that makes a list.
fn made_list(work: u64) -> u64 {
    work.saturating_add(1 + LIST)
}

/// Comparing all items of a list with one another.
fn self_compared(list: Option<&Value<'_>>, limit: u64) -> u64 {
    let Some(Value::List(list)) = list else { return made_list(0) };
    let size = list.len() as u64;
    let texts = matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_)));
    let pairs = size.saturating_mul(size);
    let work = pairs.saturating_mul(2).saturating_add(if texts { pairs / 10 } else { 0 });
    // Each item may be large.
    let walked = list.iter().fold(0, |sum: u64, item| sum.saturating_add(walking(Some(&item), limit)));
    made_list(work.max(walked.saturating_mul(size)))
}

/// Comparing all items of one list with all of another.
fn of_sets(args: &[Value<'_>], limit: u64) -> u64 {
    let [one, other, ..] = args else { return 1 };
    let all = |of: &Value<'_>, with: &Value<'_>| walking(Some(of), limit).saturating_mul(with.size());
    one.size().saturating_mul(other.size()).max(all(one, other).min(all(other, one)))
}

/// How long the joined texts are.
fn joined(args: &[Value<'_>]) -> u64 {
    let Some(Value::List(list)) = args.first() else { return 1 };
    let separators = args.get(1).map_or(0, Value::size) * (list.len() as u64).saturating_sub(1);
    list.iter().map(|item| item.size()).sum::<u64>() + separators
}

fn contains(name: &str, args: &[Value<'_>]) -> u64 {
    let bytes = match args.first() {
        Some(Value::Opaque(opaque)) => match &**opaque {
            Opaque::Cidr(ipnet::IpNet::V6(_)) => 16,
            _ => 4,
        },
        _ => 4,
    };
    let parse = match args.get(1) {
        Some(text @ Value::String(_)) => scale(text.size(), TRAVERSAL),
        _ => 0,
    };
    let mask = if name == "containsCIDR" { scale(bytes, TRAVERSAL) + 1 } else { 0 };
    scale(2 * bytes, TRAVERSAL) + mask + parse
}

/// Going through a value as a tree.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "sizes of requests are small"
        )]
        Value::String(_) | Value::Bytes(_) => (value.size() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list.iter().map(|item| traversal(&item)).sum(),
        Value::Map(map) => map.iter().map(|(k, v)| traversal(&k) + traversal(&v)).sum(),
        _ => 1,
    }
}

/// What comparing two values takes, as far as `limit`: the smaller decides. `cel-go` counts what is on top alone.
fn comparison(left: &Value<'_>, right: &Value<'_>, limit: u64) -> u64 {
    let mut most = 1 << 10;
    loop {
        let least = weight(left, most).min(weight(right, most));
        if least < most || least / 10 > limit {
            return least / 10;
        }
        most = most.saturating_mul(8);
    }
}

/// How much there is in a value, at all depths, counted no further than `most`: parts that are shared count each time.
fn weight(value: &Value<'_>, most: u64) -> u64 {
    let mut left = most;
    walk(value, &mut left);
    most - left
}

/// What going through a value takes, counted as far as `limit`.
fn walking(value: Option<&Value<'_>>, limit: u64) -> u64 {
    value.map_or(0, |value| weight(value, limit.saturating_add(1).saturating_mul(10)) / 10)
}

/// Counts down; answers whether anything is left.
fn walk(value: &Value<'_>, left: &mut u64) -> bool {
    let text = match value {
        Value::String(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        _ => 0,
    };
    *left = left.saturating_sub(1 + text as u64 / 10);
    *left > 0
        && match value {
            Value::List(list) => list.iter().all(|item| walk(&item, left)),
            Value::Map(map) => map.iter().all(|(_, value)| walk(&value, left)),
            Value::Object(map, _) => map.values().all(|value| walk_json(value, left)),
            Value::Optional(Some(inner)) => walk(inner, left),
            _ => true,
        }
}

fn walk_json(value: &Json, left: &mut u64) -> bool {
    *left = left.saturating_sub(1 + value.as_str().map_or(0, str::len) as u64 / 10);
    *left > 0
        && match value {
            Json::Array(items) => items.iter().all(|item| walk_json(item, left)),
            Json::Object(map) => map.values().all(|value| walk_json(value, left)),
            _ => true,
        }
}
