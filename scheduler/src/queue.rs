//! The pods that wait for a node: who is next, who has to wait, and what would help whom.
//!
//! By priority, then by age. A pod that fits nowhere waits until something changes about what
//! kept it out; one whose binding failed waits for its back-off. Pure: told the time. Upstream
//! counterpart: the scheduler's `backend/queue`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::needs::Needs;
use crate::node_view::NodeChange;
use crate::plugins::Filter;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Something that may let a pod fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relief {
    /// A node is new or has changed.
    Node(NodeChange),
    /// A pod, or the room that was kept for one, has left its node; or a node has left with its pods.
    PodGone,
    /// A pod has got a node, or looks different on it.
    PodPlaced,
    /// A claim, a volume or a class is new or has changed.
    Storage,
}

impl Relief {
    fn helps(self, against: Filter) -> bool {
        match (self, against) {
            (Self::Node(change), Filter::Unschedulable | Filter::Taints) => change.taints,
            (Self::Node(change), Filter::NodeAffinity | Filter::PodAffinity | Filter::Volumes) => {
                change.labels
            }
            (Self::Node(change), Filter::Spread) => change.labels || change.taints,
            (Self::Node(change), Filter::Resources | Filter::Ports) => change.allocatable,
            (Self::Node(_), Filter::ClaimInUse) => false,
            (Self::PodGone, filter) => matches!(
                filter,
                Filter::Ports
                    | Filter::Resources
                    | Filter::ClaimInUse
                    | Filter::Volumes
                    | Filter::Spread
                    | Filter::PodAffinity
            ),
            (Self::PodPlaced, filter) => matches!(filter, Filter::Spread | Filter::PodAffinity),
            (Self::Storage, filter) => matches!(filter, Filter::ClaimInUse | Filter::Volumes),
        }
    }
}

/// A pod whose turn it is.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The pod's uid.
    pub uid: String,
    /// The pod as last seen.
    pub pod: Arc<Pod>,
    /// What placing it depends on.
    pub needs: Arc<Needs>,
    /// How often it was tried, with this time.
    pub attempts: u32,
    /// When it began to wait.
    pub since: Instant,
}

/// How many pods wait in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// To be tried now, or being bound.
    pub active: usize,
    /// To be tried after a pause.
    pub backoff: usize,
    /// To be tried when something changes.
    pub unschedulable: usize,
}

type Order = (Reverse<i32>, Option<Timestamp>, u64);

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    needs: Arc<Needs>,
    order: Order,
    attempts: u32,
    since: Instant,
    tried: Instant,
    state: State,
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Active,
    InHand,
    Backoff(Instant),
    Unschedulable(Vec<Filter>),
}

/// The waiting pods by uid.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<String, Entry>,
    active: BTreeSet<(Order, String)>,
    backoff: BTreeSet<(Instant, String)>,
    /// By each filter that said no, or by none.
    unschedulable: BTreeMap<Option<Filter>, BTreeSet<String>>,
    hopeless: usize,
    added: u64,
}

