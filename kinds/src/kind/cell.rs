//! Cells that nearly all kinds print.

use jiff::Timestamp;
use serde_json::Value;

use api::object::ObjectExt;

/// Time since `metadata.creationTimestamp`, e.g. `5m10s`; `<unknown>` without one.
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(object.meta_str("creationTimestamp"), now)
}

/// Time since an RFC 3339 time stamp in kubectl's short form; `<unknown>` for anything else.
pub fn since(stamp: &str, now: Timestamp) -> Value {
    match stamp.parse::<Timestamp>() {
        Ok(t) => human_duration(now.as_second() - t.as_second()).into(),
        Err(_) => "<unknown>".into(),
    }
}

/// A duration in seconds with at most two units, as upstream's `duration.HumanDuration` prints it.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_unit: char, small: i64, small_unit: char| {
        if small == 0 { format!("{big}{big_unit}") } else { format!("{big}{big_unit}{small}{small_unit}") }
    };
    match seconds {
        ..-1 => "<invalid>".into(),
        -1..0 => "0s".into(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, 'h', s / MINUTE % 60, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, 'd', s / HOUR % 24, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, 'y', s / DAY % 365, 'd'),
        s => format!("{}y", s / YEAR),
    }
}
