//! Texts: CEL's own functions, the strings extension (version 2), and Kubernetes' regular expressions.

use super::convert::{go_double, shown};
use crate::pattern;
use crate::value::{Evaluated, Failure, List, Value};

pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let (Value::String(text), rest) = args.split_first()? else { return None };
    Some(match (name, rest) {
        ("contains", [Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
        ("startsWith", [Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        ("endsWith", [Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        ("matches", [Value::String(expression)]) => {
            regex(expression).map(|regex| Value::Bool(regex.is_match(text)))
        }
        ("find", [Value::String(expression)]) => {
            regex(expression).map(|regex| Value::text(regex.find(text).map_or("", |m| m.as_str())))
        }
        ("findAll", [Value::String(expression), limit @ ..]) => find_all(text, expression, limit),
        ("charAt", [Value::Int(at)]) => char_at(text, *at),
        ("indexOf", [Value::String(part), offset @ ..]) => index_of(text, part, offset, false),
        ("lastIndexOf", [Value::String(part), offset @ ..]) => index_of(text, part, offset, true),
        ("lowerAscii", []) => Ok(Value::text(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::text(text.to_ascii_uppercase())),
        ("trim", []) => Ok(Value::text(text.trim())),
        ("replace", [Value::String(from), Value::String(to)]) => Ok(Value::text(text.replace(&**from, to))),
        ("replace", [Value::String(from), Value::String(to), Value::Int(most)]) => {
            Ok(Value::text(match usize::try_from(*most) {
                Ok(most) => text.replacen(&**from, to, most),
                Err(_) => text.replace(&**from, to),
            }))
        }
        ("split", [Value::String(separator)]) => Ok(split(text, separator, -1)),
        ("split", [Value::String(separator), Value::Int(most)]) => Ok(split(text, separator, *most)),
        ("substring", [Value::Int(start)]) => substring(text, *start, None),
        ("substring", [Value::Int(start), Value::Int(end)]) => substring(text, *start, Some(*end)),
        ("jsonpatch.escapeKey", []) => Ok(Value::text(text.replace('~', "~0").replace('/', "~1"))),
        ("strings.quote", []) => Ok(Value::text(quote(text))),
        ("format", [Value::List(list)]) => format_text(text, list),
        ("size", []) => Ok(Value::Int(text.chars().count() as i64)),
        _ => return None,
    })
}

fn regex(expression: &str) -> Result<regex::Regex, Failure> {
    pattern::cached(expression).map_err(|e| Failure::error(format!("error parsing regexp: {e}")))
}

fn find_all<'a>(text: &str, expression: &str, limit: &[Value<'a>]) -> Evaluated<'a> {
    let most = match limit {
        [] => usize::MAX,
        [Value::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => return Err(Failure::no_overload()),
    };
    let regex = regex(expression)?;
    Ok(Value::List(List::made(regex.find_iter(text).take(most).map(|m| Value::text(m.as_str())).collect())))
}

fn out_of_range(at: i64) -> Failure {
    Failure::error(format!("index out of range: {at}"))
}

fn char_at<'a>(text: &str, at: i64) -> Evaluated<'a> {
    let place = usize::try_from(at).map_err(|_| out_of_range(at))?;
    match text.chars().nth(place) {
        Some(c) => Ok(Value::text(c)),
        None if place == text.chars().count() => Ok(Value::text("")),
        None => Err(out_of_range(at)),
    }
}

fn index_of<'a>(text: &str, part: &str, offset: &[Value<'a>], last: bool) -> Evaluated<'a> {
    let chars: Vec<char> = text.chars().collect();
    let part: Vec<char> = part.chars().collect();
    let offset = match offset {
        [] if last => chars.len(),
        [] => 0,
        [Value::Int(n)] => {
            usize::try_from(*n).ok().filter(|n| *n <= chars.len()).ok_or_else(|| out_of_range(*n))?
        }
        _ => return Err(Failure::no_overload()),
    };
    let found = |at: &usize| chars[*at..].starts_with(&part);
    let end = chars.len();
    let at = if last { (0..=offset.min(end)).rev().find(found) } else { (offset..=end).find(found) };
    Ok(Value::Int(at.map_or(-1, |at| at as i64)))
}

fn split<'a>(text: &str, separator: &str, most: i64) -> Value<'a> {
    let parts: Vec<String> = match usize::try_from(most) {
        Ok(0) => Vec::new(),
        Ok(most) if separator.is_empty() => {
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let (single, rest) = chars.split_at(chars.len().min(most - 1));
            let rest = (!rest.is_empty()).then(|| rest.concat());
            single.iter().cloned().chain(rest).collect()
        }
        Ok(most) => text.splitn(most, separator).map(str::to_owned).collect(),
        Err(_) if separator.is_empty() => text.chars().map(String::from).collect(),
        Err(_) => text.split(separator).map(str::to_owned).collect(),
    };
    Value::List(List::made(parts.into_iter().map(Value::text).collect()))
}

fn substring<'a>(text: &str, start: i64, end: Option<i64>) -> Evaluated<'a> {
    let length = text.chars().count();
    let place = |at: i64| usize::try_from(at).ok().filter(|at| *at <= length).ok_or_else(|| out_of_range(at));
    let from = place(start)?;
    let to = end.map_or(Ok(length), place)?;
    if to < from {
        return Err(Failure::error(format!("invalid substring range. start: {from}, end: {to}")));
    }
    Ok(Value::text(text.chars().skip(from).take(to - from).collect::<String>()))
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// `'%s is %d'.format([…])`
fn format_text<'a>(template: &str, args: &List<'a>) -> Evaluated<'a> {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(digit) = chars.peek().filter(|c| c.is_ascii_digit()) {
                digits.push(*digit);
                chars.next();
            }
            let wanted: usize = digits
                .parse()
                .ok()
                .filter(|n| *n <= 1000)
                .ok_or_else(|| Failure::error("error while converting precision to integer"))?;
            precision = Some(wanted);
        }
        let clause = chars.next().ok_or_else(|| Failure::error("unexpected end of string"))?;
        let value = args.get(next).ok_or_else(|| Failure::error(format!("index {next} out of range")))?;
        next += 1;
        out += &clause_text(clause, precision, &value)?;
    }
    Ok(Value::text(out))
}

