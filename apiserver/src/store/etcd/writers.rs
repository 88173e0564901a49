//! Which API servers write to this etcd. One that knows itself to be alone need not ask etcd before it reads.
//!
//! Invariant: a server commits only while its entry stands, which every commit compares; and an entry counts only
//! when each server that was there before it has taken note of it. So where nobody else has been noted, and our own entry
//! cannot have lapsed unseen, nothing has changed since our own last commit. Upstream asks etcd before each such read.
//!
//! An entry is a key that lapses with its etcd lease. Its value is the revision up to which its server has taken note of
//! others, its name tells the machine: whoever starts there again need not wait for the lease of a predecessor that is
//! gone.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs, io,
    os::{
        linux::{fs::MetadataExt as _, net::SocketAddrExt as _},
        unix::net::{SocketAddr, UnixListener},
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use etcd_client::{
    Client, Compare, CompareOp, Event, EventType, GetOptions, KeyValue, PutOptions, Txn, TxnOp,
    TxnOpResponse, WatchOptions,
};
use machinery::backoff::Backoff;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Revision, StoreError, failed, revision_of};

/// Where the entries are.
pub(in crate::store) const ENTRIES: &str = "/registry/skiff/writers/";
/// The place of servers whose death nobody can see.
const NOWHERE: &str = "nowhere";
/// How long an entry outlives its server's last word, in seconds: so long a second server waits for one that was cut
/// off.
const LAPSE: i64 = 6;
const RENEWAL: Duration = Duration::from_secs(2);
/// How long a server that stops tries to remove its entry.
const LEAVING: Duration = Duration::from_secs(1);
/// The pauses before a server that lost its entry makes another: the first and the longest.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// A server among those that write to one etcd.
pub(super) struct Writers {
    state: watch::Sender<State>,
    /// The highest revision at which we, or those who left, have changed anything.
    written: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Our own entry, when all others know of it.
    entry: Option<Arc<Entry>>,
    /// Nobody else's entry has been seen.
    alone: bool,
    /// Before this, our entry cannot have lapsed.
    stands_until: Option<Instant>,
    /// Why there is no entry, if the last attempt failed.
    missing: Option<StoreError>,
}

/// A server's entry.
pub(super) struct Entry {
    key: String,
    made: Revision,
    lease: i64,
}

impl Entry {
    /// Holds while the entry stands.
    pub(super) fn stands(&self) -> Compare {
        Compare::create_revision(self.key.as_str(), CompareOp::Equal, self.made as i64)
    }
}

