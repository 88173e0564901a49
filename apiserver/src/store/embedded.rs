//! The store inside this process: in memory only, or with a log file behind it.
//!
//! Invariant: what a read or watch shows is on disk; commits that wait for the disk are seen
//! only by the checks of later commits, and share one sync. Values stay in the file, memory
//! holds keys and places. Corresponds to etcd itself, for one API server on one machine.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use super::log::{AppendError, Log};
use super::{
    Batch, Change, ChangeStream, Committed, Expect, KeyValue, Loaded, Op, Revision, Store, StoreError,
};

/// etcd's default limit, so that what fits here fits there.
const MAX_COMMIT: usize = 3 << 19;
const HISTORY_COMMITS: usize = 4096;
const HISTORY_BYTES: usize = 4 << 20;
const MAX_FRAME: usize = 8 << 20;
/// Below this size the file is never compacted.
const COMPACT_FROM: u64 = 32 << 20;

/// The store inside this process.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    durable: watch::Sender<Revision>,
}

#[derive(Default)]
struct State {
    /// All keys, with the effect of commits that are not on disk yet.
    index: BTreeMap<Arc<str>, Slot>,
    /// The revision of the newest commit, on disk or not.
    assigned: Revision,
    /// The revision up to which everything is on disk.
    durable: Revision,
    staged: VecDeque<Staged>,
    history: VecDeque<Past>,
    history_bytes: usize,
    /// All commits after this revision are in `history`.
    history_start: Revision,
    /// Older states can be rebuilt down to this revision.
    undo_start: Revision,
    /// Bytes the log would have if it held only what is live.
    live: u64,
    file: Option<Arc<File>>,
    /// Why nothing can be committed any more.
    broken: Option<StoreError>,
    closing: bool,
}

#[derive(Clone, Debug)]
struct Slot {
    revision: Revision,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    Memory(Bytes),
    File { offset: u64, length: u32 },
}

impl Place {
    fn length(&self) -> usize {
        match self {
            Place::Memory(value) => value.len(),
            Place::File { length, .. } => *length as usize,
        }
    }

    fn read(&self, file: Option<&File>) -> io::Result<Bytes> {
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
type Undo = Vec<(Arc<str>, Option<Slot>)>;

struct Staged {
    revision: Revision,
    changes: Vec<Change>,
    undo: Undo,
    done: oneshot::Sender<Result<(), StoreError>>,
}

struct Past {
    revision: Revision,
    changes: Vec<Change>,
    undo: Undo,
}

impl State {
    /// The index after a commit, with what it replaced.
    fn apply(&mut self, changes: &[Change]) -> Undo {
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

    fn remember(&mut self, past: Past) {
        self.history_bytes += weight(&past.changes);
        self.history.push_back(past);
        while self.history.len() > HISTORY_COMMITS || self.history_bytes > HISTORY_BYTES {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_bytes -= weight(&oldest.changes);
            self.history_start = oldest.revision;
            self.undo_start = self.undo_start.max(oldest.revision);
        }
    }

    /// What the keys below `prefix` held at revision `at`.
    fn view(&self, prefix: &str, at: Revision) -> BTreeMap<Arc<str>, Slot> {
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
    fn durable_slot(&self, key: &str) -> Option<Slot> {
        let first = self.staged.iter().flat_map(|staged| &staged.undo).find(|(k, _)| &**k == key);
        match first {
            Some((_, before)) => before.clone(),
            None => self.index.get(key).cloned(),
        }
    }

    /// Takes back everything that is not on disk.
    fn roll_back(&mut self, error: &StoreError) {
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

fn weight(changes: &[Change]) -> usize {
    changes
        .iter()
        .map(|change| match change {
            Change::Put { key, value, .. } => key.len() + value.len() + 64,
            Change::Delete { key, .. } => key.len() + 64,
        })
        .sum()
}

fn record_size(key: &str, value: usize) -> u64 {
    (key.len() + value + 20) as u64
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
        let writer = Writer { shared: Arc::clone(&shared), log, compact_from };
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

impl State {
    fn replay(&mut self, commit: super::log::Commit) {
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
        self.remember(Past { revision, changes, undo });
    }
}

impl Shared {
    fn new(state: State) -> Self {
        let durable = watch::Sender::new(state.durable);
        Self { state: Mutex::new(state), work: Condvar::new(), durable }
    }

    /// Makes commits that are on disk visible. `offsets` are the places of their values.
    fn publish(&self, state: &mut State, count: usize, offsets: Option<Vec<u64>>) {
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
            state.durable = staged.revision;
            waiters.push(staged.done);
            state.remember(Past { revision: staged.revision, changes: staged.changes, undo: staged.undo });
        }
        // First the revision, then the answers: who has an answer must find it there.
        self.durable.send_replace(state.durable);
        for waiter in waiters {
            // The waiter may have gone away; the commit stands.
            let _ = waiter.send(Ok(()));
        }
    }

    /// Waits until the commit at `revision` is on disk or taken back.
    async fn settle(&self, revision: Revision) {
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

struct Writer {
    shared: Arc<Shared>,
    log: Log,
    compact_from: u64,
}

impl Writer {
    fn run(mut self) {
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
            drop(state);
            let written = self.log.append(group.iter().map(|(revision, changes)| (*revision, &changes[..])));
            let taken_back = written.is_err();
            let mut state = shared.state.lock();
            match written {
                Ok(offsets) => shared.publish(&mut state, group.len(), Some(offsets)),
                Err(AppendError::Undone(error)) => {
                    tracing::error!(%error, "Cannot write to the store's file");
                    state.roll_back(&StoreError::NoSpace(error.to_string()));
                }
                Err(AppendError::Broken(error)) => {
                    tracing::error!(%error, "Cannot write to the store's file, giving up");
                    let error = StoreError::Damaged(format!("writing failed: {error}"));
                    state.roll_back(&error);
                    state.broken = Some(error);
                }
            }
            let due = self.log.length() > self.compact_from.max(2 * state.live);
            drop(state);
            if taken_back {
                shared.durable.send_modify(|_| ());
            }
            if due && let Err(error) = self.compact() {
                tracing::warn!(%error, "Cannot compact the store's file");
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
        state.file = Some(self.log.file());
        tracing::info!(before, after = self.log.length(), revision, "Compacted the store's file");
        Ok(())
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
