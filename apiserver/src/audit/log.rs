//! Where events are written: a file that is put aside when it is full, or standard output.
//!
//! Invariant: in batch mode nobody waits for the disk; what comes faster than it is written waits, within a number and a
//! size, and beyond these bodies, then events, are lost and counted. In no mode anybody waits for old files, which a task of
//! its own sees to. Counterparts: upstream's `plugin/pkg/audit/{log,buffered}` and lumberjack, whose names old files have.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use flate2::{Compression, write::GzEncoder};
use jiff::{SignedDuration, civil::DateTime, tz::TimeZone};
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;

use super::{Counters, event::Event};
use crate::args::{LogArgs, LogMode};

/// How much of bodies waits at most.
const MOST_WAITING: usize = 64 << 20;
/// How many events a thread that may wait for the disk takes at once.
const TOGETHER: usize = 256;
/// How much of an old file is compressed before it is asked whether the process stops.
const PIECE: u64 = 1 << 20;
/// How the moment is written at which a file was put aside.
const ASIDE: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// The log.
pub struct Log {
    mode: LogMode,
    queue: mpsc::Sender<Event>,
    /// How much of bodies waits.
    waiting: AtomicUsize,
    written: Mutex<Written>,
    counters: Counters,
}

impl Log {
    /// Opens the log; what waits is written on `tasks`, and the last of it when they have ended.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(config: &LogArgs, counters: Counters, tasks: &Tasks) -> io::Result<Arc<Self>> {
        let (queue, mut events) = mpsc::channel(config.buffer.get());
        let old = Arc::<Notify>::default();
        let written = Mutex::new(Written::open(config.clone(), Arc::clone(&old))?);
        let log =
            Arc::new(Self { mode: config.mode, queue, waiting: AtomicUsize::new(0), written, counters });
        tasks.spawn("old audit logs", see_to(old, config.clone(), tasks.token()));
        let (ours, stop) = (log.clone(), tasks.token());
        let (last, rest) = oneshot::channel();
        tasks.spawn("audit", async move {
            let mut due = Vec::new();
            while let Some(1..) = stop.run_until_cancelled(events.recv_many(&mut due, TOGETHER)).await {
                let (log, together) = (ours.clone(), std::mem::take(&mut due));
                spawn_blocking(move || {
                    together.into_iter().for_each(|event| {
                        log.write(event);
                    })
                })
                .await?;
            }
            // Nobody waits for them where the tasks are ended in another way.
            let _gone = last.send((ours, events));
            Ok(())
        });
        tasks.at_end("audit", async {
            let Ok((log, mut events)) = rest.await else { return };
            while let Ok(event) = events.try_recv() {
                log.write(event);
            }
        });
        Ok(log)
    }

    /// Takes an event. Answers whether it may go on: `false` where it had to be written, and was not.
    pub fn take(&self, mut event: Event) -> bool {
        self.counters.events.inc();
        if self.mode != LogMode::Batch {
            return self.write(event) || self.mode == LogMode::Blocking;
        }
        let weight = event.weight();
        if self.waiting.fetch_add(weight, Ordering::Relaxed) + weight > MOST_WAITING {
            self.waiting.fetch_sub(weight, Ordering::Relaxed);
            event.truncate();
        }
        if let Err(refused) = self.queue.try_send(event) {
            let (mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) = refused;
            self.waiting.fetch_sub(event.weight(), Ordering::Relaxed);
            self.lose("buffered", &event.id, &"audit buffer queue blocked");
        }
        true
    }

    fn write(&self, event: Event) -> bool {
        if self.mode == LogMode::Batch {
            self.waiting.fetch_sub(event.weight(), Ordering::Relaxed);
        }
        let id = event.id.clone();
        let written = event.line().map_err(io::Error::from).and_then(|line| self.written.lock().write(&line));
        written.inspect_err(|error| self.lose("log", &id, error)).is_ok()
    }

    fn lose(&self, plugin: &'static str, id: &str, error: &dyn std::fmt::Display) {
        self.counters.error(plugin);
        tracing::error!(plugin, id, %error, "an audit event is lost");
    }
}

/// What is written to.
pub(super) struct Written {
    config: LogArgs,
    path: PathBuf,
    /// None for standard output.
    file: Option<File>,
    size: u64,
    /// Rings when there may be old files to see to.
    old: Arc<Notify>,
}

