//! Folders of the node that PersistentVolumes name.

use std::io;
use std::path::Path;

use machinery::beneath::Handle;

use super::ownership::Group;
use super::{Refused, make_private};
use crate::runtime_config::names;

/// To which group a volume is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Give {
    pub(super) group: Group,
    /// Nothing is looked at when the volume's own folder belongs to the group already.
    pub(super) unless_seen: bool,
    /// Another pod's containers have it already; theirs it stays.
    pub(super) is_used: bool,
}

/// Makes the folder of a volume that is made to order here, for anybody to write to, if it is not there yet. Any other
/// path is left alone.
fn made_to_order(root: &Path, path: &Path) -> io::Result<()> {
    let folder = names::local_volumes(root);
    if let Ok(name) = path.strip_prefix(&folder)
        && name.components().count() == 1
    {
        std::fs::create_dir_all(&folder)?;
        Handle::open(&folder)?.make_dir(name, 0o777)?;
    }
    Ok(())
}

/// Mounts a folder for a pod; what is found first at its path is what is given to the group and mounted. `root` is
/// the kubelet's.
pub(super) fn mount(root: &Path, path: &Path, target: &Path, give: Option<Give>) -> Result<(), Refused> {
    made_to_order(root, path)?;
    let uninitialized = |message| Refused { step: "NewMounter initialization failed", message };
    let held = match Handle::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(uninitialized(format!("path {path:?} does not exist")));
        }
        held => held?,
    };
    if !held.metadata()?.is_dir() {
        return Err(uninitialized("only directory and block device are supported".to_owned()));
    }
    if let Some(Give { group, unless_seen, is_used }) = give {
        let is_missing = group.is_missing(&held)?;
        if is_used && is_missing {
            tracing::warn!(path = %path.display(), "A volume belongs to another group");
        } else if !is_used && (!unless_seen || is_missing) {
            group.give(&held)?;
        }
    }
    make_private(target)?;
    Ok(held.mount_at(target)?)
}

#[cfg(test)]
mod tests;
