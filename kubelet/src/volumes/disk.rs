//! Folders and mounts on the node's disk.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use machinery::beneath::Handle;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::ownership::Group;
use crate::runtime_config::names::SUB_PATHS;

/// Makes a folder that lives in memory and takes at most `size` bytes. One that is there stays as it is,
/// also when it lies on disk: containers may look into it.
fn in_memory(dir: &Path, size: Option<i64>) -> io::Result<()> {
    if stands_in_memory(dir)? {
        return Ok(());
    }
    let size = size.map(|bytes| format!("size={bytes}"));
    let options = |more: Option<&str>| {
        let all: Vec<&str> = size.as_deref().into_iter().chain(more).collect();
        all.join(",")
    };
    let tmpfs =
        |options: String| mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()));
    // What lies in memory must not come to lie on a swap device; Linux before 6.4 cannot say so.
    Ok(tmpfs(options(Some("noswap"))).or_else(|_| tmpfs(options(None)))?)
}

/// Makes an emptyDir, in memory if it has a size there, with the mode and the group that upstream's has. `ready`
/// is made when that is done; from then on the folder belongs to the containers and stays as it is.
pub(super) fn empty_dir(
    dir: &Path,
    ready: &Path,
    memory: Option<Option<i64>>,
    group: Option<Group>,
) -> io::Result<()> {
    if ready.exists() && dir.exists() && (memory.is_none() || stands_in_memory(dir)?) {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    match memory {
        // The kernel gives it the mode 1777.
        Some(size) => in_memory(dir, size)?,
        None => Handle::open(dir)?.set_mode(0o777)?,
    }
    if let Some(group) = group {
        group.give(&Handle::open(dir)?)?;
    }
    done(ready)
}

/// Makes the file that says that a volume is ready.
pub(super) fn done(ready: &Path) -> io::Result<()> {
    fs::create_dir_all(ready.parent().unwrap_or(Path::new("/")))?;
    fs::write(ready, "")
}

/// Whether a folder needs no file system in memory any more.
fn stands_in_memory(dir: &Path) -> io::Result<bool> {
    let parent = dir.parent().unwrap_or(Path::new("/"));
    let mounted = fs::metadata(dir)?.dev() != fs::metadata(parent)?.dev();
    Ok(mounted || fs::read_dir(dir)?.next().is_some())
}

/// Unmounts whatever is mounted at a path, and all that is mounted in it, without the places where it is mounted
/// besides being told.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    loop {
        // Else what was mounted inside would go from the volume, too.
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        match mount(None::<&str>, path, None::<&str>, private, None::<&str>) {
            Ok(()) => umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?,
            // Nothing is mounted there.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Unmounts everything below a pod's folder, innermost first.
pub(super) fn unmount_below(dir: &Path) -> io::Result<()> {
    // The kernel names mounts by where they are, whatever links lead there.
    let dir = match Handle::open(dir) {
        Ok(held) => held.path()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let sub_paths = dir.join(SUB_PATHS);
    for path in mounts_below(&sub_paths)? {
        // VOLUME/CONTAINER/INDEX; what lies deeper belongs to the volume.
        if path.strip_prefix(&sub_paths).is_ok_and(|below| below.components().count() == 3) {
            detach(&path)?;
        }
    }
    for path in mounts_below(&dir)?.iter().rev() {
        umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?;
    }
    Ok(())
}

fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mounts = fs::read("/proc/thread-self/mountinfo")?;
    let lines = mounts.split(|&byte| byte == b'\n');
    let points = lines.filter_map(|line| line.split(|&byte| byte == b' ').nth(4)).map(unescaped);
    let mut below: Vec<PathBuf> = points.filter(|path| path.starts_with(dir)).collect();
    below.sort();
    Ok(below)
}

/// A path as the kernel writes it among others: with `\040` for a space.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let code = after.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// Checks, or makes, what a hostPath volume names.
pub(super) fn host_path(path: &Path, kind: &str) -> io::Result<()> {
    let kind_of = || fs::metadata(path).ok().map(|meta| meta.file_type());
    let shown = path.display();
    let mut found = kind_of();
    if found.is_none() {
        let made = match kind {
            "DirectoryOrCreate" => fs::create_dir_all(path),
            // What is there by now, also a link that leads nowhere, stays as it is.
            "FileOrCreate" => fs::File::create_new(path).map(drop),
            _ => Ok(()),
        };
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(error.kind(), format!("cannot make {shown}: {error}")));
            }
            _ => found = kind_of(),
        }
    }
    let is = |word: &str, holds: Option<bool>| match holds {
        Some(true) => Ok(()),
        _ => Err(io::Error::other(format!("hostPath type check failed: {shown} is not a {word}"))),
    };
    match kind {
        "Directory" | "DirectoryOrCreate" => is("directory", found.map(|kind| kind.is_dir())),
        "File" | "FileOrCreate" => is("file", found.map(|kind| kind.is_file())),
        "Socket" => is("socket file", found.map(|kind| kind.is_socket())),
        "CharDevice" => is("character device", found.map(|kind| kind.is_char_device())),
        "BlockDevice" => is("block device", found.map(|kind| kind.is_block_device())),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Runs on a thread with mounts of its own, which go with it; needs root.
    pub(in super::super) fn with_own_mounts(work: impl FnOnce() + Send + 'static) {
        if !machinery::testing::may_run_as_root() {
            return;
        }
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root may");
            let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("root may");
            work();
        });
        thread.join().expect("the thread's own assertions hold");
    }

    #[test]
    fn folders_in_memory_have_a_size_stay_and_go() {
        with_own_mounts(|| {
            let root = tempfile::tempdir().expect("the test has a temporary folder");
            let dir = root.path().join("v");
            fs::create_dir(&dir).expect("there is room");
            in_memory(&dir, Some(1 << 20)).expect("tmpfs is there");
            let kind = nix::sys::statfs::statfs(&dir).expect("it is there").filesystem_type();
            assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
            fs::write(dir.join("key"), "secret").expect("there is room");
            assert!(fs::write(dir.join("much"), vec![1; 2 << 20]).is_err(), "more than its size");
            in_memory(&dir, Some(1 << 20)).expect("again, as after a restart");
            assert_eq!(fs::read_to_string(dir.join("key")).expect("nothing lies above it"), "secret");
            unmount_below(root.path()).expect("it can go");
            assert!(
                fs::read_dir(&dir).expect("the folder stays").next().is_none(),
                "nothing came to lie on disk"
            );

            // A path with a space and a backslash, and something below it, as containers can leave it.
            let odd = root.path().join("a b\\040");
            in_memory_at(&odd);
            in_memory_at(&odd.join("deeper"));
            unmount_below(root.path()).expect("it can go");
            assert!(fs::read_dir(&odd).expect("the folder stays").next().is_none());

            let old = root.path().join("old");
            fs::create_dir(&old).expect("there is room");
            fs::write(old.join("key"), "secret").expect("there is room");
            in_memory(&old, None).expect("one on disk is left alone");
            assert_eq!(fs::read_to_string(old.join("key")).expect("it is not hidden"), "secret");
        });
    }

    fn in_memory_at(dir: &Path) {
        fs::create_dir(dir).expect("there is room");
        in_memory(dir, None).expect("tmpfs is there");
    }

    /// What is mounted in a volume is seen below a path in it, too, and does not go with that.
    #[test]
    fn what_is_mounted_in_a_volume_outlives_a_pod() {
        with_own_mounts(|| {
            let root = tempfile::tempdir().expect("the test has a temporary folder");
            let volume = root.path().join("host");
            in_memory_at(&volume);
            let shared = MsFlags::MS_SHARED;
            mount(None::<&str>, &volume, None::<&str>, shared, None::<&str>).expect("root may");
            fs::create_dir_all(volume.join("data/disk")).expect("there is room");
            let pod = root.path().join("pods/uid");
            let target = pod.join(SUB_PATHS).join("v/c/0");
            super::super::sub_path::mount(&volume, Path::new("data"), &target).expect("root may");
            in_memory(&volume.join("data/disk"), None).expect("tmpfs is there");
            fs::write(target.join("disk/file"), "kept").expect("the mount shows here, too");
            unmount_below(&pod).expect("it can go");
            assert!(!target.join("disk").exists());
            let kept = fs::read_to_string(volume.join("data/disk/file"));
            assert_eq!(kept.expect("the volume's own mount stays"), "kept");
            unmount_below(root.path()).expect("it can go");
        });
    }

    #[test]
    fn an_empty_dir_is_made_once_and_then_belongs_to_the_containers() {
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let (dir, ready) = (root.path().join("v"), root.path().join("plugins/v/ready"));
        empty_dir(&dir, &ready, None, None).expect("there is room");
        assert_eq!((mode(&dir), ready.exists()), (0o777, true));
        fs::write(dir.join("own"), "").expect("there is room");
        for path in [&dir, &dir.join("own")] {
            Handle::open(path).and_then(|held| held.set_mode(0o500)).expect("it is ours");
        }
        let pod = |group: u32| -> k8s_openapi::api::core::v1::Pod {
            let pod = serde_json::json!({"spec": {"containers": [], "securityContext": {"fsGroup": group}}});
            serde_json::from_value(pod).expect("the test's pod is one")
        };
        let group = Group::of(&pod(nix::unistd::getegid().as_raw()), false);
        empty_dir(&dir, &ready, None, group).expect("as after a restart");
        assert_eq!((mode(&dir), mode(&dir.join("own"))), (0o500, 0o500), "it stays as it is");

        fs::remove_file(&ready).expect("it is there");
        empty_dir(&dir, &ready, None, group).expect("there is room");
        assert_eq!((mode(&dir), mode(&dir.join("own"))), (0o2777, 0o760));
        with_own_mounts(|| {
            let root = tempfile::tempdir().expect("the test has a temporary folder");
            let (dir, ready) = (root.path().join("v"), root.path().join("ready"));
            empty_dir(&dir, &ready, Some(None), None).expect("tmpfs is there");
            let mode = fs::metadata(&dir).expect("it is there").mode();
            assert_eq!(mode & 0o7777, 0o1777, "as upstream's");
            unmount_below(root.path()).expect("it can go");
            empty_dir(&dir, &ready, Some(None), None).expect("as after the machine's restart");
            let kind = nix::sys::statfs::statfs(&dir).expect("it is there").filesystem_type();
            assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
            unmount_below(root.path()).expect("it can go");
        });
    }

    #[test]
    fn host_paths_are_what_they_say() {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let (dir, file, none) = (root.path().join("d"), root.path().join("f"), root.path().join("none"));
        let dangling = root.path().join("dangling");
        std::os::unix::fs::symlink(&none, &dangling).expect("there is room");
        assert!(host_path(&dir, "DirectoryOrCreate").is_ok() && dir.is_dir());
        assert!(host_path(&file, "FileOrCreate").is_ok() && file.is_file());
        for (path, kind, words) in [
            (&none, "Directory", "directory"),
            (&file, "Directory", "directory"),
            (&file, "DirectoryOrCreate", "directory"),
            (&dir, "File", "file"),
            (&file, "Socket", "socket file"),
            (&file, "CharDevice", "character device"),
            (&file, "BlockDevice", "block device"),
            (&dangling, "FileOrCreate", "file"),
        ] {
            let refusal = format!("hostPath type check failed: {} is not a {words}", path.display());
            assert_eq!(host_path(path, kind).map_err(|error| error.to_string()), Err(refusal));
        }
        host_path(&none, "").expect("nothing is asked for");
        assert!(!none.exists(), "a link is not followed to make a file");
        host_path(Path::new("/dev/null"), "CharDevice").expect("it is one");
    }
}
