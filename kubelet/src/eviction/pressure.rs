//! A node that runs out of memory or disk ends pods, one at a time, that which its asking explains least first. What it is
//! short of it says of itself some minutes longer than it is so, lest what went comes back at once; meanwhile it takes no
//! pod that would make it worse. Pure but for the memory of when that was. Corresponds to upstream's `eviction` package.

use std::cmp::Reverse;
use std::sync::Arc;

use api::pod::placement::tolerated;
use api::pod::{self, Qos};
use api::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, Taint};
use parking_lot::Mutex;

use super::thresholds::{Least, Thresholds};
use super::{EVICTED, STORAGE, is_critical};
use crate::node_status::machine::{Free, Left};
use crate::pod_spec;
use crate::pod_status::Ended;

const MEMORY: &str = "memory";
/// For how long a pressure is told of after its end.
const HELD: SignedDuration = SignedDuration::from_secs(5 * 60);

/// What the node is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Memory.
    pub memory: bool,
    /// Bytes or files of the disk.
    pub disk: bool,
    /// Process ids.
    pub pids: bool,
}

/// Too little of something: less is there than there should be, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// How pods ask for it.
    pub resource: &'static str,
    /// How much is to be left.
    pub threshold: u64,
    /// How much there is.
    pub available: u64,
}

/// Of what too little is left that pods can be ended for, in the order in which that is to be mended.
pub fn shortages(left: &Left, least: &Thresholds) -> Vec<Shortage> {
    let all = [(MEMORY, least.memory, left.memory), (STORAGE, least.disk, left.disk)];
    let all = all.into_iter().filter_map(|(resource, least, left)| Some((resource, least, left?)));
    let short = all.filter(|(_, least, left)| least.is_short(*left));
    let told = |(resource, least, left): (_, Least, Free)| Shortage {
        resource,
        threshold: least.of(left.size),
        available: left.free,
    };
    short.map(told).collect()
}

fn seen(left: &Left, least: &Thresholds) -> Pressure {
    let short = |least: Least, left: Option<Free>| left.is_some_and(|left| least.is_short(left));
    Pressure {
        memory: short(least.memory, left.memory),
        disk: short(least.disk, left.disk) || short(least.files, left.files),
        pids: short(least.pids, left.processes),
    }
}

/// The pressures that the node tells of.
#[derive(Debug, Clone, Default)]
pub struct Pressures {
    least: Thresholds,
    seen: Arc<Mutex<Seen>>,
}

/// When each was last seen.
#[derive(Debug, Default)]
struct Seen {
    memory: Option<Timestamp>,
    disk: Option<Timestamp>,
    pids: Option<Timestamp>,
}

impl Pressures {
    /// None yet, of a node that is to have so much left.
    pub fn new(least: Thresholds) -> Self {
        Self { least, ..Self::default() }
    }

    /// Notes what is left at a time; answers what to tell.
    pub fn note(&self, left: &Left, now: Timestamp) -> Pressure {
        let seen = seen(left, &self.least);
        let mut last = self.seen.lock();
        let Seen { memory, disk, pids } = &mut *last;
        for (last, now_seen) in [(memory, seen.memory), (disk, seen.disk), (pids, seen.pids)] {
            if now_seen {
                *last = Some(now);
            } else if last.is_some_and(|at| now.duration_since(at) >= HELD) {
                *last = None;
            }
        }
        last.told()
    }

    /// What pods are to be ended for most urgently, now that so much is left.
    pub fn shortage(&self, left: &Left) -> Option<Shortage> {
        shortages(left, &self.least).into_iter().next()
    }

    /// Lets a pod in unless it would make a pressure worse; else says why not.
    pub fn admit(&self, pod: &Pod) -> Result<(), Ended> {
        let told = self.seen.lock().told();
        let taint = Taint {
            key: "node.kubernetes.io/memory-pressure".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let bears_memory = || {
            let tolerations = pod_spec::spec(pod).tolerations.as_deref().unwrap_or_default();
            Qos::of(pod) != Qos::BestEffort || tolerated(&taint, tolerations)
        };
        let conditions: Vec<&str> =
            [("DiskPressure", told.disk), ("MemoryPressure", told.memory), ("PIDPressure", told.pids)]
                .into_iter()
                .filter_map(|(condition, is_told)| is_told.then_some(condition))
                .collect();
        if conditions.is_empty() || is_critical(pod) || (conditions == ["MemoryPressure"] && bears_memory()) {
            return Ok(());
        }
        let message = format!("The node had condition: [{}]. ", conditions.join(" "));
        Err(Ended::new(EVICTED, message))
    }
}

impl Seen {
    fn told(&self) -> Pressure {
        Pressure { memory: self.memory.is_some(), disk: self.disk.is_some(), pids: self.pids.is_some() }
    }
}

/// What a pod takes of something, in bytes.
#[derive(Debug)]
pub struct Taken {
    /// Whose it is.
    pub pod: Arc<Pod>,
    /// All together.
    pub all: u64,
    /// Each container by name.
    pub containers: Vec<(String, u64)>,
}

fn bytes(bytes: u64) -> Quantity {
    Quantity::bytes(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Who is to go first for want of a resource: who takes more than it asked for, is worth less, and takes most beyond that.
/// Nobody whose end would give nothing back.
pub fn first(all: Vec<Taken>, resource: &str) -> Option<Taken> {
    all.into_iter().filter(|taken| taken.all > 0).max_by_key(|taken| {
        let spec = pod_spec::spec(&taken.pod);
        let asked = pod::requests(spec).get(resource).copied().unwrap_or(Quantity::ZERO);
        let beyond = bytes(taken.all) - asked;
        (beyond > Quantity::ZERO, Reverse(spec.priority.unwrap_or(0)), beyond)
    })
}

/// Why it has to go.
pub fn reason(shortage: &Shortage, taken: &Taken) -> Ended {
    let Shortage { resource, threshold, available } = shortage;
    let mut message = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        bytes(*threshold),
        bytes(*available)
    );
    for container in
        pod_spec::init_containers(&taken.pod).iter().chain(&pod_spec::spec(&taken.pod).containers)
    {
        let used = taken.containers.iter().find(|(name, _)| *name == container.name);
        let asked = pod_spec::request(container, resource).unwrap_or(Quantity::ZERO);
        if let Some(used) = used.map(|(_, used)| bytes(*used)).filter(|used| *used > asked) {
            message += &format!(
                "Container {} was using {used}, request is {asked}, has larger consumption of {resource}. ",
                container.name
            );
        }
    }
    Ended { disrupted: true, ..Ended::new(EVICTED, message) }
}

#[cfg(test)]
mod tests;
