//! The embedded store's file: frames of commits, appended and synced, each with a checksum.
//!
//! Invariant: a frame is written only after the one before it is on disk, so only the last
//! frame can be torn; a bad frame with a good one behind it is damage and refuses to open. An
//! empty frame follows each that is on disk, so that this holds for the last one, too. Room for
//! the next compaction is held, so that a disk that fills up can still be emptied.
//! A database library (redb) was turned down: it syncs the same once per group, but writes
//! whole pages and keeps no history, while a log gives watch, recovery and group commit in one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use super::super::{Change, Revision, StoreError};

const MAGIC: &[u8; 16] = b"skiff store v1\r\n";
const FRAME: [u8; 4] = [0xf5, b'S', b'K', 0x1f];
const HEAD: usize = 12;
/// How long to wait for another owner of the file to let go.
const LOCK_WAIT: Duration = Duration::from_secs(1);
const DELETED: u32 = u32::MAX;

/// One key's part of a commit as the file holds it.
pub(super) struct Entry {
    pub key: String,
    /// The value and its offset in the file; `None` when the commit deleted the key.
    pub value: Option<(Bytes, u64)>,
}

/// One commit as the file holds it. One without entries marks the end of what a compaction
/// kept: what came before it is not the whole history.
pub(super) struct Commit {
    pub revision: Revision,
    pub entries: Vec<Entry>,
}

/// The open file, locked against a second opener.
pub(super) struct Log {
    path: PathBuf,
    file: Arc<File>,
    length: u64,
    /// The end of the room that the file system holds for this file.
    held: u64,
    _lock: File,
}

