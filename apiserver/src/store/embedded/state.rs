//! What the embedded store knows: keys with the places of their values, commits that wait for the disk, and the
//! recent past with the way back.
//!
//! Invariant: the index is what all commits made of it, on disk or not; undoing the staged ones gives what is on
//! disk. Does no I/O but reading a value.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::super::{Change, Revision, StoreError};
use super::log::Commit;

const HISTORY_COMMITS: usize = 4096;
const HISTORY_BYTES: usize = 4 << 20;
/// As long as etcd remembers at least where its API servers compact it.
const HISTORY_AGE: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(super) struct State {
    /// All keys, with the effect of commits that are not on disk yet.
    pub index: BTreeMap<Arc<str>, Slot>,
    /// The revision of the newest commit, on disk or not.
    pub assigned: Revision,
    /// The revision up to which everything is on disk.
    pub durable: Revision,
    pub staged: VecDeque<Staged>,
    pub history: VecDeque<Past>,
    pub history_bytes: usize,
    /// All commits after this revision are in `history`.
    pub history_start: Revision,
    /// Older states can be rebuilt down to this revision.
    pub undo_start: Revision,
    /// Bytes the log would have if it held only what is live.
    pub live: u64,
    pub file: Option<Arc<File>>,
    /// Why nothing can be committed any more.
    pub broken: Option<StoreError>,
    /// Until when nothing is committed that takes room, because there is none.
    pub full: Option<(Instant, StoreError)>,
    pub closing: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub revision: Revision,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Memory(Bytes),
    File { offset: u64, length: u32 },
}

impl Place {
    pub fn length(&self) -> usize {
        match self {
            Place::Memory(value) => value.len(),
            Place::File { length, .. } => *length as usize,
        }
    }

    pub fn read(&self, file: Option<&File>) -> io::Result<Bytes> {
        match (self, file) {
            (Place::Memory(value), _) => Ok(value.clone()),
            (Place::File { offset, length }, Some(file)) => {
                let mut value = vec![0; *length as usize];
                file.read_exact_at(&mut value, *offset)?;
                Ok(value.into())
            }
            (Place::File { .. }, None) => Err(io::Error::other("no file behind a place in it")),
        }
    }
}

/// What a key held before a commit.
pub(super) type Undo = Vec<(Arc<str>, Option<Slot>)>;

pub(super) struct Staged {
    pub revision: Revision,
    pub changes: Vec<Change>,
    pub undo: Undo,
    pub done: oneshot::Sender<Result<(), StoreError>>,
}

pub(super) struct Past {
    pub revision: Revision,
    /// When it came to be known.
    pub since: Instant,
    pub changes: Vec<Change>,
    pub undo: Undo,
}

impl State {
    /// The index after a commit, with what it replaced.
    pub fn apply(&mut self, changes: &[Change]) -> Undo {
        changes
            .iter()
            .map(|change| {
                let key: Arc<str> = Arc::from(change.key());
                let before = match change {
                    Change::Put { value, revision, .. } => self.index.insert(
                        Arc::clone(&key),
                        Slot { revision: *revision, place: Place::Memory(value.clone()) },
                    ),
                    Change::Delete { .. } => self.index.remove(&key),
                };
                (key, before)
            })
            .collect()
    }

    pub fn remember(&mut self, past: Past) {
        self.history_bytes += weight(&past.changes);
        let now = past.since;
        self.history.push_back(past);
        let is_old = |past: &Past| now.saturating_duration_since(past.since) > HISTORY_AGE;
        while self.history.len() > HISTORY_COMMITS
            || self.history_bytes > HISTORY_BYTES
            || self.history.front().is_some_and(is_old)
        {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= weight(&oldest.changes);
            self.history_start = oldest.revision;
            self.undo_start = self.undo_start.max(oldest.revision);
        }
    }

    /// What the keys below `prefix` held at revision `at`.
    pub fn view(&self, prefix: &str, at: Revision) -> BTreeMap<Arc<str>, Slot> {
        let mut view: BTreeMap<Arc<str>, Slot> = self
            .index
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, slot)| (Arc::clone(key), slot.clone()))
            .collect();
        let staged = self.staged.iter().rev().map(|s| (s.revision, &s.undo));
        let past = self.history.iter().rev().map(|p| (p.revision, &p.undo));
        for (_, undo) in staged.chain(past).take_while(|(revision, _)| *revision > at) {
            for (key, before) in undo.iter().filter(|(key, _)| key.starts_with(prefix)) {
                match before {
                    Some(slot) => view.insert(Arc::clone(key), slot.clone()),
                    None => view.remove(key),
                };
            }
        }
        view
    }

    /// What a key holds on disk.
    pub fn durable_slot(&self, key: &str) -> Option<Slot> {
        let first = self.staged.iter().flat_map(|staged| &staged.undo).find(|(k, _)| &**k == key);
        match first {
            Some((_, before)) => before.clone(),
            None => self.index.get(key).cloned(),
        }
    }

    /// Takes back everything that is not on disk.
    pub fn roll_back(&mut self, error: &StoreError) {
        while let Some(staged) = self.staged.pop_back() {
            for (key, before) in staged.undo {
                match before {
                    Some(slot) => self.index.insert(key, slot),
                    None => self.index.remove(&key),
                };
            }
            // The waiter may have gone away; its commit did not happen either way.
            let _ = staged.done.send(Err(error.clone()));
        }
        self.assigned = self.durable;
    }
}

/// Whether a commit is one that takes something away.
pub(super) fn makes_room(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::Delete { .. }))
}

pub(super) fn weight(changes: &[Change]) -> usize {
    changes
        .iter()
        .map(|change| match change {
            Change::Put { key, value, .. } => key.len() + value.len() + 64,
            Change::Delete { key, .. } => key.len() + 64,
        })
        .sum()
}

pub(super) fn record_size(key: &str, value: usize) -> u64 {
    (key.len() + value + 20) as u64
}

impl State {
    pub fn replay(&mut self, commit: Commit) {
        let revision = commit.revision;
        if commit.entries.is_empty() {
            // What came before is what a compaction kept, not all that happened.
            self.history.clear();
            self.history_bytes = 0;
            self.history_start = revision;
            self.undo_start = revision;
            self.durable = revision;
            return;
        }
        let mut undo = Undo::with_capacity(commit.entries.len());
        let mut changes = Vec::with_capacity(commit.entries.len());
        for entry in commit.entries {
            let key: Arc<str> = Arc::from(entry.key.as_str());
            let before = match entry.value {
                Some((value, offset)) => {
                    let place = Place::File { offset, length: value.len() as u32 };
                    let before = self.index.insert(Arc::clone(&key), Slot { revision, place });
                    // The frame is freed as soon as its last change is forgotten.
                    let value = Bytes::copy_from_slice(&value);
                    changes.push(Change::Put { key: entry.key, value, revision, created: before.is_none() });
                    before
                }
                None => {
                    changes.push(Change::Delete { key: entry.key, revision });
                    self.index.remove(&key)
                }
            };
            undo.push((key, before));
        }
        self.durable = revision;
        self.remember(Past { revision, since: Instant::now(), changes, undo });
    }
}

#[cfg(test)]
mod tests;
