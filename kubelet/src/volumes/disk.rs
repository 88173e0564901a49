//! Folders and mounts on the node's disk.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use machinery::beneath::Handle;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::ownership::Group;
use crate::runtime_config::names::SUB_PATHS;

/// For what is to be unmounted: else what is mounted inside would go from the volume, too.
const ALONE: MsFlags = MsFlags::MS_PRIVATE.union(MsFlags::MS_REC);

/// Makes a folder that lives in memory and takes at most `size` bytes. One that is there stays as it is:
/// containers may look into it.
fn in_memory(dir: &Path, size: Option<i64>) -> io::Result<()> {
    let parent = dir.parent().unwrap_or(Path::new("/"));
    if fs::metadata(dir)?.dev() != fs::metadata(parent)?.dev() {
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

/// Makes an emptyDir, in memory if it has a size there, with the mode and the group that upstream's has.
pub(super) fn empty_dir(dir: &Path, memory: Option<Option<i64>>, group: Option<Group>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    match memory {
        // The kernel gives it the mode 1777.
        Some(size) => in_memory(dir, size)?,
        None => Handle::open(dir)?.set_mode(0o777)?,
    }
    match group {
        Some(group) => group.give(&Handle::open(dir)?),
        None => Ok(()),
    }
}

/// Unmounts whatever is mounted at a path, and all that is mounted in it, without the places where it is mounted
/// besides being told.
pub(super) fn detach(path: &Path) -> io::Result<()> {
    loop {
        match mount(None::<&str>, path, None::<&str>, ALONE, None::<&str>) {
            Ok(()) => umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)?,
            // Nothing is mounted there.
            Err(Errno::EINVAL | Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// As [`detach`], but not as long as a program of the node uses it: nobody writes there any more afterwards.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    // What is mounted itself may be out of reach.
    let path = match Handle::open(parent) {
        Ok(parent) => parent.path()?.join(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mounted = mounted_below(&path)?;
    if mounted.contains(&path) {
        mount(None::<&str>, &path, None::<&str>, ALONE, None::<&str>)?;
    }
    for mounted in mounted.iter().rev() {
        if *mounted != path {
            detach(mounted)?;
            continue;
        }
        umount2(&path, MntFlags::UMOUNT_NOFOLLOW).map_err(|error| {
            let why = if error == Errno::EBUSY { "target is busy." } else { error.desc() };
            io::Error::other(format!("unmount failed: {}: {why}", path.display()))
        })?;
    }
    Ok(())
}

/// Unmounts the paths inside of volumes that a pod's containers were given.
pub(super) fn detach_sub_paths(pod_dir: &Path) -> io::Result<()> {
    let sub_paths = pod_dir.join(SUB_PATHS);
    for path in mounted_below(&sub_paths)? {
        // VOLUME/CONTAINER/INDEX; what lies deeper belongs to the volume.
        if path.strip_prefix(&sub_paths).is_ok_and(|below| below.components().count() == 3) {
            detach(&path)?;
        }
    }
    Ok(())
}

/// Where something is mounted at or below a path as the kernel names it, outermost first.
pub(super) fn mounted_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
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

#[cfg(test)]
pub(super) mod tests;
