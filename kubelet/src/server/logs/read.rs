//! Reading a log file: from its last lines on, as it grows, across rotation.

use std::future::Future;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;

use bytes::Bytes;
use machinery::beneath::{self, Below};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{ASK_RUNTIME, LOOK_AGAIN, Options};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Sends a file's lines as they are to be shown. `has_ended` tells whether the container that
/// writes it has ended.
pub(super) async fn show<Asked: Future<Output = bool>>(
    log: &Below,
    options: &Options,
    to: &mpsc::Sender<Bytes>,
    has_ended: impl Fn() -> Asked,
) -> io::Result<()> {
    let mut file = open(log).await?;
    if let Some(lines) = options.tail {
        let start = start_of_last_lines(&mut file, lines).await?;
        file.seek(SeekFrom::Start(start)).await?;
    }
    let mut left = options.limit.unwrap_or(u64::MAX);
    let (mut rest, mut goes_on) = (Vec::new(), false);
    let mut chunk = vec![0; CHUNK];
    let mut asked: Option<Instant> = None;
    let mut ended = false;
    loop {
        let read = file.read(&mut chunk).await?;
        rest.extend_from_slice(&chunk[..read]);
        let mut shown = Vec::new();
        let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for raw in rest[..whole].split_inclusive(|&byte| byte == b'\n') {
            options.filter.show(raw.strip_suffix(b"\n").unwrap_or(raw), &mut goes_on, &mut shown);
        }
        rest.drain(..whole);
        shown.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= shown.len() as u64;
        if !shown.is_empty() && to.send(shown.into()).await.is_err() || left == 0 {
            return Ok(());
        }
        if read > 0 {
            continue;
        }
        // All that is there has been shown.
        if !options.follow || ended {
            return Ok(());
        }
        if let Some(next) = rotated(&file, log).await {
            // What was written to the old file since the last read comes first.
            if file.stream_position().await? == file.metadata().await?.len() {
                file = next;
                rest.clear();
            }
            continue;
        }
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_RUNTIME) {
            // Once more around: the last lines may have come just before the end.
            ended = has_ended().await;
            asked = Some(Instant::now());
            if ended {
                continue;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = to.closed() => return Ok(()),
        }
    }
}

async fn open(log: &Below) -> io::Result<File> {
    let log = log.clone();
    beneath::blocking(move || log.open()).await.map(File::from_std)
}

/// The file that now has the name, if it is another one.
async fn rotated(file: &File, log: &Below) -> Option<File> {
    let ours = file.metadata().await.ok()?;
    let next = open(log).await.ok()?;
    let named = next.metadata().await.ok()?;
    ((ours.dev(), ours.ino()) != (named.dev(), named.ino())).then_some(next)
}

/// Where the last lines of a file begin; a last line without its end counts as one.
async fn start_of_last_lines(file: &mut File, lines: u64) -> io::Result<u64> {
    let size = file.metadata().await?.len();
    if lines == 0 || size == 0 {
        return Ok(size);
    }
    let mut wanted = lines;
    let mut end = size;
    let mut block = vec![0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(CHUNK)];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(part).await?;
        for (at, &byte) in part.iter().enumerate().rev() {
            let position = start + at as u64;
            // The end of the last line begins no line after it.
            if byte == b'\n' && position + 1 != size {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(position + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
