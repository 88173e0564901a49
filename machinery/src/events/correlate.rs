//! Which occurrences become a new Event, which count up an old one, and which are too many.
//!
//! Equal occurrences share one Event; more than ten that differ only in their message within
//! ten minutes are combined; an object may cause a burst of 25 and then one in five minutes.
//! Memory is bounded. Pure. Upstream counterpart: `tools/record/events_cache.go`.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;

use super::EventType;

const SIMILAR_WINDOW_SECONDS: i64 = 600;
const SIMILAR_LIMIT: usize = 10;
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
const REMEMBERED: usize = 4096;
const COMBINED: &str = "(combined from similar events): ";

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Occurrence {
    pub about: ObjectReference,
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
    pub at: Timestamp,
}

/// The state an Event is to have: created if the count is one, else brought up to date.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    pub name: String,
    pub about: ObjectReference,
    pub event_type: EventType,
    pub reason: String,
    pub message: String,
    pub count: i32,
    pub first: Timestamp,
    pub last: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Correlator {
    written: HashMap<u64, Written>,
    similar: HashMap<u64, Similar>,
    allowance: HashMap<u64, Allowance>,
}

#[derive(Debug)]
struct Written {
    name: String,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<u64>,
    last: Timestamp,
}

#[derive(Debug)]
struct Allowance {
    tokens: f64,
    last: Timestamp,
}

impl Correlator {
    /// What to write for an occurrence, if anything.
    pub(super) fn observe(&mut self, occurrence: Occurrence) -> Option<Write> {
        let now = occurrence.at;
        let object = object_key(&occurrence.about);
        let alike = hash(&(object, occurrence.event_type, occurrence.reason.as_str()));
        let (key, message) = if self.is_combined(alike, &occurrence.message, now) {
            (alike, format!("{COMBINED}{}", occurrence.message))
        } else {
            (hash(&(alike, occurrence.message.as_str())), occurrence.message)
        };
        if !self.is_allowed(object, now) {
            return None;
        }
        forget_oldest(&mut self.written, |written| written.last);
        let written = self.written.entry(key).or_insert_with(|| Written {
            name: event_name(&occurrence.about, now),
            count: 0,
            first: now,
            last: now,
        });
        written.count = written.count.saturating_add(1);
        written.last = now;
        Some(Write {
            name: written.name.clone(),
            about: occurrence.about,
            event_type: occurrence.event_type,
            reason: occurrence.reason,
            message,
            count: written.count,
            first: written.first,
            last: now,
        })
    }

    fn is_combined(&mut self, alike: u64, message: &str, now: Timestamp) -> bool {
        forget_oldest(&mut self.similar, |similar| similar.last);
        let similar =
            self.similar.entry(alike).or_insert_with(|| Similar { messages: HashSet::new(), last: now });
        if now.as_second() - similar.last.as_second() > SIMILAR_WINDOW_SECONDS {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_LIMIT {
            similar.messages.insert(hash(&message));
        }
        similar.messages.len() >= SIMILAR_LIMIT
    }

    fn is_allowed(&mut self, object: u64, now: Timestamp) -> bool {
        forget_oldest(&mut self.allowance, |allowance| allowance.last);
        let allowance = self.allowance.entry(object).or_insert(Allowance { tokens: BURST, last: now });
        let passed = now.duration_since(allowance.last).as_secs_f64().max(0.0);
        allowance.tokens = (allowance.tokens + passed * REFILL_PER_SECOND).min(BURST);
        allowance.last = now;
        let allowed = allowance.tokens >= 1.0;
        if allowed {
            allowance.tokens -= 1.0;
        }
        allowed
    }
}

fn event_name(about: &ObjectReference, now: Timestamp) -> String {
    format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), now.as_nanosecond())
}

fn object_key(about: &ObjectReference) -> u64 {
    hash(&(&about.api_version, &about.kind, &about.namespace, &about.name, &about.uid, &about.field_path))
}

fn hash(value: &impl std::hash::Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}

/// Keeps the younger half when a map is full.
fn forget_oldest<V>(map: &mut HashMap<u64, V>, last: impl Fn(&V) -> Timestamp) {
    if map.len() < REMEMBERED {
        return;
    }
    let mut times: Vec<Timestamp> = map.values().map(&last).collect();
    let (_, &mut middle, _) = times.select_nth_unstable(REMEMBERED / 2);
    map.retain(|_, value| last(value) > middle);
}

#[cfg(test)]
mod tests;
