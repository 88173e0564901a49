//! Writes the files of a volume so that a reader sees either all of the old or all of the new: they lie in a
//! folder named after the time, `..data` points to it, and the visible names point through `..data`.
//! Corresponds to upstream's `volume/util/atomic_writer.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use machinery::beneath::{self, Handle};

use super::ownership::Group;
use super::payload::Files;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Makes the volume at `dir` hold exactly `files`; touches nothing of it when it does already.
pub(super) fn write(dir: &Path, files: &Files, group: Option<Group>) -> io::Result<()> {
    let root = Handle::open(dir)?;
    let old = match root.at(DATA).and_then(|data| data.read_link()) {
        Ok(name) => Some(name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let held = old.as_ref().and_then(|name| root.dir(name).ok());
    // Which user-visible names there were; those are ours to remove.
    let was = held.as_ref().map(first_names).transpose()?.unwrap_or_default();
    let same = match &held {
        Some(held) => same(held, files)?,
        None => false,
    };
    let name = match (&old, same) {
        (Some(old), true) => old.clone(),
        _ => {
            let name = PathBuf::from(Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string());
            fill(&root.make_dir(&name, 0o755)?, files)?;
            // New things may have come to lie beside it, too.
            if let Some(group) = group {
                group.give(&root)?;
            }
            root.unlink(NEXT)?;
            root.link(&name, NEXT)?;
            root.rename(NEXT, DATA)?;
            name
        }
    };
    let users: BTreeMap<&str, Option<u32>> =
        files.iter().filter_map(|(path, file)| Some((path.split('/').next()?, file.user))).collect();
    for (visible, user) in &users {
        match root.at(visible) {
            // What the kubelet made for a mount inside of this one stays.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                root.link(Path::new(DATA).join(visible), visible)?;
                if user.is_some() {
                    root.at(visible)?.give(*user, None)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
    for gone in was.iter().filter(|name| name.to_str().is_none_or(|name| !users.contains_key(name))) {
        // Something else of that name was there first.
        if root.at(gone).and_then(|there| there.metadata()).is_ok_and(|metadata| metadata.is_symlink()) {
            root.unlink(gone)?;
        }
    }
    for entry in root.names()? {
        let entry = entry?;
        if entry.as_bytes().starts_with(b"..") && entry != DATA && Path::new(&entry) != name {
            root.remove(&entry)?;
        }
    }
    Ok(())
}

/// Writes the files into a folder that nobody sees yet.
fn fill(fresh: &Handle, files: &Files) -> io::Result<()> {
    for (path, file) in files {
        let path = Path::new(path);
        let dir = fresh.make_dirs(path.parent().unwrap_or(Path::new("")), 0o755)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        // Nobody may read a secret between its making and its getting a mode.
        dir.create(name, file.mode)?.write_all(&file.bytes)?;
        if file.user.is_some() {
            dir.at(name)?.give(file.user, None)?;
        }
    }
    Ok(())
}

fn first_names(dir: &Handle) -> io::Result<BTreeSet<OsString>> {
    dir.names()?.collect()
}

/// Whether a folder holds exactly these files.
fn same(dir: &Handle, files: &Files) -> io::Result<bool> {
    let mut found = 0;
    dir.walk(|_, metadata| {
        found += usize::from(!metadata.is_dir());
        Ok(())
    })?;
    if found != files.len() {
        return Ok(false);
    }
    for (path, file) in files {
        let Ok(there) = dir.read(path) else { return Ok(false) };
        // One byte more than expected tells that there are others.
        let (bytes, more) = beneath::tail(&there, file.bytes.len() + 1)?;
        if more || bytes != file.bytes {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use serde_json::json;

    use super::super::payload::File;
    use super::*;

    fn files(pairs: &[(&str, &str, u32)]) -> Files {
        let file = |text: &str, mode| File { bytes: text.as_bytes().to_vec().into(), mode, user: None };
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
        fs::create_dir(&dir).expect("there is room");
        let target = || fs::read_link(dir.join(DATA)).expect("the link was just made");
        write(&dir, &files(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).expect("first");
        let first = target();
        assert_eq!(names(&dir), ["a", "sub"]);
        assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("through the link"), "2");
        let mode = fs::metadata(dir.join("sub/b")).expect("through the link").mode();
        assert_eq!(mode & 0o777, 0o400);
        fs::create_dir_all(dir.join("mount/point")).expect("as for a mount inside of this one");
        let changed = |path: &Path| {
            let metadata = fs::symlink_metadata(path).expect("it is there");
            (metadata.ctime(), metadata.ctime_nsec())
        };
        let times = || ["", DATA, "a", "sub/b"].map(|path| changed(&dir.join(path)));
        let before = times();

        write(&dir, &files(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).expect("again");
        assert_eq!((target(), times()), (first.clone(), before), "nothing is touched");

        write(&dir, &files(&[("a", "3", 0o644), ("mount", "4", 0o644)]), None).expect("changed");
        assert_ne!(target(), first);
        assert_eq!(names(&dir), ["a", "mount"]);
        assert!(dir.join("mount/point").is_dir(), "what is mounted there stays reachable");
        assert_eq!(fs::read_to_string(dir.join("a")).expect("through the link"), "3");
        assert!(!dir.join(first).exists());

        // A file that shrinks, one that grows, one that becomes a folder.
        for next in [[("a", "33", 0o644)], [("a", "", 0o644)], [("a/b", "5", 0o644)]] {
            write(&dir, &files(&next), None).expect("changed");
            let text = fs::read_to_string(dir.join(next[0].0)).expect("through the link");
            assert_eq!(text, next[0].1);
        }
    }

    /// As upstream's: the folder of an emptyDir, what is in it for reading.
    #[test]
    fn modes_and_owners_under_a_group() {
        if !machinery::testing::may_run_as_root() {
            return;
        }
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let dir = root.path().join("v");
        let pod = json!({"spec": {"containers": [], "securityContext": {"fsGroup": 2000}}});
        let pod = serde_json::from_value(pod).expect("the test's pod is one");
        let (made, read) = (Group::of(&pod, false), Group::of(&pod, true));
        let mut files = files(&[("plain", "1", 0o644), ("sub/secret", "2", 0o400), ("token", "3", 0o600)]);
        files.get_mut("token").expect("it was just put there").user = Some(1000);
        let look = |path: &str| {
            let metadata = fs::symlink_metadata(dir.join(path)).expect("it is there");
            format!("{:o} {} {}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
        };
        for (made, read, expected) in [
            (None, None, ["777 0 0", "755 0 0", "644 0 0", "755 0 0", "400 0 0", "600 1000 0", "777 1000 0"]),
            (
                made,
                read,
                [
                    "2777 0 2000",
                    "2755 0 2000",
                    "644 0 2000",
                    "2755 0 2000",
                    "440 0 2000",
                    "640 1000 2000",
                    "777 1000 2000",
                ],
            ),
        ] {
            let ready = root.path().join("ready");
            super::super::disk::empty_dir(&dir, &ready, None, made).expect("there is room");
            write(&dir, &files, read).expect("there is room");
            let data = fs::read_link(dir.join(DATA)).expect("the link was just made");
            let data = data.to_str().expect("it is a time");
            let found =
                ["", data, "..data/plain", "..data/sub", "..data/sub/secret", "..data/token", "token"];
            assert_eq!(found.map(look), expected);
            fs::remove_file(ready).expect("it is there");
            Handle::open(root.path()).and_then(|held| held.remove("v")).expect("it can go");
        }
    }
}
