//! Paths inside volumes (`subPath`): made when they are missing, and never leading out of the volume. What a
//! container gets is what was found, mounted at a place of the kubelet's own; the path itself may lead elsewhere
//! by the time the runtime would look at it. Corresponds to upstream's `volume/util/subpath`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use machinery::beneath::Handle;
use nix::errno::Errno;

use super::disk;

/// How many links are followed on the way.
const LINKS: usize = 40;
/// How deep a path may lead.
const DEPTH: usize = 255;

/// Mounts a path inside a volume at `target`, of which only the kubelet knows. What is mounted there from an
/// earlier start of the container stays if it is the same.
pub fn mount(volume: &Path, sub: &Path, target: &Path) -> io::Result<()> {
    let found = resolve(&Handle::open(volume)?, sub)?;
    match Handle::open_itself(target) {
        Ok(there) if there.is_same(&found)? => return Ok(()),
        Ok(_) => {
            disk::detach(target)?;
            match fs::symlink_metadata(target)?.is_dir() {
                true => fs::remove_dir(target)?,
                false => fs::remove_file(target)?,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
    match found.metadata()?.is_dir() {
        true => fs::create_dir(target)?,
        false => fs::write(target, "")?,
    }
    found.mount_at(target)
}

/// A step on the way.
enum Step {
    Up,
    Into(OsString),
}

fn steps(path: &Path) -> impl DoubleEndedIterator<Item = Step> {
    path.components().filter_map(|part| match part {
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
        Component::RootDir | Component::Prefix(_) | Component::CurDir => None,
    })
}

/// Finds a path inside a volume. Links are followed as long as they stay inside; folders that are missing are made
/// and look like the volume's own. Each step is one name in a folder that is held, so nothing is to be gained by
/// exchanging names meanwhile.
fn resolve(volume: &Handle, sub: &Path) -> io::Result<Handle> {
    let mode = volume.metadata()?.mode() & 0o7777;
    let mut way: Vec<Handle> = Vec::new();
    let mut left: VecDeque<Step> = steps(sub).collect();
    let mut links = 0;
    while let Some(step) = left.pop_front() {
        let Step::Into(name) = step else {
            way.pop().ok_or_else(outside)?;
            continue;
        };
        let at = way.last().unwrap_or(volume);
        let found = match at.at(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => at.make_dir(&name, mode)?,
            found => found?,
        };
        if found.metadata()?.is_symlink() {
            links += 1;
            let mut leads = found.read_link()?;
            if leads.is_absolute() {
                leads = leads.strip_prefix(volume.path()?).map_err(|_| outside())?.to_owned();
                way.clear();
            }
            steps(&leads).rev().for_each(|step| left.push_front(step));
        } else {
            way.push(found);
        }
        if links > LINKS || way.len() > DEPTH {
            return Err(Errno::ELOOP.into());
        }
    }
    match way.pop() {
        Some(found) => Ok(found),
        None => volume.dir(""),
    }
}

fn outside() -> io::Error {
    io::Error::other("it leads out of the volume")
}

#[cfg(test)]
mod tests;
