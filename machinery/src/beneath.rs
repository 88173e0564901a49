//! Files that a container may change while a daemon works on them: volumes, logs, last words.
//!
//! Whoever writes to a folder can put a link to `/` in the place of anything in it, between a look at a name and
//! its use. So nothing in such a folder is used by name: it is reached from the folder's descriptor without
//! following any link, and whatever is done then is done to a descriptor. Opening never waits (a FIFO would) and
//! starts nothing (a device might).

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, ReadDir};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat, renameat};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};

/// To which length a path grows before its end is held instead, in bytes: with one more name (255) it is still
/// shorter than the kernel's longest (4096).
const LONGEST_PATH: usize = 3800;

/// A file or folder that is held by its descriptor, whatever becomes of its name. A symbolic link is held as the
/// link that it is.
#[derive(Debug)]
pub struct Handle(File);

/// A path below a folder that only the node itself changes. It can be opened, and not be used as a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    folder: PathBuf,
    path: PathBuf,
}

impl Below {
    /// The place that an absolute path names below `folder`.
    ///
    /// # Errors
    /// When it lies elsewhere.
    pub fn new(folder: &Path, path: &Path) -> io::Result<Self> {
        let path = path.strip_prefix(folder).map_err(|_| {
            let words = format!("{} does not lie below {}", path.display(), folder.display());
            io::Error::new(io::ErrorKind::InvalidInput, words)
        })?;
        Ok(Self { folder: folder.to_owned(), path: path.to_owned() })
    }

    /// Opens a regular file for reading.
    pub fn open(&self) -> io::Result<File> {
        Handle::open(&self.folder)?.read(&self.path)
    }

    /// The folder that it lies in, and its name there.
    pub fn parent(&self) -> io::Result<(Handle, OsString)> {
        let name = self.path.file_name().ok_or(Errno::EISDIR)?.to_owned();
        let parent = self.path.parent().unwrap_or(Path::new(""));
        Ok((Handle::open(&self.folder)?.dir(parent)?, name))
    }
}

impl std::fmt::Display for Below {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.folder.join(&self.path).display().fmt(f)
    }
}

/// Runs work on files where it may wait without holding anything up.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The names in a folder that only the node itself changes; none while it is not there.
pub fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let names = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?,
    };
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

/// The end of a file: at most so many bytes, and whether there are others before them.
pub fn tail(file: &File, most: usize) -> io::Result<(Vec<u8>, bool)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(most as u64);
    let mut bytes = vec![0; most.min(usize::try_from(length).unwrap_or(most))];
    let mut filled = 0;
    // It may have become shorter meanwhile.
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok((bytes, from > 0))
}

/// A name is used in the folder that is held and leads nowhere else.
fn single(name: &Path) -> io::Result<&Path> {
    let mut parts = name.components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(part)), None) if part == name.as_os_str() => Ok(name),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a name: {}", name.display()))),
    }
}

