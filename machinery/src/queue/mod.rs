//! Keys to work on: each waits once however often it was added, is in one pair of hands at
//! a time, and comes back with exponential back-off when its work failed.
//!
//! Invariant: a key added while it is being worked on is worked on again afterwards. No
//! timer runs while nothing waits. Upstream counterpart: client-go's `util/workqueue`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// A queue of keys. Clones share the same queue.
#[derive(Debug)]
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<T> {
    clock: Clock,
    state: Mutex<State<T>>,
    changed: Notify,
}

/// All there is to know; told the time, never asking for it.
#[derive(Debug)]
struct State<T> {
    /// The first and the longest pause after failures.
    base: Duration,
    max: Duration,
    /// Keys whose turn it is, oldest first; none of them is in `working`.
    ready: VecDeque<T>,
    /// Keys that wait for a worker, and since when: those in `ready`, and those in `working` that were added again.
    waiting: HashMap<T, Instant>,
    working: HashSet<T>,
    tally: Tally,
    failures: HashMap<T, u32>,
    /// When each delayed key is due, and which are due then.
    due: HashMap<T, Instant>,
    timers: BTreeMap<Instant, Vec<T>>,
    closed: bool,
}

/// What has gone through a queue.
#[derive(Debug, Clone)]
pub struct Tally {
    /// How often a key was added that did not wait already.
    pub added: u64,
    /// How long keys have waited for a worker, in seconds.
    pub waited: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self { added: 0, waited: Histogram::new(BUCKETS) }
    }
}

/// Bounds of the buckets of durations, in seconds, as client-go has them.
pub const BUCKETS: [f64; 10] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

impl<T: Eq + Hash + Clone> State<T> {
    fn new(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            ready: VecDeque::new(),
            waiting: HashMap::new(),
            working: HashSet::new(),
            tally: Tally::default(),
            failures: HashMap::new(),
            due: HashMap::new(),
            timers: BTreeMap::new(),
            closed: false,
        }
    }

    fn add(&mut self, key: T, now: Instant) {
        if self.closed || self.waiting.contains_key(&key) {
            return;
        }
        self.waiting.insert(key.clone(), now);
        self.tally.added += 1;
        if !self.working.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn add_at(&mut self, key: T, at: Instant) {
        let later = match self.due.get(&key) {
            Some(&sooner) if sooner <= at => return,
            later => later.copied(),
        };
        if let Some(later) = later
            && let Some(keys) = self.timers.get_mut(&later)
        {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.timers.remove(&later);
            }
        }
        self.due.insert(key.clone(), at);
        self.timers.entry(at).or_default().push(key);
    }

    /// Moves the keys that are due to the others; returns when the next one will be.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some(first) = self.timers.first_entry() {
            if *first.key() > now {
                return Some(*first.key());
            }
            for key in first.remove() {
                self.due.remove(&key);
                self.add(key, now);
            }
        }
        None
    }

    /// The next key to work on, or when to ask again.
    fn take(&mut self, now: Instant) -> Result<T, Option<Instant>> {
        let next_due = self.ripen(now);
        let key = self.ready.pop_front().ok_or(next_due)?;
        if let Some(since) = self.waiting.remove(&key) {
            self.tally.waited.observe(now.saturating_duration_since(since).as_secs_f64());
        }
        self.working.insert(key.clone());
        Ok(key)
    }

    fn finish(&mut self, key: T, end: End, now: Instant) {
        self.working.remove(&key);
        if self.waiting.contains_key(&key) {
            self.ready.push_back(key.clone());
        }
        match end {
            End::Done => {
                self.failures.remove(&key);
            }
            End::Again(delay) => {
                self.failures.remove(&key);
                self.add_at(key, now + delay);
            }
            End::Failed => {
                let failures = self.failures.entry(key.clone()).or_insert(0);
                let delay = self.base.saturating_mul(1 << (*failures).min(30)).min(self.max);
                *failures = failures.saturating_add(1);
                self.add_at(key, now + delay);
            }
        }
    }
}

impl<T: Eq + Hash + Clone> Queue<T> {
    /// An empty queue; failed keys come back after `base`, then twice that, up to `max`, by this clock.
    pub fn new(clock: &Clock, base: Duration, max: Duration) -> Self {
        let state = Mutex::new(State::new(base, max));
        Self { shared: Arc::new(Shared { clock: clock.clone(), state, changed: Notify::new() }) }
    }