impl Queue {
    /// Takes in a new or changed pod. A change of what it needs gives it another try.
    pub fn put(&mut self, uid: &str, pod: &Arc<Pod>, now: Instant) {
        let needs = Arc::new(Needs::of(pod));
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.pod = Arc::clone(pod);
            if *entry.needs != *needs {
                entry.needs = needs;
                if entry.state != State::InHand {
                    self.shift(uid, State::Active);
                }
            }
            return;
        }
        self.added += 1;
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let order = (Reverse(priority), created, self.added);
        let entry = Entry {
            pod: Arc::clone(pod),
            needs,
            order,
            attempts: 0,
            since: now,
            tried: now,
            state: State::InHand,
        };
        self.entries.insert(uid.to_owned(), entry);
        self.shift(uid, State::Active);
    }

    /// Whether a pod waits here, or is in hand.
    pub fn contains(&self, uid: &str) -> bool {
        self.entries.contains_key(uid)
    }

    /// Forgets a pod: it has a node, or is gone, or is not ours.
    pub fn remove(&mut self, uid: &str) {
        if self.entries.contains_key(uid) {
            self.shift(uid, State::InHand);
            self.entries.remove(uid);
        }
    }

    /// The next pod to try. It is in hand until its fate is told.
    pub fn pop(&mut self, now: Instant) -> Option<Turn> {
        let (_, uid) = self.active.first()?.clone();
        self.shift(&uid, State::InHand);
        let entry = self.entries.get_mut(&uid)?;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.tried = now;
        Some(Turn {
            pod: Arc::clone(&entry.pod),
            needs: Arc::clone(&entry.needs),
            attempts: entry.attempts,
            since: entry.since,
            uid,
        })
    }

    /// Tells that a pod in hand fits nowhere, because of these filters.
    pub fn unfit(&mut self, uid: &str, filters: Vec<Filter>) {
        self.shift(uid, State::Unschedulable(filters));
    }

    /// Tells that a pod in hand, or one that was tried in vain, may be tried again after its back-off.
    pub fn failed(&mut self, uid: &str, now: Instant) {
        if let Some(entry) = self.entries.get(uid) {
            let until = now + pause(entry.attempts);
            self.shift(uid, State::Backoff(until));
        }
    }

    /// Gives pods that a change may help another try: at once if a node changed, which is
    /// rare, else not before their back-off has passed.
    pub fn relieve(&mut self, relief: Relief, now: Instant) {
        let mut moves = Vec::new();
        let helped = self.unschedulable.iter().filter(|(filter, _)| match filter {
            Some(filter) => relief.helps(*filter),
            // There was no node at all.
            None => matches!(relief, Relief::Node(_)),
        });
        for uid in helped.flat_map(|(_, uids)| uids) {
            let Some(Entry { tried, attempts, .. }) = self.entries.get(uid) else { continue };
            let until = *tried + pause(*attempts);
            let state = match relief {
                Relief::Node(_) => State::Active,
                _ if until > now => State::Backoff(until),
                _ => State::Active,
            };
            moves.push((uid.clone(), state));
        }
        for (uid, state) in moves {
            self.shift(&uid, state);
        }
    }

    /// Ends the back-off of those who have waited long enough; returns when the next has.
    pub fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some((until, uid)) = self.backoff.first().cloned() {
            if until > now {
                return Some(until);
            }
            self.shift(&uid, State::Active);
        }
        None
    }

    /// How many pods wait in which way.
    pub fn counts(&self) -> Counts {
        let (backoff, unschedulable) = (self.backoff.len(), self.hopeless);
        Counts { active: self.entries.len() - backoff - unschedulable, backoff, unschedulable }
    }

    fn shift(&mut self, uid: &str, to: State) {
        let Some(entry) = self.entries.get_mut(uid) else { return };
        match &entry.state {
            State::Active => drop(self.active.remove(&(entry.order, uid.to_owned()))),
            State::Backoff(until) => drop(self.backoff.remove(&(*until, uid.to_owned()))),
            State::Unschedulable(filters) => {
                self.hopeless -= 1;
                for filter in by_filter(filters) {
                    if let Some(uids) = self.unschedulable.get_mut(&filter) {
                        uids.remove(uid);
                    }
                }
            }
            State::InHand => {}
        }
        match &to {
            State::Active => drop(self.active.insert((entry.order, uid.to_owned()))),
            State::Backoff(until) => drop(self.backoff.insert((*until, uid.to_owned()))),
            State::Unschedulable(filters) => {
                self.hopeless += 1;
                for filter in by_filter(filters) {
                    self.unschedulable.entry(filter).or_default().insert(uid.to_owned());
                }
            }
            State::InHand => {}
        }
        entry.state = to;
    }
}

fn by_filter(filters: &[Filter]) -> Vec<Option<Filter>> {
    if filters.is_empty() { vec![None] } else { filters.iter().copied().map(Some).collect() }
}

/// The pause after a number of tries.
fn pause(attempts: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests;