fn clause_text(clause: char, precision: Option<usize>, value: &Value<'_>) -> Result<String, Failure> {
    let unfit = || {
        Failure::error(format!(
            "error during formatting: {} clause cannot be used on {}",
            match clause {
                'd' => "decimal",
                'f' => "fixed-point",
                'e' => "scientific",
                'b' => "binary",
                'o' => "octal",
                _ => "hex",
            },
            value.type_name()
        ))
    };
    #[expect(clippy::cast_precision_loss, reason = "as the conversion is defined")]
    let double = || match value {
        Value::Double(d) => Ok(*d),
        Value::Int(n) => Ok(*n as f64),
        Value::Uint(n) => Ok(*n as f64),
        _ => Err(unfit()),
    };
    let signed = |n: i64, magnitude: String| if n < 0 { format!("-{magnitude}") } else { magnitude };
    Ok(match (clause, value) {
        ('s', value) => shown(value),
        ('d', Value::Int(_) | Value::Uint(_)) => shown(value),
        ('d', Value::Double(d)) => go_double(*d),
        ('f', _) => format!("{:.*}", precision.unwrap_or(6), double()?),
        ('e', _) => {
            let text = format!("{:.*e}", precision.unwrap_or(6), double()?);
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let exponent: i32 = exponent.parse().unwrap_or(0);
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
        ('b', Value::Bool(b)) => u8::from(*b).to_string(),
        ('b', Value::Int(n)) => signed(*n, format!("{:b}", n.unsigned_abs())),
        ('b', Value::Uint(n)) => format!("{n:b}"),
        ('o', Value::Int(n)) => signed(*n, format!("{:o}", n.unsigned_abs())),
        ('o', Value::Uint(n)) => format!("{n:o}"),
        ('x' | 'X', value) => {
            let hex = match value {
                Value::Int(n) => signed(*n, format!("{:x}", n.unsigned_abs())),
                Value::Uint(n) => format!("{n:x}"),
                Value::String(text) => hex(text.as_bytes()),
                Value::Bytes(bytes) => hex(bytes),
                _ => return Err(unfit()),
            };
            if clause == 'X' { hex.to_uppercase() } else { hex }
        }
        ('d' | 'b' | 'o', _) => return Err(unfit()),
        _ => return Err(Failure::error(format!("unrecognized formatting clause \"{clause}\""))),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
