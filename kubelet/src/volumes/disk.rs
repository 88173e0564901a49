//! Folders, mounts and ownership on the node's disk.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Makes a folder that lives in memory and takes at most `size` bytes. One that is there stays as it is,
/// also when it lies on disk: containers may look into it.
pub(super) fn in_memory(dir: &Path, size: Option<i64>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if is_mount_point(dir)? || fs::read_dir(dir)?.next().is_some() {
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

/// Makes an emptyDir, in memory if it has a size there; what is in it already stays.
pub(super) fn empty_dir(dir: &Path, memory: Option<Option<i64>>, group: Option<i64>) -> io::Result<()> {
    match memory {
        Some(size) => in_memory(dir, size)?,
        None => fs::create_dir_all(dir)?,
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777))?;
    give_to_group(dir, group)
}

/// Gives a folder and all in it to a group, which may then read and write like the owner.
pub(super) fn give_to_group(dir: &Path, group: Option<i64>) -> io::Result<()> {
    let Some(group) = group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_symlink() {
            continue;
        }
        chown(&path, None, Some(group))?;
        let mode = meta.permissions().mode();
        if meta.is_dir() {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o2770))?;
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else {
            let like_owner = (mode >> 3) & 0o060;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode | like_owner | 0o040))?;
        }
    }
    Ok(())
}

fn is_mount_point(dir: &Path) -> io::Result<bool> {
    let parent = dir.parent().unwrap_or(Path::new("/"));
    Ok(fs::metadata(dir)?.dev() != fs::metadata(parent)?.dev())
}

/// Unmounts everything below a folder, innermost first.
pub(super) fn unmount_below(dir: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mut below: Vec<PathBuf> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .filter(|path| path.starts_with(dir))
        .collect();
    below.sort();
    for path in below.iter().rev() {
        umount2(path, MntFlags::MNT_DETACH)?;
    }
    Ok(())
}

/// Checks, or makes, what a hostPath volume names.
pub(super) fn host_path(path: &Path, kind: &str) -> Result<(), String> {
    let found = fs::metadata(path).ok().map(|meta| meta.file_type());
    let shown = path.display();
    let is = |word: &str, holds: Option<bool>| match holds {
        Some(true) => Ok(()),
        _ => Err(format!("hostPath type check failed: {shown} is not a {word}")),
    };
    match kind {
        "DirectoryOrCreate" if found.is_none() => {
            fs::create_dir_all(path).map_err(|e| format!("cannot make {shown}: {e}"))
        }
        "FileOrCreate" if found.is_none() => {
            fs::File::create(path).map(drop).map_err(|e| format!("cannot make {shown}: {e}"))
        }
        "Directory" | "DirectoryOrCreate" => is("directory", found.map(|kind| kind.is_dir())),
        "File" | "FileOrCreate" => is("file", found.map(|kind| kind.is_file())),
        "Socket" => is("socket file", found.map(|kind| kind.is_socket())),
        "CharDevice" => is("character device", found.map(|kind| kind.is_char_device())),
        "BlockDevice" => is("block device", found.map(|kind| kind.is_block_device())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs on a thread with mounts of its own, which go with it; needs root.
    fn with_own_mounts(work: impl FnOnce() + Send + 'static) {
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

            let old = root.path().join("old");
            fs::create_dir(&old).expect("there is room");
            fs::write(old.join("key"), "secret").expect("there is room");
            in_memory(&old, None).expect("one on disk is left alone");
            assert_eq!(fs::read_to_string(old.join("key")).expect("it is not hidden"), "secret");
        });
    }

    #[test]
    fn host_paths_are_what_they_say() {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let (dir, file, none) = (root.path().join("d"), root.path().join("f"), root.path().join("none"));
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
        ] {
            let refusal = format!("hostPath type check failed: {} is not a {words}", path.display());
            assert_eq!(host_path(path, kind), Err(refusal));
        }
        assert_eq!(host_path(&none, ""), Ok(()));
        assert_eq!(host_path(Path::new("/dev/null"), "CharDevice"), Ok(()));
    }
}
