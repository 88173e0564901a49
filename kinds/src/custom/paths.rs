//! Paths into an object: those that rules and selectable fields name, checked against the schema, and the
//! JSONPath of printer columns, evaluated.

use api::{Message, message};
use serde_json::Value;

use super::schema::Schema;

/// Follows a path such as `.spec.names['a.b']` through a schema. Answers the path as messages write it,
/// without its leading dot, and the schema of what it leads to.
pub fn resolve<'a>(path: &str, schema: &'a Schema, brackets: bool) -> Result<(String, &'a Schema), Message> {
    let mut normal = String::new();
    let mut at = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let (name, tail) = if let Some(tail) = rest.strip_prefix('.') {
            let end = tail.find(['.', '[', ']']).unwrap_or(tail.len());
            if end == 0 {
                return Err("unexpected end of JSON path".into());
            }
            (tail[..end].to_owned(), &tail[end..])
        } else if let Some(tail) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".into());
            }
            quoted(tail)?
        } else {
            return Err(message!("expected [ or . but got: {rest}"));
        };
        rest = tail;
        if !at.properties.is_empty() {
            at = at.properties.get(&name).ok_or("does not refer to a valid field")?;
            if !normal.is_empty() {
                normal.push('.');
            }
            normal.push_str(&name);
        } else if let Some(additional) = at.additional_schema() {
            at = additional;
            normal = format!("{normal}[{name}]");
        } else {
            return Err("does not refer to a valid field".into());
        }
    }
    Ok((normal, at))
}

/// `'name']` and what follows.
fn quoted(text: &str) -> Result<(String, &str), Message> {
    let mut chars = text.char_indices();
    if !matches!(chars.next(), Some((_, '\''))) {
        let end = text.find([']', '.', '[']).unwrap_or(text.len());
        return Err(message!("expected single quoted string but got {}", &text[..end]));
    }
    let mut name = String::new();
    while let Some((i, c)) = chars.next() {
        match c {
            '\'' => {
                let rest = &text[i + 1..];
                let rest = rest.strip_prefix(']').ok_or_else(|| {
                    if rest.is_empty() {
                        "unexpected end of JSON path".to_owned()
                    } else {
                        format!("expected ] but got {rest}")
                    }
                })?;
                return Ok((name, rest));
            }
            '\\' => match chars.next() {
                Some((_, 'n')) => name.push('\n'),
                Some((_, 't')) => name.push('\t'),
                Some((_, c @ ('\'' | '\\'))) => name.push(c),
                Some((_, c)) => return Err(message!("invalid string literal: invalid escape char \\{c}")),
                None => break,
            },
            other => name.push(other),
        }
    }
    Err("unexpected end of JSON path".into())
}

/// One step of a JSONPath.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Child(String),
    /// From the end when negative.
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    All,
    /// `..`: everything below, itself included.
    Descend,
    /// `?(@.path op value)`; without an operator the path must lead somewhere.
    Filter(Vec<Step>, Option<(String, Value)>),
}

/// The longest path that is followed, in bytes. It bounds how deep filters lie in each other, too.
const LONGEST: usize = 1024;
/// How many values a path may lead through.
const VISITS: usize = 100_000;

/// The JSONPath of a printer column.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    ///
    /// # Errors
    /// For what is no path, and for one of more than a kibibyte.
    pub fn parse(text: &str) -> Result<Self, Message> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(message!("must be no longer than {LONGEST} bytes"));
        }
        steps(text).map(Self)
    }

    /// All values the path leads to; none if it leads through too many others.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = Vec::new();
        match (Walk { visits: VISITS }).follow(&self.0, value, &mut found) {
            Some(()) => found,
            None => Vec::new(),
        }
    }
}

fn steps(mut rest: &str) -> Result<Vec<Step>, Message> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("..") {
            found.push(Step::Descend);
            rest = if tail.starts_with('[') || tail.is_empty() { tail } else { name_step(tail, &mut found) };
        } else if let Some(tail) = rest.strip_prefix('.') {
            rest = if tail.is_empty() || tail.starts_with('[') { tail } else { name_step(tail, &mut found) };
        } else if let Some(tail) = rest.strip_prefix('[') {
            let end = closing(tail).ok_or_else(|| format!("unterminated array in {rest:?}"))?;
            found.push(bracket(tail[..end].trim())?);
            rest = &tail[end + 1..];
        } else {
            return Err(message!("unrecognized character in {rest:?}"));
        }
    }
    Ok(found)
}

