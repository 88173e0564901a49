//! When a CronJob is due: what has been missed, and when to look again. Upstream: `mostRecentScheduleTime`,
//! `nextScheduleTimeDuration`.

use api::Message;
use std::time::Duration;

use api::schedule::{self, Schedule};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::jiff::SignedDuration;
use k8s_openapi::jiff::tz::TimeZone;

use crate::frame::{Timestamp, plus_seconds, span};

/// More missed times than that are many.
const MANY: i64 = 100;

/// So much later than due, clocks that differ a little agree that it is.
const SLACK: Duration = Duration::from_millis(100);

/// A schedule by the clocks of a place.
pub struct Times {
    schedule: Schedule,
    zone: TimeZone,
}

/// What a schedule says that cannot be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nobody knows the time zone.
    #[error("invalid timeZone: {zone:?}: unknown time zone {zone}")]
    Zone {
        /// Its name.
        zone: String,
    },
    /// It cannot be read.
    #[error("unparseable schedule: {schedule:?} : {why}")]
    Unreadable {
        /// The schedule.
        schedule: String,
        /// What is wrong.
        why: Message,
    },
    /// It is never due.
    #[error("invalid schedule: {schedule} : time difference between two schedules is less than 1 second")]
    Never {
        /// The schedule.
        schedule: String,
    },
}

impl Unusable {
    /// The reason of the event that says so.
    pub fn reason(&self) -> &'static str {
        match self {
            Unusable::Zone { .. } => "UnknownTimeZone",
            Unusable::Unreadable { .. } => "UnparseableSchedule",
            Unusable::Never { .. } => "InvalidSchedule",
        }
    }
}

/// How many times have been missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    None,
    Few,
    Many,
}

/// What has become due.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// What times count from.
    since: Timestamp,
    /// The last time that it was.
    pub at: Option<Timestamp>,
    /// How many times there were.
    pub missed: Missed,
}

impl Times {
    /// The times of a CronJob; without a time zone in UTC.
    pub fn of(job: &CronJob) -> Result<Self, Unusable> {
        let zone = match job.spec.time_zone.as_deref() {
            None => TimeZone::UTC,
            Some(zone) => schedule::zone(zone).ok_or_else(|| Unusable::Zone { zone: zone.to_owned() })?,
        };
        let text = &job.spec.schedule;
        let schedule =
            Schedule::parse(text).map_err(|why| Unusable::Unreadable { schedule: text.clone(), why })?;
        Ok(Times { schedule, zone })
    }

    /// What has become due since the last start, or since there is the CronJob; within the deadline, if that is asked.
    pub fn due(&self, job: &CronJob, now: Timestamp, within_deadline: bool) -> Result<Due, Unusable> {
        let last = job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
        let created = job.metadata.creation_timestamp.as_ref();
        let mut since = last.or(created).map_or(now, |time| time.0);
        if let Some(deadline) = job.spec.starting_deadline_seconds.filter(|_| within_deadline) {
            since = since.max(plus_seconds(now, deadline.saturating_neg()));
        }
        let never = || Unusable::Never { schedule: job.spec.schedule.clone() };
        let first = self.schedule.next(since, &self.zone).ok_or_else(never)?;
        if now < first {
            return Ok(Due { since, at: None, missed: Missed::None });
        }
        let second = self.schedule.next(first, &self.zone).ok_or_else(never)?;
        if now < second {
            return Ok(Due { since, at: Some(first), missed: Missed::None });
        }
        // An estimate: as often as the first two times are apart.
        let apart = second.duration_since(first).as_secs().max(1);
        let count = now.duration_since(first).as_secs() / apart + 1;
        let missed = if count > MANY { Missed::Many } else { Missed::Few };
        let back = SignedDuration::from_secs((count - 2).saturating_mul(apart));
        let from = first.checked_add(back).unwrap_or(first);
        Ok(Due { since, at: self.schedule.last(from, now, &self.zone), missed })
    }

    /// How long it is until the next time.
    pub fn wait(&self, job: &CronJob, now: Timestamp) -> Option<Duration> {
        let from = match self.due(job, now, false) {
            Ok(Due { at: Some(at), .. }) => at,
            Ok(Due { since, missed: Missed::None, .. }) => since,
            Ok(_) | Err(_) => now,
        };
        let next = self.schedule.next(from, &self.zone)?;
        Some(span(now, next).saturating_add(SLACK))
    }

    /// A time as the clocks of the place show it, as RFC 3339 has it.
    pub fn show(zone: Option<&str>, at: Timestamp) -> String {
        let zone = zone.and_then(schedule::zone).unwrap_or(TimeZone::UTC);
        let shown = at.to_zoned(zone);
        let end = if shown.offset().is_zero() { "Z".to_owned() } else { shown.strftime("%:z").to_string() };
        format!("{}{end}", shown.strftime("%Y-%m-%dT%H:%M:%S"))
    }
}