impl Log {
    /// Opens or creates the file and hands every commit in it to `replay`, in order.
    pub fn open(path: &Path, mut replay: impl FnMut(Commit)) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|e| failed(folder, &e))?;
        }
        let lock_path = path.with_added_extension("lock");
        let lock = machinery::files::open_lock(&lock_path).map_err(|e| failed(&lock_path, &e))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // Whoever was just killed, or has just forked, lets go in a moment.
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let words = format!("{} is in use by another process", path.display());
                    return Err(StoreError::Refused(words));
                }
                Err(TryLockError::Error(e)) => return Err(failed(&lock_path, &e)),
            }
        }
        if !path.try_exists().map_err(|e| failed(path, &e))? {
            put_in_place::<&str>(path, &[], 1, |_| Ok(Bytes::new())).map_err(|e| failed(path, &e))?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| failed(path, &e))?;
        let size = file.metadata().map_err(|e| failed(path, &e))?.len();
        let mut log = Self { path: path.to_owned(), file: Arc::new(file), length: 0, held: 0, _lock: lock };
        log.length = log.recover(size, &mut replay)?;
        Ok(log)
    }

    /// Reads all frames; returns the length of what is good and cuts off a torn end.
    fn recover(&self, size: u64, replay: &mut impl FnMut(Commit)) -> Result<u64, StoreError> {
        let mut reader = io::BufReader::with_capacity(1 << 18, &*self.file);
        let mut magic = vec![0; MAGIC.len().min(size as usize)];
        reader.read_exact(&mut magic).map_err(|e| failed(&self.path, &e))?;
        if magic != MAGIC {
            let what = if size == 0 { "is empty" } else { "is not a store" };
            return Err(StoreError::Damaged(format!("{} {what}", self.path.display())));
        }
        let mut offset = MAGIC.len() as u64;
        loop {
            match read_frame(&mut reader, offset, size).map_err(|e| failed(&self.path, &e))? {
                Some(payload) => {
                    let end = offset + (HEAD + payload.len()) as u64;
                    decode(&Bytes::from(payload), offset + HEAD as u64, replay).ok_or_else(|| {
                        StoreError::Damaged(format!("{}: unreadable frame at {offset}", self.path.display()))
                    })?;
                    offset = end;
                }
                None if offset == size => return Ok(offset),
                None => {
                    self.drop_torn_end(offset, size)?;
                    return Ok(offset);
                }
            }
        }
    }

    /// Cuts the file at `offset` unless something good follows the bad frame there.
    fn drop_torn_end(&self, offset: u64, size: u64) -> Result<(), StoreError> {
        let mut rest = vec![0; (size - offset) as usize];
        self.file.read_exact_at(&mut rest, offset).map_err(|e| failed(&self.path, &e))?;
        let mut at = 1;
        while let Some(found) = rest.get(at..).and_then(|r| r.windows(FRAME.len()).position(|w| w == FRAME)) {
            at += found;
            let frame = read_frame(&mut &rest[at..], offset + at as u64, size);
            if matches!(frame, Ok(Some(_))) {
                return Err(StoreError::Damaged(format!(
                    "{}: bad frame at {offset} with a good one at {} behind it",
                    self.path.display(),
                    offset + at as u64
                )));
            }
            at += 1;
        }
        tracing::warn!(path = %self.path.display(), offset, bytes = size - offset, "Dropped a torn write");
        self.file.set_len(offset).and_then(|()| self.file.sync_all()).map_err(|e| failed(&self.path, &e))
    }

    /// The file to read values from. It stays readable after a compaction replaced it.
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// The bytes in the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends commits as one frame and syncs. Returns the offsets of the values of their
    /// puts, in order. On [`AppendError::Undone`] the file is as before; after
    /// [`AppendError::Broken`] nothing may be appended any more. There must be room for `spare`
    /// bytes beside; what is to make room asks for none.
    pub fn append<'a>(
        &mut self,
        commits: impl Iterator<Item = (Revision, &'a [Change])>,
        spare: u64,
    ) -> Result<Vec<u64>, AppendError> {
        let mut frame = Frame::new(self.length);
        for (revision, changes) in commits {
            frame.commit(revision, changes.len());
            for change in changes {
                match change {
                    Change::Put { key, value, .. } => frame.put(key, value),
                    Change::Delete { key, .. } => frame.delete(key),
                }
            }
        }
        let (bytes, offsets) = frame.finish();
        let needed = bytes.len() as u64 + spare;
        let held = if spare == 0 { Ok(()) } else { self.hold(needed) };
        if let Err(error) = held.and_then(|()| self.file.write_all_at(&bytes, self.length)) {
            return Err(match self.let_go() {
                Ok(()) => AppendError::Undone(error),
                Err(_) => AppendError::Broken(error),
            });
        }
        // After a failed sync nobody knows what is on disk, so there is no way to go on.
        self.file.sync_data().map_err(AppendError::Broken)?;
        self.length += bytes.len() as u64;
        // Says that what is before it was on disk. Where it cannot be written, that remains unsaid.
        let (mark, _) = Frame::new(self.length).finish();
        if self.file.write_all_at(&mark, self.length).is_ok() {
            self.length += mark.len() as u64;
        }
        Ok(offsets)
    }

    /// Has the file system hold room for so many more bytes, where it can do that.
    fn hold(&mut self, bytes: u64) -> io::Result<()> {
        const AT_ONCE: u64 = 1 << 20;
        if self.length + bytes <= self.held {
            return Ok(());
        }
        for more in [AT_ONCE, 0] {
            let size = i64::try_from(bytes + more).map_err(io::Error::other)?;
            let start = i64::try_from(self.length).map_err(io::Error::other)?;
            match fallocate(&*self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, start, size) {
                Ok(()) => self.held = self.length + bytes + more,
                Err(Errno::ENOSPC | Errno::EDQUOT) if more > 0 => continue,
                Err(error @ (Errno::ENOSPC | Errno::EDQUOT)) => return Err(error.into()),
                Err(_) => self.held = u64::MAX,
            }
            break;
        }
        Ok(())
    }

    /// Gives the room back that is held, and takes away what is half written.
    fn let_go(&mut self) -> io::Result<()> {
        self.held = 0;
        self.file.set_len(self.length)
    }

    /// Replaces the file by one that holds only `live` (sorted by revision) and stands at
    /// `revision`. `read` yields a value. Returns the new offset of each value, in order.
    pub fn rewrite<K: AsRef<str>>(
        &mut self,
        live: &[(Revision, K)],
        revision: Revision,
        read: impl FnMut(usize) -> io::Result<Bytes>,
    ) -> io::Result<Vec<u64>> {
        self.let_go()?;
        let (file, length, offsets) = put_in_place(&self.path, live, revision, read)?;
        self.file = Arc::new(file);
        self.length = length;
        Ok(offsets)
    }
}

/// Puts a file that holds only `live` in place of what is there: returns it as [`write_anew`] does.
fn put_in_place<K: AsRef<str>>(
    path: &Path,
    live: &[(Revision, K)],
    revision: Revision,
    read: impl FnMut(usize) -> io::Result<Bytes>,
) -> io::Result<(File, u64, Vec<u64>)> {
    let draft = path.with_added_extension("compact");
    let written = write_anew(&draft, live, revision, read).inspect_err(|_| {
        // What is there of it takes room that may be short. If it cannot go, the next one replaces it.
        let _ = std::fs::remove_file(&draft);
    })?;
    std::fs::rename(&draft, path)?;
    sync_folder(path)?;
    Ok(written)
}

