//! Priority and fairness: which requests are served when there are more than the server should carry at once.
//!
//! A request's FlowSchema names its priority level; the level's seats bound how many are served together, and its
//! queue is fair between flows. Nobody else's flood keeps the daemons' own requests waiting. Upstream
//! counterpart: `apiserver/pkg/util/flowcontrol`.

mod schema;
mod seats;
#[cfg(test)]
mod tests;

use std::{collections::hash_map::RandomState, hash::BuildHasher as _, sync::Arc, time::Duration};

use api::object::ObjectExt as _;
use http::HeaderValue;
use kinds::builtin::flow_control;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::args::InFlight;

pub use schema::RequestDigest;
use schema::Schema;
pub use seats::Refusal;
use seats::{Limits, Queue, Seat, Seats};

/// How long a request waits for a seat: a quarter of the time that requests may take by default.
const PATIENCE: Duration = Duration::from_secs(15);

/// Who is served, and who waits.
pub struct Priority {
    limits: InFlight,
    seats: Arc<Seats>,
    /// Schemas in the order in which they are tried, each with its level.
    table: RwLock<Arc<Vec<Entry>>>,
    hasher: RandomState,
    reading: Arc<Semaphore>,
    mutating: Arc<Semaphore>,
}

struct Entry {
    schema: Schema,
    /// `None` for the exempt.
    place: Option<usize>,
    /// The uids of schema and level, for the answer's headers.
    uids: Option<(HeaderValue, HeaderValue)>,
}

/// A request that is being served; others may be once this is dropped.
pub struct Admitted {
    _held: Held,
    /// The uids of schema and level.
    pub uids: Option<(HeaderValue, HeaderValue)>,
}

enum Held {
    Nothing,
    Seat { _seat: Seat },
    Place { _place: OwnedSemaphorePermit },
}

/// A request that is not served: its schema, its level and why.
#[derive(Debug)]
pub struct Refused {
    /// The schema's name, empty without fairness.
    pub schema: String,
    /// The level's name.
    pub level: String,
    /// What is in short supply.
    pub why: Refusal,
}

impl Priority {
    /// The levels and schemas that every cluster begins with.
    pub fn new(limits: InFlight) -> Self {
        let priority = Self {
            limits,
            seats: Arc::default(),
            table: RwLock::default(),
            hasher: RandomState::new(),
            reading: Arc::new(Semaphore::new(limits.reading as usize)),
            mutating: Arc::new(Semaphore::new(limits.mutating as usize)),
        };
        let (levels, schemas) = flow_control::bootstrap();
        priority.set(&levels, &schemas);
        priority
    }

    /// Works by these objects from now on.
    pub fn set(&self, levels: &[Value], schemas: &[Value]) {
        let (mandatory_levels, mandatory_schemas) = flow_control::bootstrap();
        let with_mandatory = |given: &[Value], mandatory: Vec<Value>| {
            let mandatory = mandatory.into_iter().filter(|m| matches!(m.name(), "exempt" | "catch-all"));
            let missing: Vec<Value> =
                mandatory.filter(|m| !given.iter().any(|g| g.name() == m.name())).collect();
            given.iter().cloned().chain(missing).collect::<Vec<Value>>()
        };
        let levels = with_mandatory(levels, mandatory_levels);
        let schemas = with_mandatory(schemas, mandatory_schemas);
        let limited = limits_of(&levels, self.limits.reading.saturating_add(self.limits.mutating));
        let places = self.seats.set(limited.clone());
        let place = |name: &str| limited.iter().position(|(n, _)| n == name).map(|i| places[i]);
        let mut entries: Vec<Entry> = schemas
            .iter()
            .map(Schema::read)
            .filter_map(|schema| {
                // A schema whose level is not there is none.
                let level = levels.iter().find(|l| l.name() == schema.level)?;
                let header = |uid: &str| HeaderValue::from_str(uid).ok().filter(|u| !u.is_empty());
                let uids = header(&schema.uid).zip(header(level.uid()));
                Some(Entry { place: place(&schema.level), uids, schema })
            })
            .collect();
        entries.sort_by(|a, b| a.schema.order().cmp(&b.schema.order()));
        *self.table.write() = Arc::new(entries);
    }

