//! Who has which pod address of this node, on disk.
//!
//! Invariant: an address that is in the file belongs to exactly one attachment, and ADD writes
//! the file before it gives the address to an interface; so a crash in between leaks an address
//! (until DEL, GC or a full range) and never doubles one. All access is under one file lock.
//! Upstream: the `host-local` plugin of `containernetworking/plugins`.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{CniError, PortMapping};

/// What one attachment holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its network namespace; when the path is gone, so is the holder.
    pub netns: PathBuf,
    /// Its host ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortMapping>,
}

/// All holdings of a network on this node, by attachment key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The address given out last: the search goes on behind it, so that a freed address rests.
    pub last: Option<Ipv4Addr>,
    /// The holders.
    pub holdings: BTreeMap<String, Holding>,
}

impl Table {
    /// The next free address of the range, or none. The network's own, the gateway's and the
    /// broadcast address are never given out.
    pub fn pick(&self, range: Ipv4Net) -> Option<Ipv4Addr> {
        let first = u32::from(range.network()) + 2;
        let end = u32::from(range.broadcast());
        let taken: HashSet<u32> = self.holdings.values().map(|holding| u32::from(holding.ip)).collect();
        let start = self
            .last
            .map(|last| u32::from(last).wrapping_add(1))
            .filter(|next| (first..end).contains(next))
            .unwrap_or(first);
        (start..end).chain(first..start).find(|ip| !taken.contains(ip)).map(Ipv4Addr::from)
    }

    /// Is any host port held?
    pub fn has_ports(&self) -> bool {
        self.holdings.values().any(|holding| !holding.ports.is_empty())
    }
}

/// The table, locked for as long as this lives.
pub struct Allocations {
    file: PathBuf,
    /// What was read, and what `save` writes.
    pub table: Table,
    _lock: Flock<File>,
}

