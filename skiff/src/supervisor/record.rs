//! A running process as written in the cluster's `run` folder.

use std::fs;
use std::path::Path;

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

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::replace(path, &serde_json::to_vec(self)?, 0o644)
    }
}

/// Reads a record; none, or one that was damaged by a crash of the machine, is none.
pub fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