    /// Lets a request in, at once or when its turn comes. `width` is how many seats it takes.
    ///
    /// # Errors
    /// When it is not served.
    pub async fn enter(
        &self,
        request: &RequestDigest<'_>,
        mutating: bool,
        width: u32,
    ) -> Result<Admitted, Refused> {
        if !self.limits.fair {
            return self.count(request, mutating);
        }
        let table = self.table.read().clone();
        let Some((index, entry)) = table.iter().enumerate().find(|(_, e)| e.schema.matches(request)) else {
            // Nobody is left out by the catch-all; a caller without groups might be.
            return Ok(Admitted { _held: Held::Nothing, uids: None });
        };
        let uids = entry.uids.clone();
        let Some(place) = entry.place else { return Ok(Admitted { _held: Held::Nothing, uids }) };
        let flow = self.hasher.hash_one((index, entry.schema.distinguisher(request)));
        match self.seats.take(place, flow, width, PATIENCE).await {
            Ok(seat) => Ok(Admitted { _held: Held::Seat { _seat: seat }, uids }),
            Err(why) => {
                let (schema, level) = (entry.schema.name.clone(), entry.schema.level.clone());
                Err(Refused { schema, level, why })
            }
        }
    }

    /// Without fairness: one limit for those who read and one for those who write.
    fn count(&self, request: &RequestDigest<'_>, mutating: bool) -> Result<Admitted, Refused> {
        let (places, limit, kind) = if mutating {
            (&self.mutating, self.limits.mutating, "mutating")
        } else {
            (&self.reading, self.limits.reading, "readOnly")
        };
        if limit == 0 || request.user.groups.iter().any(|g| g == machinery::pki::MASTERS) {
            return Ok(Admitted { _held: Held::Nothing, uids: None });
        }
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => Ok(Admitted { _held: Held::Place { _place: place }, uids: None }),
            Err(_) => Err(Refused { schema: String::new(), level: kind.to_owned(), why: Refusal::NoSeat }),
        }
    }

    /// Name, taken seats and waiting requests of each level.
    pub fn usage(&self) -> Vec<(String, u32, usize)> {
        self.seats.usage()
    }
}

/// The limits of the levels that have any, from their shares of `total` seats.
fn limits_of(levels: &[Value], total: u32) -> Vec<(String, Limits)> {
    // No limit at all is more than anybody can use.
    let total = if total == 0 { u64::from(u32::MAX / 4) } else { u64::from(total) };
    let number = |spec: &Value, key: &str, default: u64| spec[key].as_u64().unwrap_or(default);
    let limited: Vec<(&Value, &Value)> = levels
        .iter()
        .filter(|l| l["spec"]["type"] == "Limited")
        .map(|l| (l, &l["spec"]["limited"]))
        .collect();
    let share = |spec: &Value| number(spec, "nominalConcurrencyShares", 30);
    let all: u64 = limited.iter().map(|(_, spec)| share(spec)).sum::<u64>().max(1);
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX / 4);
    limited
        .iter()
        .map(|(level, spec)| {
            let seats = (total * share(spec)).div_ceil(all);
            let response = &spec["limitResponse"];
            let queuing = &response["queuing"];
            let length = number(queuing, "queueLengthLimit", 50) as usize;
            let queue = (response["type"] == "Queue").then(|| Queue {
                of_flow: (number(queuing, "handSize", 8) as usize).saturating_mul(length),
                of_all: (number(queuing, "queues", 64) as usize).saturating_mul(length),
            });
            let limits = Limits {
                seats: narrow(seats),
                lendable: narrow((seats * number(spec, "lendablePercent", 0) + 50) / 100),
                borrowing: spec["borrowingLimitPercent"].as_u64().map(|p| narrow((seats * p + 50) / 100)),
                queue,
            };
            (level.name().to_owned(), limits)
        })
        .collect()
}
