//! Which API servers write to this etcd. One that knows itself to be alone need not ask etcd before it reads.
//!
//! Invariant: a server commits only while its entry stands, which every commit compares; and an entry counts only
//! once each server that was there before it has taken note of it. So where nobody else has been noted, our own entry
//! cannot have lapsed unseen, and none of our commits is under way, nothing has changed since the last of them. Who came
//! first never waits for who came later, so nobody waits in a circle. Upstream asks etcd before each such read.
//!
//! An entry is a key that lapses with its etcd lease. Its value is the revision up to which its server has taken note of
//! others; its name tells where the server is, see [`life`]. A commit whose outcome is not known may still happen: then
//! the entry is given up, with which it cannot, and another one made.

mod life;

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use etcd_client::{
    Client, Compare, CompareOp, Event, EventType, GetOptions, KeyValue, PutOptions, Txn, TxnOp,
    TxnOpResponse, WatchOptions,
};
use machinery::backoff::Backoff;
use nix::time::{ClockId, clock_gettime};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use self::life::Life;
use super::{Revision, StoreError, TIMEOUT, failed, revision_of, timed_out};

/// Where the entries are.
pub(in crate::store) const ENTRIES: &str = "/registry/skiff/writers/";
/// How long an entry outlives its server's last word: so long a second server waits for one that was cut off.
const LAPSE: Duration = Duration::from_secs(6);
const RENEWAL: Duration = Duration::from_secs(2);
/// How long a server that stops tries to remove its entry.
const LEAVING: Duration = Duration::from_secs(1);
/// The pauses before a server that lost its entry makes another: the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// A server among those that write to one etcd.
pub(super) struct Writers {
    state: watch::Sender<State>,
    /// The highest revision of a change that we know of.
    known: AtomicU64,
    /// Our commits that were begun and have not ended.
    under_way: AtomicUsize,
    /// The entry was given up.
    given_up: Notify,
}

#[derive(Default)]
struct State {
    /// Our own entry, when all others know of it.
    entry: Option<Arc<Entry>>,
    /// Nobody else's entry has been seen.
    alone: bool,
    /// Before this, on [`now`]'s clock, our entry cannot have lapsed.
    stands_until: Duration,
    /// Why there is no entry, if the last attempt failed.
    missing: Option<StoreError>,
}

/// A server's entry.
pub(super) struct Entry {
    key: String,
    made: Revision,
    /// We knew of later changes before it was made: the store is not what it was.
    went_back: bool,
    lease: i64,
}

impl Entry {
    /// Holds while the entry stands.
    pub(super) fn stands(&self) -> Compare {
        Compare::create_revision(self.key.as_str(), CompareOp::Equal, self.made as i64)
    }

    /// Does something to the entry, if it stands.
    async fn change(&self, etcd: &Client, to: TxnOp, limit: Duration) -> Result<(), StoreError> {
        let txn = Txn::new().when([self.stands()]).and_then([to]);
        let done =
            timeout(limit, etcd.kv_client().txn(txn)).await.map_err(|_| timed_out())?.map_err(failed)?;
        if done.succeeded() { Ok(()) } else { Err(ended()) }
    }
}

/// A commit under way. Unless it ends, its outcome is unknown.
pub(super) struct Commit {
    writers: Arc<Writers>,
    entry: Arc<Entry>,
    ended: bool,
}

impl Commit {
    /// The entry on which it depends.
    pub(super) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// It was carried out at this revision, or not at all.
    pub(super) fn end(mut self, done: Option<Revision>) {
        self.writers.knows_of(done.unwrap_or(0));
        self.ended = true;
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        if !self.ended {
            self.writers.give_up(&self.entry);
        }
        self.writers.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Writers {
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::default(),
            known: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            given_up: Notify::new(),
        }
    }

    /// The revision up to which there can be changes, if this server alone makes them and does not just make one.
    pub(super) fn alone(&self) -> Option<Revision> {
        let state = self.state.borrow();
        let alone = state.alone && self.under_way.load(Ordering::SeqCst) == 0 && now() < state.stands_until;
        alone.then(|| self.known.load(Ordering::SeqCst))
    }