/// Writes a file that holds only `live`: returns it with its length and the offsets of the values.
fn write_anew<K: AsRef<str>>(
    path: &Path,
    live: &[(Revision, K)],
    revision: Revision,
    mut read: impl FnMut(usize) -> io::Result<Bytes>,
) -> io::Result<(File, u64, Vec<u64>)> {
    const FRAME_SIZE: usize = 1 << 20;
    let file =
        OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(OURS_ALONE).open(path)?;
    file.write_all_at(MAGIC, 0)?;
    let mut length = MAGIC.len() as u64;
    let mut offsets = Vec::with_capacity(live.len());
    let mut frame = Frame::new(length);
    let mut index = 0;
    while index < live.len() {
        let of_revision = live[index..].iter().take_while(|(r, _)| *r == live[index].0).count();
        frame.commit(live[index].0, of_revision);
        for (i, (_, key)) in live.iter().enumerate().skip(index).take(of_revision) {
            frame.put(key.as_ref(), &read(i)?);
        }
        index += of_revision;
        if frame.bytes.len() > FRAME_SIZE {
            let (bytes, places) = std::mem::replace(&mut frame, Frame::new(0)).finish();
            file.write_all_at(&bytes, length)?;
            length += bytes.len() as u64;
            offsets.extend(places);
            frame = Frame::new(length);
        }
    }
    frame.commit(revision, 0);
    let (mut bytes, places) = frame.finish();
    bytes.extend(Frame::new(length + bytes.len() as u64).finish().0);
    file.write_all_at(&bytes, length)?;
    length += bytes.len() as u64;
    offsets.extend(places);
    file.sync_all()?;
    Ok((file, length, offsets))
}

/// Why an append failed.
pub(super) enum AppendError {
    /// Nothing was written.
    Undone(io::Error),
    /// The file's end is unknown.
    Broken(io::Error),
}

struct Frame {
    start: u64,
    bytes: Vec<u8>,
    offsets: Vec<u64>,
}

impl Frame {
    fn new(start: u64) -> Self {
        Self { start, bytes: vec![0; HEAD], offsets: Vec::new() }
    }

    fn commit(&mut self, revision: Revision, entries: usize) {
        self.bytes.extend_from_slice(&revision.to_le_bytes());
        self.bytes.extend_from_slice(&(entries as u32).to_le_bytes());
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        self.lengths(key, value.len() as u32);
        self.offsets.push(self.start + self.bytes.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    fn delete(&mut self, key: &str) {
        self.lengths(key, DELETED);
    }

    fn lengths(&mut self, key: &str, value: u32) {
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.bytes.extend_from_slice(key.as_bytes());
    }

    fn finish(mut self) -> (Vec<u8>, Vec<u64>) {
        let length = (self.bytes.len() - HEAD) as u32;
        let sum = checksum(self.start, &self.bytes[HEAD..]);
        self.bytes[..4].copy_from_slice(&FRAME);
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.bytes[8..12].copy_from_slice(&sum.to_le_bytes());
        (self.bytes, self.offsets)
    }
}

/// The place is part of the sum, so that a frame quoted inside a value is no frame.
fn checksum(offset: u64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&(payload.len() as u64).to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// The payload of the frame at `offset`, `None` if there is no good one.
fn read_frame(reader: &mut impl io::Read, offset: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    if offset + HEAD as u64 > size {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    reader.read_exact(&mut head)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = u64::from(word(4));
    if head[..4] != FRAME || offset + HEAD as u64 + length > size {
        return Ok(None);
    }
    let mut payload = vec![0; length as usize];
    reader.read_exact(&mut payload)?;
    Ok((checksum(offset, &payload) == word(8)).then_some(payload))
}

fn decode(payload: &Bytes, offset: u64, replay: &mut impl FnMut(Commit)) -> Option<()> {
    let mut at = 0;
    while at < payload.len() {
        let revision = u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?);
        let count = u32::from_le_bytes(payload.get(at + 8..at + 12)?.try_into().ok()?);
        at += 12;
        let mut entries = Vec::with_capacity((count as usize).min(1024));
        for _ in 0..count {
            let key_length = u32::from_le_bytes(payload.get(at..at + 4)?.try_into().ok()?) as usize;
            let value_length = u32::from_le_bytes(payload.get(at + 4..at + 8)?.try_into().ok()?);
            at += 8;
            let key = std::str::from_utf8(payload.get(at..at + key_length)?).ok()?.to_owned();
            at += key_length;
            let value = if value_length == DELETED {
                None
            } else {
                let end = at + value_length as usize;
                payload.get(at..end)?;
                let value = (payload.slice(at..end), offset + at as u64);
                at = end;
                Some(value)
            };
            entries.push(Entry { key, value });
        }
        replay(Commit { revision, entries });
    }
    Some(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Damaged(format!("{}: {error}", path.display()))
}

/// The mode of the file: all Secrets of the cluster are in it.
const OURS_ALONE: u32 = 0o600;
