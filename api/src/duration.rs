//! Durations in Go's notation, such as `1h30m`: in flags, queries, schedules and CEL, and in messages that people
//! know. Counterpart: `time.ParseDuration` and `Duration.String`.

use std::time::Duration;

use jiff::SignedDuration;

const UNITS: &[(&str, i128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not look like one, or is longer than any.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number stands alone.
    #[error("time: missing unit in duration {0:?}")]
    NoUnit(String),
    /// A unit is none of those that exist.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    Unit {
        /// The unit.
        unit: String,
        /// The whole.
        text: String,
    },
    /// It is less than nothing where a span is asked for.
    #[error("duration {0:?} is negative")]
    Negative(String),
}

/// Reads a duration: `1h30m`, `-1.5s`, `100ms`, `0`.
pub fn parse(text: &str) -> Result<SignedDuration, ParseError> {
    let invalid = || ParseError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let (whole, tail) = digits(rest);
        let (fraction, tail) = tail.strip_prefix('.').map_or(("", tail), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        if unit.is_empty() {
            return Err(ParseError::NoUnit(text.to_owned()));
        }
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(ParseError::Unit { unit: unit.to_owned(), text: text.to_owned() });
        };
        // 19 digits of nanoseconds are more than the longest duration has, and no sum of them is too much.
        let whole = whole.trim_start_matches('0');
        let whole: i128 = if whole.len() > 19 { return Err(invalid()) } else { whole.parse().unwrap_or(0) };
        nanos += whole * size;
        let mut weight = *size;
        for digit in fraction.bytes() {
            weight /= 10;
            nanos += i128::from(digit - b'0') * weight;
        }
        rest = tail;
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).map_err(|_| invalid())?;
    Ok(SignedDuration::from_nanos(nanos))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Reads a duration that is not negative, as flags have it.
pub fn parse_unsigned(text: &str) -> Result<Duration, ParseError> {
    Duration::try_from(parse(text)?).map_err(|_| ParseError::Negative(text.to_owned()))
}

/// A duration, cut to milliseconds: `250ms`, `1.25s`, `5m0s`.
pub fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
