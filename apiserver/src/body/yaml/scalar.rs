//! What a scalar is, by its tag and its text: the rules of YAML 1.1, as far as Go's `yaml.v2` keeps them.
//!
//! Numbers to the base of 60 and times are strings. Counterpart: `go.yaml.in/yaml/v2/resolve.go`.

use api::{Message, field::cut, message};
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What a scalar is.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// One that is too large for the former.
    Uint(u64),
    Float(f64),
    Text(String),
}

const TAGS: &str = "tag:yaml.org,2002:";
/// How much is shown of a text.
const SHOWN: usize = 256;

/// What a text with a tag (or "") is.
///
/// # Errors
/// When it is not what its tag says.
pub fn resolve(tag: &str, text: &str) -> Result<Scalar, Message> {
    let short = tag.strip_prefix(TAGS);
    let found = match short {
        Some("binary") => return binary(text).map(Scalar::Text),
        Some("str") => return Ok(Scalar::Text(text.to_owned())),
        Some("bool" | "int" | "float" | "null" | "timestamp") => plain(text),
        None if tag.is_empty() => plain(text),
        // Of others nothing is known.
        _ => return Ok(Scalar::Text(text.to_owned())),
    };
    let (kind, found) = match (short, found) {
        (Some("float"), Scalar::Int(number)) => {
            #[expect(clippy::cast_precision_loss, reason = "as Go does")]
            let number = number as f64;
            ("float", Scalar::Float(number))
        }
        (Some("timestamp"), Scalar::Text(text)) if is_time(&text) => ("timestamp", Scalar::Text(text)),
        (_, found) => (found.tag(), found),
    };
    match short {
        Some(wanted) if wanted != kind => {
            Err(message!("yaml: cannot decode !!{kind} `{}` as a !!{wanted}", cut(text, SHOWN)))
        }
        _ => Ok(found),
    }
}

impl Scalar {
    fn tag(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::Uint(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
        }
    }
}

/// What a text without a tag is.
fn plain(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or_else(|| Scalar::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Scalar> {
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'+' | b'-' | b'0'..=b'9' => {
            let digits = text.replace('_', "");
            let unsigned = digits.strip_prefix('+').unwrap_or(&digits);
            integer(&digits).or_else(|| float(&digits)).or_else(|| {
                // The digits of a binary number may have a sign of their own.
                let number = i64::from_str_radix(unsigned.strip_prefix("0b")?, 2).ok()?;
                (unsigned == digits).then_some(Scalar::Int(number))
            })
        }
        _ => None,
    }
}

/// An integer with a sign and a prefix for its base, as `strconv.ParseInt` reads it.
fn integer(text: &str) -> Option<Scalar> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = sign * i128::from(u64::from_str_radix(digits, base).ok()?);
    let has_sign = digits.len() < text.len() && text.starts_with(['+', '-']);
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Some(Scalar::Int(number)),
        (_, Ok(number)) if !has_sign => Some(Scalar::Uint(number)),
        _ => None,
    }
}

/// A number with a point or an exponent that is not beyond all numbers.
fn float(text: &str) -> Option<Scalar> {
    let fits = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = text.parse().ok().filter(|_| fits)?;
    number.is_finite().then_some(Scalar::Float(number))
}

fn binary(text: &str) -> Result<String, Message> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = BASE64_STANDARD.decode(text);
    let bytes = bytes.map_err(|_| "yaml: !!binary value contains invalid base64 data".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `2001-12-14`, with a time of the day or without.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 5
        && bytes.len() < 64
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5..].iter().all(|b| b.is_ascii_digit() || b"-:.TtZ+ ".contains(b))
}

/// What JSON has no number for, in Go's words.
pub fn odd(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        _ => "NaN",
    }
}

/// A number as it stands in keys: as short as tells it from others of half the precision.
#[expect(clippy::cast_possible_truncation, reason = "as Go does")]
pub fn shown(number: f64) -> String {
    let short = number as f32;
    let size = short.abs();
    if number.is_nan() {
        ".nan".into()
    } else if short.is_infinite() {
        if short > 0.0 { ".inf" } else { "-.inf" }.into()
    } else if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{short:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
        format!("{digits}e{sign}{exponent:0>2}")
    } else {
        short.to_string()
    }
}
