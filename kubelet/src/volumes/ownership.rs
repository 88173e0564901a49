//! Whom a volume's files belong to: the group that a pod asks for (`fsGroup`), and the user that all of its
//! containers run as. Corresponds to upstream's `volume_linux.go` and `FsUserFrom`.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::Handle;

use crate::pod_spec;
use crate::runtime_config::container::run_as_user;

const SET_GID: u32 = 0o2000;

/// The group that a pod's volumes are given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    id: u32,
    /// Its members may only read.
    read_only: bool,
}

impl Group {
    /// The group that a pod asks for.
    pub(super) fn of(pod: &Pod, read_only: bool) -> Option<Self> {
        let context = pod_spec::spec(pod).security_context.as_ref();
        let id = u32::try_from(context.and_then(|context| context.fs_group)?).ok()?;
        Some(Self { id, read_only })
    }

    /// What its members may do with a file or a folder, besides what the mode says already.
    fn bits(self, metadata: &Metadata) -> u32 {
        let bits = if self.read_only { 0o440 } else { 0o660 };
        if metadata.is_dir() { bits | 0o110 | SET_GID } else { bits }
    }

    /// Whether a volume does not look as if it had been given to the group.
    pub(super) fn is_missing(self, root: &Handle) -> io::Result<bool> {
        let metadata = root.metadata()?;
        let bits = self.bits(&metadata);
        Ok(metadata.gid() != self.id || !metadata.is_dir() || metadata.mode() & bits != bits)
    }

    /// Gives a folder and all in it to the group; the folder itself last, so that [`Group::is_missing`] sees
    /// what was broken off. As upstream, what cannot be given stays as it is.
    pub(super) fn give(self, root: &Handle) -> io::Result<()> {
        let (mut refused, mut first) = (0, None);
        let mut give = |held: &Handle, metadata: &Metadata| {
            if let Err(error) = self.give_one(held, metadata) {
                refused += 1;
                first.get_or_insert(error);
            }
        };
        root.walk(|held, metadata| {
            give(held, metadata);
            Ok(())
        })?;
        give(root, &root.metadata()?);
        if let Some(error) = first {
            let path = root.path()?;
            tracing::warn!(path = %path.display(), refused, %error, "Cannot give files to a pod's group");
        }
        Ok(())
    }

    fn give_one(self, held: &Handle, metadata: &Metadata) -> io::Result<()> {
        held.give(None, Some(self.id))?;
        if metadata.is_symlink() {
            return Ok(());
        }
        held.set_mode(metadata.mode() & 0o7777 | self.bits(metadata))
    }
}

/// The user that all containers of a pod run as, if its spec says so and it is the same for all.
pub(super) fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod_spec::spec(pod);
    let ephemeral: Vec<_> = pod_spec::ephemeral_containers(pod).iter().map(pod_spec::as_container).collect();
    let containers = pod_spec::init_containers(pod).iter().chain(&spec.containers).chain(&ephemeral);
    let mut users = containers.map(|container| run_as_user(pod, container));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok())?
}

#[cfg(test)]
mod tests;
