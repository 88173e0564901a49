//! Folders, mounts and ownership on the node's disk.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Makes an emptyDir; what is in it already stays.
pub(super) fn empty_dir(dir: &Path, source: &EmptyDirVolumeSource, group: Option<i64>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if source.medium.as_deref() == Some("Memory") && !is_mount_point(dir)? {
        let limit = source.size_limit.as_ref().map(|limit| Quantity::of(limit).value()).filter(|n| *n > 0);
        let options = limit.map(|bytes| format!("size={bytes}"));
        mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), options.as_deref())?;
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
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
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
