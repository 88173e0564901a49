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
    let mut rest = Vec::new();
    let mut chunk = vec![0; CHUNK];
    let mut asked: Option<Instant> = None;
    let mut ended = false;
    loop {
        let read = file.read(&mut chunk).await?;
        rest.extend_from_slice(&chunk[..read]);
        let mut shown = Vec::new();
        let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for raw in rest[..whole].split_inclusive(|&byte| byte == b'\n') {
            options.filter.show(raw.strip_suffix(b"\n").unwrap_or(raw), &mut shown);
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
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    fn raw(text: &str) -> String {
        format!("2026-01-02T03:04:05Z stdout F {text}\n")
    }

    async fn shown(contents: &str, options: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, contents).unwrap();
        let (to, mut from) = mpsc::channel(1000);
        let log = Below::new(dir.path(), &path).unwrap();
        show(&log, &options, &to, || async { true }).await.unwrap();
        drop(to);
        let mut all = Vec::new();
        while let Some(part) = from.recv().await {
            all.extend_from_slice(&part);
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn the_last_lines() {
        let contents: String = ["one", "two", "three"].map(raw).concat();
        for (tail, expected) in [
            (None, "one\ntwo\nthree\n"),
            (Some(2), "two\nthree\n"),
            (Some(0), ""),
            (Some(9), "one\ntwo\nthree\n"),
        ] {
            assert_eq!(shown(&contents, Options { tail, ..Options::default() }).await, expected, "{tail:?}");
        }
        assert_eq!(shown("", Options { tail: Some(5), ..Options::default() }).await, "");
        let long: String = (0..20_000).map(|number| raw(&number.to_string())).collect();
        let end = shown(&long, Options { tail: Some(5000), ..Options::default() }).await;
        assert_eq!((end.lines().next(), end.lines().count()), (Some("15000"), 5000));
    }

    #[tokio::test]
    async fn no_more_bytes_than_wanted() {
        let contents: String = ["one", "two"].map(raw).concat();
        assert_eq!(shown(&contents, Options { limit: Some(5), ..Options::default() }).await, "one\nt");
    }

    #[tokio::test]
    async fn a_follower_sees_everything_until_the_container_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(raw("first").as_bytes()).unwrap();
        let ended = std::sync::Arc::new(AtomicBool::new(false));
        let (to, mut from) = mpsc::channel(10);
        let (watched, told) = (Below::new(dir.path(), &path).unwrap(), std::sync::Arc::clone(&ended));
        let following = tokio::task::spawn(async move {
            let options = Options { follow: true, ..Options::default() };
            show(&watched, &options, &to, || async { told.load(Ordering::SeqCst) }).await
        });
        assert_eq!(from.recv().await.unwrap(), "first\n");
        let half = raw("second");
        file.write_all(&half.as_bytes()[..10]).unwrap();
        file.write_all(&half.as_bytes()[10..]).unwrap();
        assert_eq!(from.recv().await.unwrap(), "second\n");
        std::fs::rename(&path, dir.path().join("0.log.old")).unwrap();
        file.write_all(raw("before rotation").as_bytes()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(raw("after rotation").as_bytes()).unwrap();
        assert_eq!(from.recv().await.unwrap(), "before rotation\n");
        assert_eq!(from.recv().await.unwrap(), "after rotation\n");
        file.write_all(raw("last").as_bytes()).unwrap();
        ended.store(true, Ordering::SeqCst);
        assert_eq!(from.recv().await.unwrap(), "last\n");
        assert!(from.recv().await.is_none());
        tokio::time::timeout(Duration::from_secs(5), following).await.unwrap().unwrap().unwrap();
    }
}
