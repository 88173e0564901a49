//! How many connections those may hold who have not said who they are: of each address so many that there is room for
//! others, however many it opens.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;

/// Of the files that the process may open, the part that strangers of one address may hold as connections.
const SHARE: u64 = 4;
/// Where the system does not say how many files those are.
const FILES: u64 = 1024;

/// Connections of strangers, by where they call from.
pub struct Strangers {
    most: usize,
    by_source: Mutex<HashMap<IpAddr, usize>>,
}

impl Strangers {
    /// At most so many of one address.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, by_source: Mutex::default() })
    }

    /// As many as this process can bear.
    pub fn of_process() -> Arc<Self> {
        let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(FILES, |(soft, _)| soft);
        Self::new(usize::try_from(files / SHARE).unwrap_or(usize::MAX))
    }

    /// A connection from an address; `None` if there are too many of them.
    pub fn arrive(self: &Arc<Self>, source: IpAddr) -> Option<Stranger> {
        let source = source.to_canonical();
        let mut by_source = self.by_source.lock();
        let count = by_source.entry(source).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Stranger(Mutex::new(Some((Arc::clone(self), source)))))
    }
}

/// The other end of a connection, for as long as nobody knows who it is.
#[derive(Default)]
pub struct Stranger(Mutex<Option<(Arc<Strangers>, IpAddr)>>);

impl Stranger {
    /// It has said who it is, and its connection counts no longer.
    pub fn met(&self) {
        let Some((among, source)) = self.0.lock().take() else { return };
        let mut by_source = among.by_source.lock();
        if let Some(count) = by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&source);
            }
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.met();
    }
}
