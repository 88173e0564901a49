//! The thread that writes: groups of commits to the log, and a new log when the old one holds too much that is gone.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::super::{Change, Revision, StoreError};
use super::log::{AppendError, Log};
use super::state::{Past, Place, Slot, Staged, State, makes_room, record_size, weight};

const MAX_FRAME: usize = 8 << 20;
/// How long nothing that takes room is tried after the disk was full, so that it is not in the way of what makes some.
const FULL_FOR: Duration = Duration::from_secs(1);
/// What is gone from the log must take as much, and an eighth of what is live, before a full disk is worth a compaction.
const LITTLE: u64 = 4096;

/// What the store's users and its writer share.
pub(super) struct Shared {
    pub state: Mutex<State>,
    pub work: Condvar,
    pub durable: watch::Sender<Revision>,
}

impl Shared {
    pub fn new(state: State) -> Self {
        let durable = watch::Sender::new(state.durable);
        Self { state: Mutex::new(state), work: Condvar::new(), durable }
    }

    /// Makes commits that are on disk visible. `offsets` are the places of their values.
    pub fn publish(&self, state: &mut State, count: usize, offsets: Option<Vec<u64>>) {
        let mut offsets = offsets.map(Vec::into_iter);
        let mut waiters = Vec::with_capacity(count);
        for _ in 0..count {
            let Some(staged) = state.staged.pop_front() else { break };
            for (change, (key, before)) in staged.changes.iter().zip(&staged.undo) {
                if let Some(slot) = before {
                    state.live = state.live.saturating_sub(record_size(key, slot.place.length()));
                }
                let Change::Put { value, revision, .. } = change else { continue };
                state.live += record_size(key, value.len());
                let Some(offset) = offsets.as_mut().and_then(Iterator::next) else { continue };
                if let Some(slot) = state.index.get_mut(key).filter(|slot| slot.revision == *revision) {
                    slot.place = Place::File { offset, length: value.len() as u32 };
                }
            }
            let Staged { revision, changes, undo, done } = staged;
            state.durable = revision;
            waiters.push(done);
            state.remember(Past { revision, since: Instant::now(), changes, undo });
        }
        // First the revision, then the answers: who has an answer must find it there.
        self.durable.send_replace(state.durable);
        for waiter in waiters {
            // The waiter may have gone away; the commit stands.
            let _ = waiter.send(Ok(()));
        }
    }

    /// Waits until the commit at `revision` is on disk or taken back.
    pub async fn settle(&self, revision: Revision) {
        let mut durable = self.durable.subscribe();
        loop {
            {
                let state = self.state.lock();
                if state.durable >= revision || state.assigned < revision {
                    return;
                }
            }
            if durable.changed().await.is_err() {
                return;
            }
        }
    }
}

pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub log: Log,
    pub compact_from: u64,
    /// After a compaction that failed: the length of the log at which the next one is tried.
    pub not_before: u64,
}

impl Writer {
    pub fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut state = shared.state.lock();
            while state.staged.is_empty() && !state.closing {
                shared.work.wait(&mut state);
            }
            if state.staged.is_empty() {
                return;
            }
            let mut size = 0;
            let group: Vec<(Revision, Vec<Change>)> = state
                .staged
                .iter()
                .take_while(|staged| {
                    let fits = size < MAX_FRAME;
                    size += weight(&staged.changes);
                    fits
                })
                .map(|staged| (staged.revision, staged.changes.clone()))
                .collect();
            let frees = group.iter().all(|(_, changes)| makes_room(changes));
            // The next compaction writes all that is live once more.
            let spare = if frees { 0 } else { state.live + size as u64 };
            drop(state);
            let commits = group.iter().map(|(revision, changes)| (*revision, &changes[..]));
            let written = self.log.append(commits, spare);
            let taken_back = written.is_err();
            let mut state = shared.state.lock();
            match written {
                Ok(offsets) => shared.publish(&mut state, group.len(), Some(offsets)),
                Err(AppendError::Undone(error)) => {
                    tracing::error!(%error, "Cannot write to the store's file");
                    let error = StoreError::NoSpace(error.to_string());
                    state.roll_back(&error);
                    state.full = Some((Instant::now() + FULL_FOR, error));
                }
                Err(AppendError::Broken(error)) => {
                    tracing::error!(%error, "Cannot write to the store's file, giving up");
                    let error = StoreError::Damaged(format!("writing failed: {error}"));
                    state.roll_back(&error);
                    state.broken = Some(error);
                }
            }
            let due = self.log.length() > self.compact_from.max(2 * state.live).max(self.not_before)
                || (state.full.is_some()
                    && taken_back
                    && self.log.length() > state.live + state.live / 8 + LITTLE);
            drop(state);
            if taken_back {
                shared.durable.send_modify(|_| ());
            }
            if due && let Err(error) = self.compact() {
                tracing::warn!(%error, "Cannot compact the store's file");
                self.not_before = self.log.length() + self.compact_from / 4;
            }
        }
    }

    /// Rewrites the file without what is gone. Commits queue up meanwhile, reads go on.
    fn compact(&mut self) -> io::Result<()> {
        let (mut live, revision, file) = {
            let state = self.shared.state.lock();
            let live: Vec<(Arc<str>, Slot)> = state.view("", state.durable).into_iter().collect();
            (live, state.durable, state.file.clone())
        };
        live.sort_by_key(|(_, slot)| slot.revision);
        let order: Vec<(Revision, &str)> = live.iter().map(|(key, slot)| (slot.revision, &**key)).collect();
        let before = self.log.length();
        let offsets = self.log.rewrite(&order, revision, |i| live[i].1.place.read(file.as_deref()))?;
        let moved: HashMap<&str, (Revision, u64)> = live
            .iter()
            .zip(&offsets)
            .map(|((key, slot), offset)| (&**key, (slot.revision, *offset)))
            .collect();
        let follow = |key: &str, slot: &mut Slot| {
            if let (Place::File { offset, .. }, Some((revision, new))) = (&mut slot.place, moved.get(key))
                && slot.revision == *revision
            {
                *offset = *new;
            }
        };
        let mut state = self.shared.state.lock();
        for (key, slot) in &mut state.index {
            follow(key, slot);
        }
        for staged in &mut state.staged {
            for (key, before) in &mut staged.undo {
                if let Some(slot) = before {
                    follow(key, slot);
                }
            }
        }
        // Places in the old file are worth nothing any more, so neither is the way back.
        for past in &mut state.history {
            past.undo.clear();
        }
        state.undo_start = revision;
        state.full = None;
        state.file = Some(self.log.file());
        tracing::info!(before, after = self.log.length(), revision, "Compacted the store's file");
        Ok(())
    }
}