impl Written {
    pub(super) fn open(config: LogArgs, old: Arc<Notify>) -> io::Result<Self> {
        let path = config.path.clone().unwrap_or_default();
        if path == Path::new("-") {
            return Ok(Self { config, path, file: None, size: 0, old });
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder_of(&path))?;
        let file = append(&path)?;
        let size = file.metadata()?.len();
        // Of those that were put aside before the last end.
        old.notify_one();
        Ok(Self { config, path, file: Some(file), size, old })
    }

    /// Writes a line.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else { return io::stdout().lock().write_all(line) };
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let most = u64::from(self.config.megabytes) << 20;
        if most > 0 && self.size > 0 && self.size + length > most {
            // It is not there where somebody took it away, or no new one could be opened the last time.
            if let Err(error) = fs::rename(&self.path, aside(&self.path))
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            *file = append(&self.path)?;
            self.size = 0;
            self.old.notify_one();
        }
        self.size += length;
        file.write_all(line)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A name taken apart: what comes before the moment, and what after it.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    (format!("{}-", text(path.file_stem())), extension.unwrap_or_default())
}

/// The name of a file that is put aside.
fn aside(path: &Path) -> PathBuf {
    let (before, after) = parts(path);
    path.with_file_name(format!("{before}{}{after}", machinery::clock::now().strftime(ASIDE)))
}

/// Tidies up whenever it is asked to. What cannot be done stays for the next time.
async fn see_to(old: Arc<Notify>, config: LogArgs, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(old.notified()).await.is_some() {
        let (config, stop) = (config.clone(), stop.clone());
        if let Err(error) = spawn_blocking(move || tidy(&config, &stop)).await? {
            tracing::warn!(%error, "cannot tidy up old audit logs");
        }
    }
    Ok(())
}

/// Removes old files that are too many or too old, then compresses the others if that is wanted, until it is to stop. What
/// fails keeps nothing else back.
pub(super) fn tidy(config: &LogArgs, stop: &CancellationToken) -> io::Result<()> {
    let path = config.path.as_deref().unwrap_or(Path::new(""));
    let (before, after) = parts(path);
    let mut old = Vec::new();
    for entry in fs::read_dir(folder_of(path))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let at = plain.strip_prefix(&before).and_then(|rest| rest.strip_suffix(&after));
        let at = at.and_then(|at| DateTime::strptime("%Y-%m-%dT%H-%M-%S%.f", at).ok());
        if let Some(at) = at.and_then(|at| at.to_zoned(TimeZone::UTC).ok()) {
            old.push((at.timestamp(), path));
        }
    }
    old.sort_by(|one, other| other.cmp(one));
    let (now, most) = (machinery::clock::now(), usize::try_from(config.files).unwrap_or(usize::MAX));
    let age = SignedDuration::from_hours(24 * i64::from(config.days));
    let (mut result, mut kept) = (Ok(()), Vec::new());
    // A file and what was begun to be made of it are one.
    let each = old.chunk_by(|(one, _), (other, _)| one == other).enumerate();
    for (i, files) in each.take_while(|_| !stop.is_cancelled()) {
        let is_old = config.days > 0 && now.duration_since(files[0].0) > age;
        let files = files.iter().map(|(_, path)| path);
        if is_old || config.files > 0 && i >= most {
            result = files.map(fs::remove_file).fold(result, Result::and);
        } else {
            kept.extend(files.filter(|path| path.extension().is_none_or(|extension| extension != "gz")));
        }
    }
    let kept = kept.into_iter().filter(|_| config.compress).take_while(|_| !stop.is_cancelled());
    kept.map(|path| compress(path, stop)).fold(result, Result::and)
}

fn compress(path: &Path, stop: &CancellationToken) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    match write_compressed(path, Path::new(&name), stop) {
        Ok(true) => fs::remove_file(path),
        undone => undone.map(drop).and(fs::remove_file(&name)),
    }
}

/// Whether it came to the end.
fn write_compressed(path: &Path, name: &Path, stop: &CancellationToken) -> io::Result<bool> {
    let compressed = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(name)?;
    let (plain, mut encoder) = (File::open(path)?, GzEncoder::new(compressed, Compression::default()));
    while io::copy(&mut (&plain).take(PIECE), &mut encoder)? > 0 {
        if stop.is_cancelled() {
            return Ok(false);
        }
    }
    encoder.finish()?;
    Ok(true)
}
