//! How many connections those may hold who have not said who they are: of each address so many that there is room for
//! others, however many it opens. Whoever has been silent longest makes room for the next.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Of the files that the process may open, the part that strangers of one address may hold as connections.
const SHARE: u64 = 4;
/// Where the system does not say how many files those are.
const FILES: u64 = 1024;

/// Connections of strangers, by where they call from.
pub struct Strangers {
    most: usize,
    pub(super) by_source: Mutex<HashMap<IpAddr, Waiting>>,
}

/// Those of one address in the order of their coming.
#[derive(Default)]
pub(super) struct Waiting {
    next: u64,
    pub(super) connections: BTreeMap<u64, CancellationToken>,
}

impl Strangers {
    /// At most so many of one address.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: most.max(1), by_source: Mutex::default() })
    }

    /// As many as this process can bear, which may from now on open as many files as the system lets it, as programs in
    /// Go may.
    pub fn of_process() -> Arc<Self> {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(FILES, |(soft, hard)| {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard)
        });
        Self::new(usize::try_from(files / SHARE).unwrap_or(usize::MAX))
    }

    /// A connection from an address.
    pub fn arrive(self: &Arc<Self>, source: IpAddr) -> Stranger {
        let source = source.to_canonical();
        let mut by_source = self.by_source.lock();
        let waiting = by_source.entry(source).or_default();
        if waiting.connections.len() >= self.most
            && let Some((_, oldest)) = waiting.connections.pop_first()
        {
            tracing::debug!(%source, "Too many connections of nobody knows whom: the oldest is closed");
            oldest.cancel();
        }
        let (number, sent_away) = (waiting.next, CancellationToken::new());
        waiting.next += 1;
        waiting.connections.insert(number, sent_away.clone());
        let among = Some((Arc::clone(self), source, number));
        Stranger { among, is_met: AtomicBool::new(false), sent_away }
    }
}

/// The other end of a connection, for as long as nobody knows who it is.
#[derive(Default)]
pub struct Stranger {
    among: Option<(Arc<Strangers>, IpAddr, u64)>,
    is_met: AtomicBool,
    /// Fires when it has to make room.
    pub sent_away: CancellationToken,
}

impl Stranger {
    /// It has said who it is, and its connection counts no longer. Every request says so; the first one matters.
    pub fn met(&self) {
        let Some((among, source, number)) = &self.among else { return };
        if self.is_met.load(Ordering::Relaxed) || self.is_met.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut by_source = among.by_source.lock();
        if let Some(waiting) = by_source.get_mut(source) {
            waiting.connections.remove(number);
            if waiting.connections.is_empty() {
                by_source.remove(source);
            }
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.met();
    }
}

#[cfg(test)]
mod tests;
