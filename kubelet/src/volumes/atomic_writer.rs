//! Writes the files of a volume so that a reader sees either all of the old or all of the new: they lie in a
//! folder named after the time, `..data` points to it, and the visible names point through `..data`.
//! Corresponds to upstream's `volume/util/atomic_writer.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

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
            let name = PathBuf::from(machinery::clock::now().strftime("..%Y_%m_%d_%H_%M_%S.%9f").to_string());
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
mod tests;