impl Handle {
    /// Holds what a path leads to that only the node itself changes.
    pub fn open(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).map(Self)
    }

    /// As [`Handle::open`], for what may be a symbolic link itself.
    pub fn open_itself(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path).map(Self)
    }

    fn beneath(&self, path: &Path, flags: OFlag, mode: u32, more: ResolveFlag) -> io::Result<File> {
        let how = OpenHow::new()
            .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(Mode::from_bits_truncate(mode))
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | more);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(openat2(&self.0, path, how)?.into())
    }

    /// Holds what lies at a path in this folder, without following links on the way.
    pub fn at(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        self.beneath(path.as_ref(), OFlag::O_PATH, 0, ResolveFlag::empty()).map(Self)
    }

    /// As [`Handle::at`], for a folder.
    pub fn dir(&self, path: impl AsRef<Path>) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        self.beneath(path.as_ref(), flags, 0, ResolveFlag::empty()).map(Self)
    }

    /// Opens a regular file in this folder for reading.
    ///
    /// # Errors
    /// Also when it is none, which is found out before it is opened.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let held = self.at(path)?;
        let kind = held.metadata()?.file_type();
        if kind.is_file() {
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            return OpenOptions::new().read(true).custom_flags(flags).open(held.magic());
        }
        Err(if kind.is_dir() { Errno::EISDIR.into() } else { io::Error::other("not a regular file") })
    }

    /// Makes a file in this folder that is not there yet, with exactly this mode.
    pub fn create(&self, name: impl AsRef<Path>, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY;
        let file = self.beneath(single(name.as_ref())?, flags, mode, ResolveFlag::empty())?;
        // The process' umask may have taken from the mode.
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        Ok(file)
    }

    /// Holds a folder in this folder; makes it, with exactly this mode, if it is not there.
    pub fn make_dir(&self, name: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let name = single(name.as_ref())?;
        match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) => {
                let made = self.dir(name)?;
                made.set_mode(mode)?;
                Ok(made)
            }
            Err(Errno::EEXIST) => self.dir(name),
            Err(error) => Err(error.into()),
        }
    }

    /// As [`Handle::make_dir`], for a path of several folders.
    pub fn make_dirs(&self, path: impl AsRef<Path>, mode: u32) -> io::Result<Self> {
        let mut at = self.dir("")?;
        for name in path.as_ref() {
            at = at.make_dir(name, mode)?;
        }
        Ok(at)
    }

    /// Makes a symbolic link in this folder.
    pub fn link(&self, target: impl AsRef<Path>, name: impl AsRef<Path>) -> io::Result<()> {
        Ok(symlinkat(target.as_ref(), &self.0, single(name.as_ref())?)?)
    }

    /// Where a symbolic link leads.
    pub fn read_link(&self) -> io::Result<PathBuf> {
        Ok(readlinkat(&self.0, "")?.into())
    }

    /// Gives something in this folder another name there, in the place of what had it.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        Ok(renameat(&self.0, single(from.as_ref())?, &self.0, single(to.as_ref())?)?)
    }

    /// Removes what is no folder; nothing there is as good.
    pub fn unlink(&self, name: impl AsRef<Path>) -> io::Result<()> {
        match unlinkat(&self.0, single(name.as_ref())?, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes whatever lies in this folder under a name, but nothing that is mounted there.
    pub fn remove(&self, name: impl AsRef<Path>) -> io::Result<()> {
        let name = single(name.as_ref())?;
        let dir = match self.unlink(name) {
            Err(error) if error.raw_os_error() == Some(libc::EISDIR) => self.to_be_emptied(name)?,
            other => return other,
        };
        dir.empty()?;
        Ok(unlinkat(&self.0, name, UnlinkatFlags::RemoveDir)?)
    }

    fn to_be_emptied(&self, name: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        self.beneath(name, flags, 0, ResolveFlag::RESOLVE_NO_XDEV).map(Self)
    }

    /// Removes all that is in this folder. What lies deeper is first moved up into it, so that a tree of any
    /// depth costs neither stack nor descriptors.
    fn empty(&self) -> io::Result<()> {
        let mut pending = Vec::new();
        for name in self.names()? {
            let name = name?;
            if !self.removed_alone(&name)? {
                pending.push(name);
            }
        }
        let mut moved = 0_u64;
        while let Some(name) = pending.pop() {
            let dir = self.to_be_emptied(Path::new(&name))?;
            for child in dir.names()? {
                let child = child?;
                while !dir.removed_alone(&child)? {
                    let free = OsString::from(format!(".{moved}"));
                    moved += 1;
                    match renameat(&dir.0, child.as_os_str(), &self.0, free.as_os_str()) {
                        Ok(()) => {
                            pending.push(free);
                            break;
                        }
                        Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => {}
                        // An overlay does not move what came with its lower layer; no container made that.
                        Err(Errno::EXDEV) => dir.to_be_emptied(Path::new(&child))?.empty()?,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            unlinkat(&self.0, name.as_os_str(), UnlinkatFlags::RemoveDir)?;
        }
        Ok(())
    }

    /// Removes a file or an empty folder; answers whether it was one.
    fn removed_alone(&self, name: &OsString) -> io::Result<bool> {
        match unlinkat(&self.0, name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(true),
            Err(Errno::EISDIR) => {}
            Err(error) => return Err(error.into()),
        }
        match unlinkat(&self.0, name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in this folder.
    pub fn names(&self) -> io::Result<impl Iterator<Item = io::Result<OsString>> + use<>> {
        let entries: ReadDir = std::fs::read_dir(self.magic())?;
        Ok(entries.map(|entry| Ok(entry?.file_name())))
    }

    /// Visits all that lies below this folder, a folder before what is in it. What is moved or removed meanwhile
    /// may be left out, what is put in its place is not followed out of here. A tree may be deeper than a path is
    /// long: every few thousand bytes of it cost a descriptor.
    pub fn walk(&self, mut visit: impl FnMut(&Self, &Metadata) -> io::Result<()>) -> io::Result<()> {
        // Folders by their path in one that is held.
        let mut pending = vec![(Rc::new(self.dir("")?), PathBuf::new())];
        while let Some((base, path)) = pending.pop() {
            let Some(dir) = unless_gone(base.dir(&path))? else { continue };
            let dir = Rc::new(dir);
            let is_far = path.as_os_str().len() > LONGEST_PATH;
            let (base, path) = if is_far { (Rc::clone(&dir), PathBuf::new()) } else { (base, path) };
            for name in dir.names()? {
                let name = name?;
                let Some(found) = unless_gone(dir.at(&name))? else { continue };
                let metadata = found.metadata()?;
                visit(&found, &metadata)?;
                if metadata.is_dir() {
                    pending.push((Rc::clone(&base), path.join(name)));
                }
            }
        }
        Ok(())
    }

    /// What is known of it.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Whether both hold the same.
    pub fn is_same(&self, other: &Self) -> io::Result<bool> {
        let (ours, theirs) = (self.metadata()?, other.metadata()?);
        Ok((ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()))
    }

    /// Gives it to a user or a group.
    pub fn give(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(&self.0, "", user, group, AtFlags::AT_EMPTY_PATH)?)
    }

    /// Sets all bits of its mode; a symbolic link has none.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = Mode::from_bits_truncate(mode);
        Ok(fchmodat(AT_FDCWD, &self.magic(), mode, FchmodatFlags::FollowSymlink)?)
    }

    /// Mounts it over a file or folder that only the node itself changes.
    pub fn mount_at(&self, target: &Path) -> io::Result<()> {
        Ok(mount(Some(&self.magic()), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
    }

    /// Where it lies now, for comparing and for messages.
    pub fn path(&self) -> io::Result<PathBuf> {
        std::fs::read_link(self.magic())
    }

    /// A path that leads to what is held, and cannot be changed by anybody.
    fn magic(&self) -> PathBuf {
        PathBuf::from(format!("/proc/thread-self/fd/{}", self.0.as_fd().as_raw_fd()))
    }
}

fn unless_gone(found: io::Result<Handle>) -> io::Result<Option<Handle>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