    /// Begins a commit as soon as our entry counts.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn begin(self: &Arc<Self>, deadline: Instant) -> Result<Commit, StoreError> {
        let mut state = self.state.subscribe();
        let counts = state.wait_for(|state| state.entry.is_some());
        if let Ok(Ok(state)) = tokio::time::timeout_at(deadline, counts).await
            && let Some(entry) = &state.entry
        {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            return Ok(Commit { writers: self.clone(), entry: entry.clone(), ended: false });
        }
        let waits =
            || StoreError::Unavailable("other API servers have not taken note of this one yet".into());
        Err(self.state.borrow().missing.clone().unwrap_or_else(waits))
    }

    /// Takes note that there was a change.
    pub(super) fn knows_of(&self, revision: Revision) {
        self.known.fetch_max(revision, Ordering::SeqCst);
    }

    /// Relies on an entry no longer.
    pub(super) fn give_up(&self, entry: &Arc<Entry>) {
        self.state.send_if_modified(|state| {
            let ours = state.entry.as_ref().is_some_and(|current| Arc::ptr_eq(current, entry));
            if ours {
                *state = State::default();
                self.given_up.notify_one();
            }
            ours
        });
    }

    /// Keeps an entry, or makes another, until told to stop; then it leaves.
    pub(super) async fn keep(&self, etcd: &Client, stop: &CancellationToken) {
        let (first, longest) = AGAIN;
        let mut backoff = Backoff::new(first, longest);
        let mut away = Instant::now();
        let mut told = false;
        loop {
            let began = Instant::now();
            let Err(error) = self.stay(etcd, stop).await else { return };
            if began.elapsed() > longest {
                backoff.reset();
                (away, told) = (Instant::now(), false);
            }
            if away.elapsed() > LAPSE && !told {
                tracing::warn!(%error, "Nothing can be written: this server cannot enter itself in etcd");
                told = true;
            }
            self.state.send_modify(|state| state.missing = Some(error));
            stop.run_until_cancelled(tokio::time::sleep(backoff.pause())).await;
        }
    }

    /// Makes an entry, and keeps it until it is lost or told to stop.
    async fn stay(&self, etcd: &Client, stop: &CancellationToken) -> Result<(), StoreError> {
        let Some(entered) = stop.run_until_cancelled(timeout(TIMEOUT, self.enter(etcd))).await else {
            return Ok(());
        };
        let (entered, others) = entered.map_err(|_| timed_out())??;
        let entry = entered.entry.clone();
        let end = tokio::select! {
            end = self.follow(etcd, &entry, others) => end.map(|never| match never {}),
            end = self.renew(etcd, entry.lease) => end.map(|never| match never {}),
            () = self.given_up.notified() => Err(ended()),
            () = stop.cancelled() => Ok(()),
        };
        drop(entered);
        // If this fails the lease will see to it, or who enters next.
        let _left = entry.change(etcd, TxnOp::delete(entry.key.as_str(), None), LEAVING).await;
        end
    }

    /// Makes an entry. Who else has one, and whether each knows of ours?
    async fn enter(&self, etcd: &Client) -> Result<(Entered<'_>, BTreeMap<String, bool>), StoreError> {
        let (asked, known) = (now(), self.known.load(Ordering::SeqCst));
        let lease = etcd.lease_client().grant(LAPSE.as_secs() as i64, None).await.map_err(failed)?;
        let name = format!("{:016x}", lease.id());
        let life = Life::show(&name);
        let key = format!("{ENTRIES}{}/{name}", life.place());
        let enter = Txn::new().and_then([
            TxnOp::put(key.as_str(), "0", Some(PutOptions::new().with_lease(lease.id()))),
            TxnOp::get(ENTRIES, Some(GetOptions::new().with_prefix())),
        ]);
        let done = etcd.kv_client().txn(enter).await.map_err(failed)?;
        let made = revision_of(done.header())?;
        let mut others = BTreeMap::new();
        for response in done.op_responses() {
            let TxnOpResponse::Get(found) = response else { continue };
            for kv in found.kvs().iter().filter(|found| found.key() != key.as_bytes()) {
                let other = read(kv);
                if other.as_ref().is_none_or(|(name, _)| is_gone(name)) {
                    remove(etcd, kv).await?;
                }
                others.extend(other.map(|(name, noted)| (name, noted >= made)));
            }
        }
        let stands_until = trusted(asked, lease.ttl());
        self.state.send_replace(State { stands_until, ..State::default() });
        let entry = Arc::new(Entry { key, made, went_back: known > made, lease: lease.id() });
        Ok((Entered { writers: self, entry, _life: life }, others))
    }

    /// Takes note of the others, and lets our entry count once they all know of it.
    async fn follow(
        &self,
        etcd: &Client,
        entry: &Arc<Entry>,
        mut others: BTreeMap<String, bool>,
    ) -> Result<Infallible, StoreError> {
        let never_alone = self.must_ask(etcd, entry).await;
        let mut watch = None;
        loop {
            let counts = others.values().all(|knows| *knows);
            self.state.send_modify(|state| {
                state.entry = counts.then(|| entry.clone());
                state.alone = others.is_empty() && !never_alone;
            });
            let watch = match &mut watch {
                Some(watch) => watch,
                None => {
                    let after = WatchOptions::new().with_prefix().with_start_revision(entry.made as i64 + 1);
                    watch.insert(etcd.watch_client().watch(ENTRIES, Some(after)).await.map_err(failed)?)
                }
            };
            let told = watch.message().await.map_err(failed)?;
            let told = told.filter(|told| !told.canceled()).ok_or_else(ended)?;
            let mut newest = None;
            for event in told.events() {
                newest = self.take_note(event, entry, &mut others)?.or(newest);
            }
            if let Some(newest) = newest {
                // From here on we ask before we read, and the newcomer may know.
                self.state.send_modify(|state| state.alone = false);
                let under_lease = PutOptions::new().with_lease(entry.lease);
                let note = TxnOp::put(entry.key.as_str(), newest.to_string(), Some(under_lease));
                entry.change(etcd, note, LAPSE).await?;
            }
        }
    }

    /// Whether etcd is asked before each read even by a server that is alone. Of an etcd with several members, one that
    /// was the leader goes on renewing leases for a while which the others let lapse.
    async fn must_ask(&self, etcd: &Client, entry: &Entry) -> bool {
        self.knows_of(entry.made);
        if entry.went_back {
            tracing::warn!("The store went back in time: from now on it is asked before each read");
        }
        let members = etcd.cluster_client().member_list().await;
        entry.went_back || members.map_or(true, |members| members.members().len() != 1)
    }

    /// Renews our entry's lease.
    async fn renew(&self, etcd: &Client, lease: i64) -> Result<Infallible, StoreError> {
        let (mut keeper, mut renewals) = etcd.lease_client().keep_alive(lease).await.map_err(failed)?;
        loop {
            tokio::time::sleep(RENEWAL).await;
            let asked = now();
            keeper.keep_alive().await.map_err(failed)?;
            let renewed =
                timeout(LAPSE, renewals.message()).await.map_err(|_| timed_out())?.map_err(failed)?;
            let renewed = renewed.filter(|renewed| renewed.ttl() > 0).ok_or_else(ended)?;
            let until = trusted(asked, renewed.ttl());
            self.state.send_modify(|state| state.stands_until = until);
        }
    }

    /// What happened to an entry. Returns the revision of one that is new.
    fn take_note(
        &self,
        event: &Event,
        own: &Entry,
        others: &mut BTreeMap<String, bool>,
    ) -> Result<Option<Revision>, StoreError> {
        let Some(kv) = event.kv() else { return Ok(None) };
        let revision = kv.mod_revision() as Revision;
        let deleted = event.event_type() == EventType::Delete;
        if kv.key() == own.key.as_bytes() {
            return if deleted { Err(ended()) } else { Ok(None) };
        }
        if deleted {
            // What it changed last, it changed before.
            self.knows_of(revision);
            others.remove(name(kv));
            return Ok(None);
        }
        let Some((name, noted)) = read(kv) else { return Ok(None) };
        if let Some(knows) = others.get_mut(&name) {
            *knows |= noted >= own.made;
            return Ok(None);
        }
        // It came after us, so it has seen our entry.
        others.insert(name, true);
        Ok(Some(revision))
    }
}

