//! Writes the files of a volume so that a reader sees either all of the old or all of the new: they lie in a
//! folder named after the time, `..data` points to it, and the visible names point through `..data`.
//! Corresponds to upstream's `volume/util/atomic_writer.go`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::disk;
use super::payload::Files;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes the volume at `dir` hold exactly `files`; leaves it untouched when it does already.
pub(super) fn write(dir: &Path, files: &Files, group: Option<i64>) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    let old = fs::read_link(dir.join(DATA)).ok();
    if let Some(old) = &old
        && same(&dir.join(old), files)
    {
        return Ok(());
    }
    let name = Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string();
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        // Nobody may read a secret between its making and its getting a mode.
        let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&target)?;
        made.write_all(&file.bytes)?;
        // The process' umask may have taken from the mode.
        made.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    disk::give_to_group(&fresh, group)?;
    let next = dir.join(NEXT);
    ignore_missing(fs::remove_file(&next))?;
    symlink(&name, &next)?;
    fs::rename(&next, dir.join(DATA))?;

    let visible: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &visible {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let known = entry.file_name();
        let known = known.to_string_lossy();
        if !known.starts_with("..") && !visible.contains(&*known) {
            fs::remove_file(entry.path())?;
        }
        if known.starts_with("..") && known != DATA && *known != *name {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether a folder holds exactly these files with these modes.
fn same(dir: &Path, files: &Files) -> bool {
    let equal = |(path, file): (&String, &super::payload::File)| {
        let path = dir.join(path);
        let mode = fs::metadata(&path).map(|meta| meta.permissions().mode() & 0o777);
        // Files given to a group are readable by it whatever their mode says.
        mode.is_ok_and(|mode| mode & !0o440 == file.mode & !0o440)
            && fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
    };
    files.iter().all(equal) && count(dir) == files.len()
}

fn count(dir: &Path) -> usize {
    let mut found = 0;
    let mut open: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            } else {
                found += 1;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn files(pairs: &[(&str, &str, u32)]) -> Files {
        let file = |text: &str, mode| File { bytes: text.as_bytes().to_vec(), mode };
        pairs.iter().map(|(path, text, mode)| ((*path).to_owned(), file(text, *mode))).collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("the folder was just written");
        let mut names: Vec<String> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.retain(|name| !name.starts_with(".."));
        names
    }

    #[test]
    fn swaps_all_files_at_once_and_leaves_equal_ones_alone() {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let dir = root.path().join("v");
        let target = || fs::read_link(dir.join(DATA)).expect("the link was just made");
        write(&dir, &files(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).expect("first");
        let first = target();
        assert_eq!(names(&dir), ["a", "sub"]);
        assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("through the link"), "2");
        let mode = fs::metadata(dir.join("sub/b")).expect("through the link").permissions().mode();
        assert_eq!(mode & 0o777, 0o400);

        write(&dir, &files(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).expect("again");
        assert_eq!(target(), first);

        write(&dir, &files(&[("a", "3", 0o644)]), None).expect("changed");
        assert_ne!(target(), first);
        assert_eq!(names(&dir), ["a"]);
        assert_eq!(fs::read_to_string(dir.join("a")).expect("through the link"), "3");
        assert!(!dir.join(first).exists());
    }
}
