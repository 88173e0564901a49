//! Files and folders, with errors that name them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use machinery::beneath::Handle;

/// Makes a folder with everything above it.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Makes a folder that only its owner may enter, with everything above it.
pub fn make_private_dir(path: &Path) -> Result<()> {
    make_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot close the folder {}", path.display()))
}

/// Puts a file in place of whatever is there, in one step.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    machinery::files::replace(path, content, mode).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file unless it already has this content; says whether it wrote.
pub fn ensure(path: &Path, content: &[u8], mode: u32) -> Result<bool> {
    if fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    replace(path, content, mode)?;
    Ok(true)
}

/// Removes a file; one that is not there is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it, however deep containers made it; one that is not there is fine.
pub fn remove_tree(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("{} cannot be removed", path.display());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    match Handle::open(parent).and_then(|parent| parent.remove(name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