/// Reads a name (dots in it are written `\.`); answers what follows.
fn name_step<'a>(text: &'a str, found: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => {
                end = i;
                break;
            }
            other => name.push(other),
        }
    }
    found.push(if name == "*" { Step::All } else { Step::Child(name) });
    &text[end..]
}

/// Where the bracket that is open ends, quotes and inner brackets left out.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (_, '\\') => drop(chars.next()),
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(i),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Result<Step, Message> {
    if inner == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(inner) {
        return Ok(Step::Child(name));
    }
    if let Some(condition) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter(condition.trim());
    }
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| message!("invalid array index {inner}"));
    match inner.split_once(':') {
        Some((from, to)) => {
            let bound = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
            Ok(Step::Slice(bound(from)?, bound(to)?))
        }
        None => number(inner).map(Step::Index),
    }
}

fn unquoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    Some(inner.replace("\\'", "'").replace("\\\"", "\"").replace("\\\\", "\\"))
}

fn filter(condition: &str) -> Result<Step, Message> {
    const OPERATORS: &[&str] = &["==", "!=", "<=", ">=", "<", ">"];
    let path = |text: &str| {
        let text = text.trim();
        steps(text.strip_prefix('@').ok_or_else(|| format!("a filter begins with @, not {text:?}"))?)
    };
    for operator in OPERATORS {
        let Some((left, right)) = condition.split_once(operator) else { continue };
        let right = right.trim();
        let value = match unquoted(right) {
            Some(text) => Value::String(text),
            None => serde_json::from_str(right).map_err(|_| format!("unrecognized value {right:?}"))?,
        };
        return Ok(Step::Filter(path(left)?, Some(((*operator).to_owned(), value))));
    }
    Ok(Step::Filter(path(condition)?, None))
}

/// A way along a path, which ends when it has led through too many values: each step below everything multiplies them.
struct Walk {
    /// How many more there may be.
    visits: usize,
}

impl Walk {
    fn follow<'a>(&mut self, steps: &[Step], value: &'a Value, found: &mut Vec<&'a Value>) -> Option<()> {
        let Some((step, rest)) = steps.split_first() else {
            found.push(value);
            return Some(());
        };
        self.next(step, value)?.into_iter().try_for_each(|value| self.follow(rest, value, found))
    }

    /// What one step leads to.
    fn next<'a>(&mut self, step: &Step, value: &'a Value) -> Option<Vec<&'a Value>> {
        let next: Vec<&'a Value> = match step {
            Step::Child(name) => value.get(name).into_iter().collect(),
            Step::Index(i) => {
                value.as_array().and_then(|items| items.get(place(*i, items.len())?)).into_iter().collect()
            }
            Step::Slice(from, to) => value.as_array().map_or_else(Vec::new, |items| {
                let bound = |at: &Option<i64>, or| {
                    at.map_or(Some(or), |at| place(at, items.len())).unwrap_or(items.len())
                };
                let (from, to) = (bound(from, 0), bound(to, items.len()).min(items.len()));
                items.get(from..to.max(from)).unwrap_or_default().iter().collect()
            }),
            Step::All | Step::Filter(..) => members(value),
            Step::Descend => {
                let mut all = vec![value];
                let mut at = 0;
                while at < all.len() && all.len() <= self.visits {
                    all.extend(members(all[at]));
                    at += 1;
                }
                all
            }
        };
        self.visits = self.visits.checked_sub(next.len())?;
        let Step::Filter(path, condition) = step else { return Some(next) };
        let mut kept = Vec::new();
        for item in next {
            if self.holds(item, path, condition.as_ref())? {
                kept.push(item);
            }
        }
        Some(kept)
    }

    fn holds(&mut self, item: &Value, path: &[Step], condition: Option<&(String, Value)>) -> Option<bool> {
        let mut found = Vec::new();
        self.follow(path, item, &mut found)?;
        Some(match condition {
            None => !found.is_empty(),
            Some((operator, wanted)) => found.iter().any(|value| compares(value, operator, wanted)),
        })
    }
}

fn members(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn place(at: i64, length: usize) -> Option<usize> {
    if at < 0 { length.checked_sub(usize::try_from(-at).ok()?) } else { usize::try_from(at).ok() }
}

fn compares(value: &Value, operator: &str, wanted: &Value) -> bool {
    let order = match (value, wanted) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
    };
    match (operator, order) {
        ("!=", order) => order != Some(std::cmp::Ordering::Equal),
        ("==", Some(order)) => order.is_eq(),
        ("<", Some(order)) => order.is_lt(),
        ("<=", Some(order)) => order.is_le(),
        (">", Some(order)) => order.is_gt(),
        (">=", Some(order)) => order.is_ge(),
        _ => false,
    }
}
