//! Paths of the node that pods name themselves. Corresponds to upstream's `volume/hostpath`.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Checks, or makes, what a path is to lead to; links are followed.
pub(super) fn check(path: &Path, kind: &str) -> io::Result<()> {
    let kind_of = || fs::metadata(path).ok().map(|meta| meta.file_type());
    let shown = path.display();
    let mut found = kind_of();
    if found.is_none() {
        let made = match kind {
            "DirectoryOrCreate" => fs::create_dir_all(path),
            // What is there by now, also a link that leads nowhere, stays as it is.
            "FileOrCreate" => fs::File::create_new(path).map(drop),
            _ => Ok(()),
        };
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(error.kind(), format!("cannot make {shown}: {error}")));
            }
            _ => found = kind_of(),
        }
    }
    let is = |word: &str, holds: Option<bool>| match holds {
        Some(true) => Ok(()),
        _ => Err(io::Error::other(format!("hostPath type check failed: {shown} is not a {word}"))),
    };
    match kind {
        "Directory" | "DirectoryOrCreate" => is("directory", found.map(|kind| kind.is_dir())),
        "File" | "FileOrCreate" => is("file", found.map(|kind| kind.is_file())),
        "Socket" => is("socket file", found.map(|kind| kind.is_socket())),
        "CharDevice" => is("character device", found.map(|kind| kind.is_char_device())),
        "BlockDevice" => is("block device", found.map(|kind| kind.is_block_device())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
