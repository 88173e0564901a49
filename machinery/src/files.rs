//! Files that are either the old ones or the new ones, never half of each.

mod current;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

pub use current::Current;

/// Puts a file in place of whatever is there, in one step. A crash of the machine may bring the old one back.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    put(path, content, mode, false)
}

/// The same for what must not be lost: it is on the disk when this returns.
pub fn replace_durably(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    put(path, content, mode, true)
}

/// Opens a file that is there to be locked, and makes it if need be. Only its owner may open it: whoever can may hold the
/// lock for as long as he likes.
pub fn open_lock(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn put(path: &Path, content: &[u8], mode: u32, durably: bool) -> io::Result<()> {
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "a file needs a folder and a name");
    let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(no_file)?;
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    // Its ending is none that programs look for.
    let draft = folder.join(format!(".{}.{}.{number}", name.to_string_lossy(), std::process::id()));
    let written = (|| {
        // Nobody may read a secret between its making and its getting a mode.
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(content)?;
        // The process' umask may have taken from the mode.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if durably {
            file.sync_all()?;
        }
        fs::rename(&draft, path)
    })();
    if written.is_err() {
        // The draft may not exist; the write's own error is the one to tell.
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests;