impl Writers {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::default(), written: AtomicU64::new(0) }
    }

    /// The revision up to which there can be changes, if this server alone makes them.
    pub(super) fn alone(&self) -> Option<Revision> {
        let state = self.state.borrow();
        let stands = state.stands_until.is_some_and(|until| Instant::now() < until);
        (state.alone && stands).then(|| self.written.load(Ordering::SeqCst))
    }

    /// Our entry, as soon as it counts.
    ///
    /// # Errors
    /// When that takes too long.
    pub(super) async fn entry(&self, deadline: Instant) -> Result<Arc<Entry>, StoreError> {
        let mut state = self.state.subscribe();
        let counts = state.wait_for(|state| state.entry.is_some());
        if let Ok(Ok(state)) = tokio::time::timeout_at(deadline, counts).await
            && let Some(entry) = &state.entry
        {
            return Ok(entry.clone());
        }
        let waits =
            || StoreError::Unavailable("other API servers have not taken note of this one yet".into());
        Err(self.state.borrow().missing.clone().unwrap_or_else(waits))
    }

    /// Remembers a commit. To be called before anybody hears of it.
    pub(super) fn wrote(&self, revision: Revision) {
        self.written.fetch_max(revision, Ordering::SeqCst);
    }

    /// Takes note that an entry does not stand.
    pub(super) fn lost(&self, lost: &Arc<Entry>) {
        self.state.send_if_modified(|state| {
            let ours = state.entry.as_ref().is_some_and(|entry| Arc::ptr_eq(entry, lost));
            if ours {
                *state = State::default();
            }
            ours
        });
    }

    /// Keeps an entry, or makes another, until told to stop; then it leaves.
    pub(super) async fn keep(&self, etcd: &Client, stop: &CancellationToken) {
        let (first, longest) = AGAIN;
        let mut backoff = Backoff::new(first, longest);
        loop {
            let began = Instant::now();
            let Err(error) = self.stay(etcd, stop).await else { return };
            tracing::debug!(%error, "Not entered among the API servers");
            self.state.send_modify(|state| state.missing = Some(error));
            if began.elapsed() > longest {
                backoff.reset();
            }
            stop.run_until_cancelled(tokio::time::sleep(backoff.pause())).await;
        }
    }

    /// Makes an entry, and keeps it until it is lost or told to stop.
    async fn stay(&self, etcd: &Client, stop: &CancellationToken) -> Result<(), StoreError> {
        let Some(entered) = stop.run_until_cancelled(self.enter(etcd)).await else { return Ok(()) };
        let (entered, others) = entered?;
        let entry = entered.entry.clone();
        tokio::select! {
            end = self.follow(etcd, &entry, others) => match end? {},
            end = self.renew(etcd, entry.lease) => match end? {},
            () = stop.cancelled() => {}
        }
        drop(entered);
        let leave = Txn::new().when([entry.stands()]).and_then([TxnOp::delete(entry.key.as_str(), None)]);
        // If not, the lease will see to it.
        let _left = tokio::time::timeout(LEAVING, etcd.kv_client().txn(leave)).await;
        Ok(())
    }

    /// Makes an entry. Who else has one, and whether each knows of ours?
    async fn enter(&self, etcd: &Client) -> Result<(Entered<'_>, BTreeMap<String, bool>), StoreError> {
        let asked = Instant::now();
        let lease = etcd.lease_client().grant(LAPSE, None).await.map_err(failed)?;
        let name = format!("{:016x}", lease.id());
        let alive = show_life(&name).ok();
        let place = place().filter(|_| alive.is_some()).unwrap_or_else(|| NOWHERE.to_owned());
        let key = format!("{ENTRIES}{place}/{name}");
        let enter = Txn::new().and_then([
            TxnOp::put(key.as_str(), "0", Some(PutOptions::new().with_lease(lease.id()))),
            TxnOp::get(ENTRIES, Some(GetOptions::new().with_prefix())),
        ]);
        let done = etcd.kv_client().txn(enter).await.map_err(failed)?;
        let made = revision_of(done.header())?;
        let mut others = BTreeMap::new();
        for response in done.op_responses() {
            let TxnOpResponse::Get(found) = response else { continue };
            for other in found.kvs().iter().filter(|found| found.key() != key.as_bytes()) {
                let (name, noted) = read(other)?;
                if is_gone(&name, &place) {
                    remove(etcd, other).await?;
                }
                others.insert(name, noted >= made);
            }
        }
        let until = trusted(asked, lease.ttl());
        self.state.send_replace(State { stands_until: Some(until), ..State::default() });
        let entry = Arc::new(Entry { key, made, lease: lease.id() });
        Ok((Entered { writers: self, entry, _alive: alive }, others))
    }

    /// Takes note of the others, and lets our entry count once they all know of it.
    async fn follow(
        &self,
        etcd: &Client,
        entry: &Arc<Entry>,
        mut others: BTreeMap<String, bool>,
    ) -> Result<Infallible, StoreError> {
        let went_back = self.written.fetch_max(entry.made, Ordering::SeqCst) > entry.made;
        if went_back {
            tracing::warn!("The store went back in time: from now on it is asked before each read");
        }
        let mut watch = None;
        loop {
            let counts = others.values().all(|knows| *knows);
            self.state.send_modify(|state| {
                state.entry = counts.then(|| entry.clone());
                state.alone = others.is_empty() && !went_back;
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
                let under_lease = Some(PutOptions::new().with_lease(entry.lease));
                let (key, noted) = (entry.key.as_str(), newest.to_string());
                etcd.kv_client().put(key, noted, under_lease).await.map_err(failed)?;
            }
        }
    }

    /// Renews our entry's lease.
    async fn renew(&self, etcd: &Client, lease: i64) -> Result<Infallible, StoreError> {
        let (mut keeper, mut renewals) = etcd.lease_client().keep_alive(lease).await.map_err(failed)?;
        loop {
            tokio::time::sleep(RENEWAL).await;
            let asked = Instant::now();
            keeper.keep_alive().await.map_err(failed)?;
            let renewed = renewals.message().await.map_err(failed)?;
            let renewed = renewed.filter(|renewed| renewed.ttl() > 0).ok_or_else(ended)?;
            let until = trusted(asked, renewed.ttl());
            self.state.send_modify(|state| state.stands_until = Some(until));
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
        let (name, noted) = read(kv)?;
        if deleted {
            // What it changed last, it changed before.
            self.wrote(revision);
            others.remove(&name);
            return Ok(None);
        }
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
    _alive: Option<UnixListener>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.writers.state.send_replace(State::default());
    }
}

fn ended() -> StoreError {
    StoreError::Lost("the entry lapsed, or what keeps it ended".into())
}

/// How long an entry is relied on whose lease of some seconds was asked for then: shorter than it lasts, as clocks
/// differ.
fn trusted(asked: Instant, seconds: i64) -> Instant {
    asked + Duration::from_secs(seconds.max(0) as u64) * 3 / 4
}

/// An entry's place and name, and the revision its server has noted.
fn read(kv: &KeyValue) -> Result<(String, Revision), StoreError> {
    let damaged = |error: etcd_client::Error| StoreError::Damaged(format!("an API server's entry: {error}"));
    let name = kv.key_str().map_err(damaged)?.trim_start_matches(ENTRIES).to_owned();
    let noted = kv.value_str().map_err(damaged)?.parse().unwrap_or(0);
    Ok((name, noted))
}

/// Removes what a server left that is gone; the watch will tell.
async fn remove(etcd: &Client, left: &KeyValue) -> Result<(), StoreError> {
    let same = Compare::create_revision(left.key(), CompareOp::Equal, left.create_revision());
    let txn = Txn::new().when([same]).and_then([TxnOp::delete(left.key(), None)]);
    etcd.kv_client().txn(txn).await.map_err(failed).map(|_| ())
}

/// What all processes share that see each other's [`show_life`]: this boot of this machine, and the network namespace.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let network = fs::metadata("/proc/self/ns/net").ok()?;
    Some(format!("{}.{}", boot.trim(), network.st_ino()))
}

/// Takes a name that the kernel takes back when the process ends.
fn show_life(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(format!("skiff-apiserver-{name}"))?)
}

/// Whether the server of an entry certainly does not live any more: it was at this place, and its name is free.
fn is_gone(entry: &str, place: &str) -> bool {
    match entry.split_once('/') {
        Some((other, name)) => other == place && place != NOWHERE && show_life(name).is_ok(),
        None => false,
    }
}