/// While there may be an entry. At its end what we know from it goes first, and what shows the others that we live
/// after that.
struct Entered<'a> {
    writers: &'a Writers,
    entry: Arc<Entry>,
    _life: Life,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.writers.state.send_replace(State::default());
    }
}

fn ended() -> StoreError {
    StoreError::Unavailable("this API server's entry in etcd has ended".into())
}

/// The time on a clock that goes on while the machine sleeps.
fn now() -> Duration {
    // It has no error but for a clock that the kernel does not have, and Linux has this one.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::MAX, Duration::from)
}

/// Until when an entry is relied on whose lease of some seconds was asked for then: shorter than it lasts, as clocks
/// differ.
fn trusted(asked: Duration, seconds: i64) -> Duration {
    asked.saturating_add(Duration::from_secs(seconds.max(0) as u64) * 3 / 4)
}

/// An entry's place and name; empty for what is none.
fn name(kv: &KeyValue) -> &str {
    kv.key_str().ok().and_then(|key| key.strip_prefix(ENTRIES)).unwrap_or_default()
}

/// An entry's place and name, and the revision that its server has noted; `None` for what no server keeps, such as the
/// copy of an entry that a backup brought back without its lease.
fn read(kv: &KeyValue) -> Option<(String, Revision)> {
    let noted = kv.value_str().ok()?.parse().ok()?;
    (kv.lease() != 0 && !name(kv).is_empty()).then(|| (name(kv).to_owned(), noted))
}

/// Whether an entry's server certainly does not live any more.
fn is_gone(entry: &str) -> bool {
    entry.split_once('/').is_some_and(|(place, name)| life::is_gone(place, name))
}

/// Removes what a server left that is gone; the watch will tell.
async fn remove(etcd: &Client, left: &KeyValue) -> Result<(), StoreError> {
    let same = Compare::create_revision(left.key(), CompareOp::Equal, left.create_revision());
    let txn = Txn::new().when([same]).and_then([TxnOp::delete(left.key(), None)]);
    etcd.kv_client().txn(txn).await.map_err(failed).map(|_| ())
}
