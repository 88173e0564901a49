//! What is mounted for a pod, written beside its volumes: before anything is mounted and after it is ready, so
//! that whoever comes after a crash knows all that there may be to take away. A power failure may lose it, and
//! loses the mounts as well.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use machinery::files;
use serde::{Deserialize, Serialize};

use super::source::Volume;

const FILE: &str = "volumes.json";

/// The volumes of one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The pod's namespace.
    pub(super) namespace: String,
    /// The pod's name.
    pub(super) name: String,
    /// By their place in the folder of the pod's volumes.
    pub(super) volumes: BTreeMap<PathBuf, Kept>,
}

/// A volume in the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Which one.
    #[serde(flatten)]
    pub(super) volume: Volume,
    /// All was done for it; from then on it belongs to the containers.
    pub(super) ready: bool,
}

impl Record {
    /// The record in a pod's folder. Without one, or with one that cannot be understood, what the kernel says is
    /// mounted is all there is to go by.
    pub(super) fn read(pod_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(pod_dir.join(FILE)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .inspect_err(
                    |error| tracing::warn!(pod = %pod_dir.display(), %error, "Lost a record of volumes"),
                )
                .ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it there.
    pub(super) fn write(&self, pod_dir: &Path) -> io::Result<()> {
        files::replace(&pod_dir.join(FILE), &serde_json::to_vec(self)?, 0o600)
    }

    /// Removes it; none is as good.
    pub(super) fn remove(pod_dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(pod_dir.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