impl Allocations {
    /// Takes the lock and reads the table of a network.
    pub fn open(data_dir: &Path, network: &str) -> Result<Allocations, CniError> {
        // A network's name may hold anything; its folder must not lead elsewhere.
        let name: String = network
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' })
            .collect();
        let folder = data_dir.join(name);
        fs::create_dir_all(&folder).map_err(|e| CniError::io("create", &folder, &e))?;
        let lock_path = folder.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| CniError::io("open", &lock_path, &e))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, errno)| CniError::io("lock", &lock_path, &errno.into()))?;
        let file = folder.join("addresses.json");
        let table = match fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|e| CniError::new(CniError::IO, format!("{} is damaged", file.display()), e))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Table::default(),
            Err(e) => return Err(CniError::io("read", &file, &e)),
        };
        Ok(Allocations { file, table, _lock: lock })
    }

    /// Gives an address to an attachment, or the one it has already. When the range is full,
    /// holders whose namespace is gone lose theirs.
    pub fn take(
        &mut self,
        key: &str,
        range: Ipv4Net,
        netns: &Path,
        ports: Vec<PortMapping>,
    ) -> Result<Ipv4Addr, CniError> {
        let held = self.table.holdings.get(key).map(|holding| holding.ip).filter(|ip| range.contains(ip));
        let ip = match held.or_else(|| self.table.pick(range)) {
            Some(ip) => ip,
            None => {
                self.table.holdings.retain(|_, holding| holding.netns.exists());
                self.table.pick(range).ok_or_else(|| {
                    CniError::new(
                        CniError::NO_ADDRESS,
                        format!("no free address in {range}"),
                        format!("{} are in use", self.table.holdings.len()),
                    )
                })?
            }
        };
        self.table.last = Some(ip);
        self.table.holdings.insert(key.to_owned(), Holding { ip, netns: netns.to_owned(), ports });
        self.save()?;
        Ok(ip)
    }

    /// Frees what an attachment holds.
    pub fn release(&mut self, key: &str) -> Result<Option<Holding>, CniError> {
        let holding = self.table.holdings.remove(key);
        if holding.is_some() {
            self.save()?;
        }
        Ok(holding)
    }

    /// Writes the table, whole or not at all. No fsync: what a power cut takes, it takes from the
    /// kernel's side (namespaces, interfaces) as well.
    pub fn save(&self) -> Result<(), CniError> {
        let text = serde_json::to_vec_pretty(&self.table)
            .map_err(|e| CniError::new(CniError::IO, "cannot encode the addresses", e))?;
        machinery::files::replace(&self.file, &text, 0o644).map_err(|e| CniError::io("write", &self.file, &e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> Ipv4Net {
        "10.244.1.0/29".parse().unwrap()
    }

    fn table(last: Option<u8>, held: &[u8]) -> Table {
        let ip = |n: u8| Ipv4Addr::new(10, 244, 1, n);
        Table {
            last: last.map(ip),
            holdings: held
                .iter()
                .map(|n| (n.to_string(), Holding { ip: ip(*n), netns: PathBuf::new(), ports: vec![] }))
                .collect(),
        }
    }

    #[test]
    fn addresses_go_round_and_skip_what_is_held() {
        // A /29 has 2 to 6 for pods: 0 is the network, 1 the gateway, 7 the broadcast address.
        let cases: [(Option<u8>, &[u8], Option<u8>); 7] = [
            (None, &[], Some(2)),
            (Some(2), &[2], Some(3)),
            (Some(3), &[2], Some(4)),
            (Some(6), &[6], Some(2)),
            (Some(6), &[2, 3, 6], Some(4)),
            (Some(6), &[2, 3, 4, 5, 6], None),
            (Some(200), &[2], Some(3)),
        ];
        for (last, held, expected) in cases {
            let picked = table(last, held).pick(range()).map(|ip| ip.octets()[3]);
            assert_eq!(picked, expected, "last {last:?} held {held:?}");
        }
    }

    #[test]
    fn what_is_taken_stays_taken_for_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let take = |key: &str| {
            let mut all = Allocations::open(dir.path(), "pods").unwrap();
            all.take(key, range(), dir.path(), vec![]).map(|ip| ip.octets()[3])
        };
        assert_eq!(take("a/eth0"), Ok(2));
        assert_eq!(take("b/eth0"), Ok(3));
        assert_eq!(take("a/eth0"), Ok(2), "asked twice, the same");
        let mut all = Allocations::open(dir.path(), "pods").unwrap();
        assert!(all.release("a/eth0").unwrap().is_some());
        assert!(all.release("a/eth0").unwrap().is_none());
        drop(all);
        for n in [4, 5, 6, 2] {
            assert_eq!(take(&format!("n{n}/eth0")).unwrap(), n);
        }
        assert_eq!(take("full/eth0").unwrap_err(), {
            CniError::new(CniError::NO_ADDRESS, "no free address in 10.244.1.0/29", "5 are in use")
        });
    }

    #[test]
    fn a_full_range_gives_back_what_the_dead_held() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let mut all = Allocations::open(dir.path(), "pods").unwrap();
        for n in 0..5 {
            let netns = if n == 3 { gone.as_path() } else { dir.path() };
            all.take(&n.to_string(), range(), netns, vec![]).unwrap();
        }
        assert_eq!(all.take("new", range(), dir.path(), vec![]).unwrap().octets()[3], 5);
        assert!(!all.table.holdings.contains_key("3"));
    }

    #[test]
    fn many_at_once_never_share_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let wide: Ipv4Net = "10.244.2.0/24".parse().unwrap();
        let path = dir.path();
        let ips: Vec<Ipv4Addr> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..40)
                .map(|n| {
                    scope.spawn(move || {
                        let mut all = Allocations::open(path, "pods").unwrap();
                        all.take(&n.to_string(), wide, path, vec![]).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ips.iter().collect::<HashSet<_>>().len(), 40);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_table() {
        let dir = tempfile::tempdir().unwrap();
        drop(Allocations::open(dir.path(), "pods").unwrap());
        fs::write(dir.path().join("pods/addresses.json"), "{").unwrap();
        assert_eq!(Allocations::open(dir.path(), "pods").err().map(|e| e.code), Some(CniError::IO));
    }
}