    /// Adds a key, unless it waits already.
    pub fn add(&self, key: T) {
        self.shared.state.lock().add(key, self.shared.clock.instant());
        self.shared.changed.notify_one();
    }

    /// Adds a key after some time, or sooner if it was to be added sooner anyway.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.shared.state.lock().add_at(key, self.shared.clock.instant() + delay);
        self.shared.changed.notify_one();
    }

    /// The next key; waits for one. None after the queue was closed.
    pub async fn next(&self) -> Option<Item<T>> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // From here on no addition is missed.
            changed.as_mut().enable();
            let next_due = {
                let mut state = self.shared.state.lock();
                if state.closed {
                    drop(state);
                    self.shared.changed.notify_one();
                    return None;
                }
                match state.take(self.shared.clock.instant()) {
                    Ok(key) => {
                        let more = !state.ready.is_empty();
                        drop(state);
                        if more {
                            self.shared.changed.notify_one();
                        }
                        return Some(Item { queue: self.clone(), key: Some(key) });
                    }
                    Err(next_due) => next_due,
                }
            };
            match next_due {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = self.shared.clock.sleep_until(at) => {}
                },
            }
        }
    }

    /// How many keys wait for their turn, delayed ones not counted.
    pub fn len(&self) -> usize {
        self.shared.state.lock().waiting.len()
    }

    /// What has gone through it.
    pub fn tally(&self) -> Tally {
        self.shared.state.lock().tally.clone()
    }

    /// Whether no key waits for its turn.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has `next` return None from now on.
    pub fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

enum End {
    Done,
    Again(Duration),
    Failed,
}

/// A key being worked on. Dropping it without a word counts as failure.
#[derive(Debug)]
pub struct Item<T: Eq + Hash + Clone> {
    queue: Queue<T>,
    key: Option<T>,
}

impl<T: Eq + Hash + Clone> Item<T> {
    /// The key.
    pub fn key(&self) -> &T {
        self.key.as_ref().expect("the key is taken only by what consumes the item")
    }

    /// The work is done: failures are forgotten.
    pub fn done(mut self) {
        self.end(End::Done);
    }

    /// The work is done and to be done again after some time.
    pub fn done_until(mut self, delay: Duration) {
        self.end(End::Again(delay));
    }

    /// The work failed: the key comes back after its back-off.
    pub fn retry(mut self) {
        self.end(End::Failed);
    }

    fn end(&mut self, end: End) {
        if let Some(key) = self.key.take() {
            let shared = &self.queue.shared;
            shared.state.lock().finish(key, end, shared.clock.instant());
            shared.changed.notify_one();
        }
    }
}

impl<T: Eq + Hash + Clone> Drop for Item<T> {
    fn drop(&mut self) {
        self.end(End::Failed);
    }
}

/// Works on a queue's keys with a number of workers until told to stop. `reconcile` is given
/// a key and says after what time to look at it again, if at all; an error is logged and the
/// key retried with back-off.
pub async fn run_workers<T, F, Work, E>(
    queue: Queue<T>,
    workers: usize,
    stop: CancellationToken,
    reconcile: F,
) -> anyhow::Result<()>
where
    T: Eq + Hash + Clone + Debug + Send + Sync + 'static,
    F: Fn(T) -> Work + Send + Sync + 'static,
    Work: Future<Output = Result<Option<Duration>, E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let reconcile = Arc::new(reconcile);
    let mut crew = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (queue, stop, reconcile) = (queue.clone(), stop.clone(), Arc::clone(&reconcile));
        crew.spawn(async move {
            while let Some(Some(item)) = stop.run_until_cancelled(queue.next()).await {
                match reconcile(item.key().clone()).await {
                    Ok(None) => item.done(),
                    Ok(Some(delay)) => item.done_until(delay),
                    Err(error) => {
                        tracing::warn!(key = ?item.key(), error = format!("{error:#}"), "Retrying");
                        item.retry();
                    }
                }
            }
        });
    }
    while let Some(end) = crew.join_next().await {
        end?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
