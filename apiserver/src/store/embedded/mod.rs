//! The store inside this process: in memory only, or with a log file behind it.
//!
//! Invariant: what a read or watch shows is on disk; commits that wait for the disk are seen
//! only by the checks of later commits, and share one sync. Values stay in the file, memory
//! holds keys and places. Corresponds to etcd itself, for one API server on one machine.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::{
    Batch, Change, ChangeStream, Committed, Expect, KeyValue, Loaded, Op, Revision, Store, StoreError,
};

mod log;
mod state;
mod writer;

use log::Log;
use state::{Staged, State, record_size};
use writer::{Shared, Writer};

/// etcd's default limit, so that what fits here fits there.
const MAX_COMMIT: usize = 3 << 19;
/// Below this size the file is never compacted.
const COMPACT_FROM: u64 = 32 << 20;

/// The store inside this process.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// A store that forgets everything when it is dropped.
    pub fn memory() -> Self {
        // Like etcd, begin at 1: revision 0 means "any" in the API.
        let state = State { assigned: 1, durable: 1, history_start: 1, undo_start: 1, ..State::default() };
        Self { shared: Arc::new(Shared::new(state)), writer: None }
    }

    /// The store in a file, which is made if missing.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, COMPACT_FROM)
    }

    pub(super) fn open_with(path: &Path, compact_from: u64) -> Result<Self, StoreError> {
        let mut state =
            State { assigned: 1, durable: 1, history_start: 1, undo_start: 1, ..State::default() };
        let log = Log::open(path, |commit| state.replay(commit))?;
        state.assigned = state.durable;
        state.live = state.index.iter().map(|(key, slot)| record_size(key, slot.place.length())).sum();
        state.file = Some(log.file());
        let shared = Arc::new(Shared::new(state));
        let writer = Writer { shared: Arc::clone(&shared), log, compact_from, not_before: 0 };
        let writer = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run())
            .map_err(|e| StoreError::Unavailable(format!("cannot start the writer: {e}")))?;
        Ok(Self { shared, writer: Some(writer) })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("The store's writer panicked");
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn commit(&self, ops: Vec<Op>) -> Result<Committed, StoreError> {
        let size: usize = ops.iter().map(|op| op.key.len() + op.value.as_ref().map_or(0, Bytes::len)).sum();
        if size > MAX_COMMIT {
            return Err(StoreError::TooLarge(format!("{size} bytes, at most {MAX_COMMIT} are possible")));
        }
        let mut keys = HashSet::new();
        if ops.len() > 1 && !ops.iter().all(|op| keys.insert(op.key.as_str())) {
            return Err(StoreError::Refused("a commit names a key twice".into()));
        }
        let outcome = {
            let mut state = self.shared.state.lock();
            self.stage(&mut state, ops)?
        };
        match outcome {
            Outcome::Waiting(revision, done) => match done.await {
                Ok(result) => result.map(|()| Committed::Done(revision)),
                Err(_) => Err(StoreError::Unavailable("store is closed".into())),
            },
            Outcome::Unchanged(revision) => {
                self.shared.settle(revision).await;
                Ok(Committed::Done(revision))
            }
            Outcome::Conflict { index, key, revision } => {
                // What the check saw may not be on disk yet: nobody may learn of it before.
                self.shared.settle(revision).await;
                let current = self.get(&key).await?;
                Ok(Committed::Conflict { index, current })
            }
        }
    }

    async fn get(&self, key: &str) -> Result<Option<KeyValue>, StoreError> {
        let (slot, file) = {
            let state = self.shared.state.lock();
            (state.durable_slot(key), state.file.clone())
        };
        let Some(slot) = slot else { return Ok(None) };
        let value = slot.place.read(file.as_deref()).map_err(unreadable)?;
        Ok(Some(KeyValue { key: key.to_owned(), value, revision: slot.revision }))
    }

    async fn load(&self, prefix: &str, at: Option<Revision>) -> Result<Loaded, StoreError> {
        let (view, revision, file) = {
            let state = self.shared.state.lock();
            let revision = at.unwrap_or(state.durable);
            if revision < state.undo_start {
                return Err(StoreError::Compacted { asked: revision, oldest: state.undo_start });
            }
            if revision > state.durable {
                return Err(StoreError::Refused(format!("revision {revision} is in the future")));
            }
            (state.view(prefix, revision), revision, state.file.clone())
        };
        let items = view
            .into_iter()
            .map(|(key, slot)| {
                let value = slot.place.read(file.as_deref()).map_err(unreadable)?;
                Ok(KeyValue { key: key.as_ref().to_owned(), value, revision: slot.revision })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Loaded { revision, items })
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(*self.shared.durable.borrow())
    }

    fn local_revision(&self) -> Option<Revision> {
        Some(*self.shared.durable.borrow())
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<ChangeStream, StoreError> {
        let follower = Follower {
            shared: Arc::clone(&self.shared),
            durable: self.shared.durable.subscribe(),
            prefix: prefix.to_owned(),
            position: after,
        };
        Ok(Box::pin(futures::stream::try_unfold(follower, |mut follower| async move {
            let batch = follower.next().await?;
            Ok(Some((batch, follower)))
        })))
    }

    async fn healthy(&self) -> Result<(), StoreError> {
        self.shared.state.lock().broken.clone().map_or(Ok(()), Err)
    }
}

enum Outcome {
    Waiting(Revision, oneshot::Receiver<Result<(), StoreError>>),
    Unchanged(Revision),
    Conflict { index: usize, key: String, revision: Revision },
}

impl EmbeddedStore {
    fn stage(&self, state: &mut State, mut ops: Vec<Op>) -> Result<Outcome, StoreError> {
        if let Some(error) = &state.broken {
            return Err(error.clone());
        }
        let failed = ops.iter().position(|op| {
            let found = state.index.get(op.key.as_str()).map(|slot| slot.revision);
            match op.expect {
                Expect::Absent => found.is_some(),
                Expect::Revision(revision) => found != Some(revision),
            }
        });
        if let Some(index) = failed {
            return Ok(Outcome::Conflict {
                index,
                key: ops.swap_remove(index).key,
                revision: state.assigned,
            });
        }
        if let Some((until, error)) = &state.full
            && Instant::now() < *until
            && ops.iter().all(|op| op.value.is_some())
        {
            return Err(error.clone());
        }
        let revision = state.assigned + 1;
        let changes: Vec<Change> = ops
            .into_iter()
            .filter_map(|Op { key, expect, value }| match (value, expect) {
                (Some(value), _) => {
                    let created = expect == Expect::Absent;
                    Some(Change::Put { key, value, revision, created })
                }
                (None, Expect::Revision(_)) => Some(Change::Delete { key, revision }),
                (None, Expect::Absent) => None,
            })
            .collect();
        if changes.is_empty() {
            return Ok(Outcome::Unchanged(state.assigned));
        }
        let undo = state.apply(&changes);
        state.assigned = revision;
        let (done, waiter) = oneshot::channel();
        state.staged.push_back(Staged { revision, changes, undo, done });
        if self.writer.is_some() {
            self.shared.work.notify_one();
        } else {
            self.shared.publish(state, 1, None);
        }
        Ok(Outcome::Waiting(revision, waiter))
    }
}

fn unreadable(error: io::Error) -> StoreError {
    StoreError::Damaged(format!("cannot read a value: {error}"))
}

/// One watch's position in the history.
struct Follower {
    shared: Arc<Shared>,
    durable: watch::Receiver<Revision>,
    prefix: String,
    position: Revision,
}

impl Follower {
    async fn next(&mut self) -> Result<Batch, StoreError> {
        const AT_ONCE: usize = 512;
        let position = self.position;
        if self.durable.wait_for(|durable| *durable > position).await.is_err() {
            return Err(StoreError::Lost("store is closed".into()));
        }
        let state = self.shared.state.lock();
        if self.position < state.history_start {
            return Err(StoreError::Compacted { asked: self.position, oldest: state.history_start });
        }
        let from = state.history.partition_point(|past| past.revision <= self.position);
        let mut batch = Batch { revision: self.position, changes: Vec::new() };
        for past in state.history.range(from..).take(AT_ONCE) {
            batch.revision = past.revision;
            batch.changes.extend(past.changes.iter().filter(|c| c.key().starts_with(&self.prefix)).cloned());
        }
        self.position = batch.revision;
        Ok(batch)
    }
}
