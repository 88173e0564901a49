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
    _lock: File,
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
        let lock =
            machinery::files::open_lock(&lock_path).map_err(|e| CniError::io("open", &lock_path, &e))?;
        lock.lock().map_err(|e| CniError::io("lock", &lock_path, &e))?;
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
mod tests;
