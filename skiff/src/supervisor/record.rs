//! A running process as written in the cluster's `run` folder.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::{fs, io};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::files;
use crate::processes::Identity;

/// Which process a daemon is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The process.
    #[serde(flatten)]
    pub process: Identity,
    /// When it was started.
    pub since: jiff::Timestamp,
    /// How often it was started again since `skiff up`.
    pub restarts: u32,
}

impl Record {
    /// A record of a process that has just been started.
    pub fn new(process: Identity, restarts: u32) -> Record {
        Record { process, since: machinery::clock::now(), restarts }
    }

    /// Writes it. On a full disk it takes the room of the one before: a daemon that helps to empty it is to be startable.
    pub fn write(&self, path: &Path) -> Result<()> {
        let record = serde_json::to_vec(self)?;
        files::replace(path, &record, 0o644).or_else(|error| overwrite(path, record).map_err(|_| error))
    }
}

/// Writes a record over the one that is there, with blanks behind it if it is shorter.
fn overwrite(path: &Path, mut record: Vec<u8>) -> io::Result<()> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    record.resize(record.len().max(length), b' ');
    file.write_all_at(&record, 0)
}

/// Reads a record; none, or one that was damaged by a crash of the machine, is none.
pub fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests;
