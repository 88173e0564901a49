//! Answers that others gave, kept as long as they said. Upstream counterpart: CoreDNS' plugin `cache`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, Record};
use parking_lot::Mutex;

use crate::reply::{Question, Reply};

/// Bounds of one sort of answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many are kept.
    pub capacity: usize,
    /// Most seconds that one is kept.
    pub longest: u32,
    /// Least seconds that one is kept.
    pub shortest: u32,
    /// Zones of which none is kept.
    pub disabled: Vec<Name>,
}

/// What the Corefile says about keeping answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The zones whose answers are kept.
    pub zones: Vec<Name>,
    /// Answers with records.
    pub success: Limits,
    /// That a name or its records do not exist.
    pub denial: Limits,
    /// How long it is remembered that nobody could answer.
    pub failures: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let limits = |longest| Limits { capacity: 9984, longest, shortest: 5, disabled: Vec::new() };
        Self {
            zones: Vec::new(),
            success: limits(3600),
            denial: limits(1800),
            failures: Duration::from_secs(5),
        }
    }
}

struct Kept {
    reply: Reply,
    since: Instant,
    until: Instant,
}

/// The answers of one server.
pub struct Cache {
    settings: Settings,
    success: Mutex<HashMap<Question, Kept>>,
    denial: Mutex<HashMap<Question, Kept>>,
}

impl Cache {
    /// An empty one.
    pub fn new(settings: Settings) -> Self {
        Self { settings, success: Mutex::default(), denial: Mutex::default() }
    }

    /// An answer that still holds, its times to live as short as they have become.
    pub fn get(&self, question: &Question, now: Instant) -> Option<Reply> {
        [&self.success, &self.denial].into_iter().find_map(|kept| {
            let kept = kept.lock();
            let kept = kept.get(question).filter(|kept| kept.until > now)?;
            let mut reply = kept.reply.clone();
            let passed = u32::try_from(now.duration_since(kept.since).as_secs()).unwrap_or(u32::MAX);
            for record in
                [&mut reply.answers, &mut reply.authorities, &mut reply.additionals].into_iter().flatten()
            {
                record.decrement_ttl(passed);
            }
            Some(reply)
        })
    }

    /// Keeps an answer, if it may be kept.
    pub fn put(&self, question: &Question, reply: &Reply, now: Instant) {
        if reply.truncated || !within(&self.settings.zones, &question.name) {
            return;
        }
        let (kept, limits, time) = match reply.code {
            ResponseCode::NoError if !reply.answers.is_empty() => {
                let shortest = reply.answers.iter().map(|record| record.ttl).min().unwrap_or(0);
                (&self.success, &self.settings.success, bounded(&self.settings.success, shortest))
            }
            ResponseCode::NoError | ResponseCode::NXDomain => {
                // RFC 2308: without a start of authority nobody said for how long.
                let Some(shortest) = reply.authorities.iter().find_map(denied_for) else { return };
                (&self.denial, &self.settings.denial, bounded(&self.settings.denial, shortest))
            }
            ResponseCode::ServFail => (&self.denial, &self.settings.denial, self.settings.failures),
            _ => return,
        };
        if limits.capacity == 0 || time.is_zero() || within(&limits.disabled, &question.name) {
            return;
        }
        let mut kept = kept.lock();
        if kept.len() >= limits.capacity && !kept.contains_key(question) {
            make_room(&mut kept, limits.capacity, now);
        }
        kept.insert(question.clone(), Kept { reply: reply.clone(), since: now, until: now + time });
    }
}

/// Forgets what no longer holds; while that is not enough, an eighth of the rest, whichever comes first.
fn make_room(kept: &mut HashMap<Question, Kept>, capacity: usize, now: Instant) {
    kept.retain(|_, kept| kept.until > now);
    if kept.len() >= capacity {
        let mut surplus = capacity / 8 + 1;
        kept.retain(|_, _| {
            let stays = surplus == 0;
            surplus = surplus.saturating_sub(1);
            stays
        });
    }
}

fn bounded(limits: &Limits, seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds.max(limits.shortest).min(limits.longest)))
}

fn denied_for(record: &Record) -> Option<u32> {
    match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    }
}

fn within(zones: &[Name], name: &Name) -> bool {
    zones.iter().any(|zone| zone.zone_of(name))
}

#[cfg(test)]
mod tests;
