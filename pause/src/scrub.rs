//! Removes what a volume holds, for the controller that recycles and deletes volumes. All that a container of this
//! image can reach by a link is the image itself.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Removes one entry of a folder, or all of them. What is not there is removed already.
pub fn scrub(dir: &Path, entry: Option<&str>) -> io::Result<()> {
    let Some(entry) = entry else { return clear(dir) };
    let path = dir.join(entry);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => clear(&path).and_then(|()| fs::remove_dir(&path)),
        Ok(_) => fs::remove_file(&path),
    }
}

/// Removes all that is in a folder. What lies deeper is first moved up into it, so that a tree of any depth can be
/// walked; what was there under the new name is from a walk that broke off, and is met again.
fn clear(dir: &Path) -> io::Result<()> {
    let mut moved = 0_u64;
    loop {
        let mut was_empty = true;
        for entry in fs::read_dir(dir)? {
            let (entry, path) = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())))?;
            was_empty = false;
            if !entry.is_dir() {
                fs::remove_file(&path)?;
                continue;
            }
            for inner in fs::read_dir(&path)? {
                let inner = inner?;
                if !inner.file_type()?.is_dir() {
                    fs::remove_file(inner.path())?;
                    continue;
                }
                let mut place = dir.join(format!(".scrub-{moved}"));
                while fs::symlink_metadata(&place).is_ok() {
                    moved += 1;
                    place = dir.join(format!(".scrub-{moved}"));
                }
                fs::rename(inner.path(), place)?;
            }
            fs::remove_dir(&path)?;
        }
        if was_empty {
            return Ok(());
        }
    }
}
