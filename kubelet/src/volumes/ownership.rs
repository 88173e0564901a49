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
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use nix::unistd::getegid;
    use serde_json::json;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
    }

    fn file(path: &Path, mode: u32) {
        fs::write(path, "x").expect("there is room");
        set_mode(path, mode);
    }

    fn set_mode(path: &Path, mode: u32) {
        Handle::open(path).and_then(|held| held.set_mode(mode)).expect("it is ours");
    }

    fn group(read_only: bool) -> Group {
        Group { id: getegid().as_raw(), read_only }
    }

    #[test]
    fn members_may_read_and_where_it_can_be_written_write() {
        for (read_only, before, after, folder) in [
            (false, 0o600, 0o660, 0o2775),
            (false, 0o4755, 0o4775, 0o2775),
            (true, 0o644, 0o644, 0o2755),
            (true, 0o600, 0o640, 0o2755),
            (true, 0o400, 0o440, 0o2755),
        ] {
            let root = tempfile::tempdir().expect("the test has a temporary folder");
            let (inner, outside) = (root.path().join("v/d"), root.path().join("outside"));
            fs::create_dir_all(&inner).expect("there is room");
            for dir in [&inner, &root.path().join("v")] {
                set_mode(dir, 0o755);
            }
            file(&inner.join("f"), before);
            file(&outside, 0o600);
            symlink(&outside, inner.join("link")).expect("there is room");
            let held = Handle::open(&root.path().join("v")).expect("it is there");
            assert!(group(read_only).is_missing(&held).expect("it is there"));
            group(read_only).give(&held).expect("it can be walked");
            assert_eq!(format!("{:o}", mode(&inner.join("f"))), format!("{after:o}"));
            assert_eq!((mode(&inner), mode(&root.path().join("v"))), (folder, folder));
            assert_eq!(mode(&outside), 0o600, "what a link leads to is left alone");
            assert!(!group(read_only).is_missing(&held).expect("it is there"));
        }
    }

    #[test]
    fn what_is_exchanged_for_a_link_meanwhile_leads_nowhere() {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let (volume, outside) = (root.path().join("v"), root.path().join("outside"));
        for dir in [&volume.join("d"), &outside] {
            fs::create_dir_all(dir).expect("there is room");
        }
        for number in 0..50 {
            file(&volume.join(format!("d/{number}")), 0o600);
            file(&outside.join(number.to_string()), 0o600);
        }
        let before = mode(&outside);
        symlink(&outside, volume.join("link")).expect("there is room");
        let over = AtomicBool::new(false);
        let held = Handle::open(&volume).expect("it is there");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (dir, link) = (volume.join("d"), volume.join("link"));
                while !over.load(Ordering::Relaxed) {
                    renameat2(AT_FDCWD, &dir, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE)
                        .expect("both are there");
                }
            });
            for _ in 0..300 {
                group(false).give(&held).expect("what is gone is left out");
            }
            over.store(true, Ordering::Relaxed);
        });
        for number in 0..50 {
            assert_eq!(mode(&outside.join(number.to_string())), 0o600);
        }
        assert_eq!(mode(&outside), before);
    }

    #[test]
    fn the_user_of_all_containers() {
        let user = |of_pod, init, main, ephemeral| {
            let container = |user: Option<i64>| json!({"name": "c", "securityContext": {"runAsUser": user}});
            let pod = json!({"spec": {"securityContext": {"runAsUser": of_pod},
                "initContainers": [container(init)], "containers": [container(main)],
                "ephemeralContainers": [container(ephemeral)]}});
            only_user(&serde_json::from_value(pod).expect("the test's pod is one"))
        };
        assert_eq!(user(Some(1000), None, None, None), Some(1000));
        assert_eq!(user(None, Some(7), Some(7), Some(7)), Some(7));
        assert_eq!(user(Some(0), None, None, None), Some(0));
        assert_eq!(user(Some(1000), None, Some(7), None), None);
        assert_eq!(user(None, Some(7), Some(7), None), None);
        assert_eq!(user(None, None, None, None), None);
    }
}
