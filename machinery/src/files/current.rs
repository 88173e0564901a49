//! What files hold now: they are read again when they have changed. Upstream counterpart: `dynamiccertificates`.

use std::error::Error;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::SystemTime;

use parking_lot::Mutex;

type BoxError = Box<dyn Error + Send + Sync>;
type Read<T> = Box<dyn Fn(Option<&T>) -> Result<T, BoxError> + Send + Sync>;

/// What was made of some files. They are looked at when it is asked for, at most once a second. While they hold nothing that
/// can be used, it stays as it was.
pub struct Current<T> {
    files: Vec<PathBuf>,
    read: Read<T>,
    known: Mutex<Known<T>>,
}

struct Known<T> {
    /// The second in which the files were looked at.
    looked: i64,
    stamps: Vec<Option<Stamp>>,
    value: T,
}

/// What differs between two contents of a file.
type Stamp = (SystemTime, u64, u64);

impl<T: Clone> Current<T> {
    /// Reads the files by `read`, which is told what was made of them before. Without files it stays as it is.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E: Into<BoxError>>(
        files: Vec<PathBuf>,
        read: impl Fn(Option<&T>) -> Result<T, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // Before they are read: what changes meanwhile is seen later.
        let stamps = stamps(&files);
        let known = Mutex::new(Known { looked: 0, stamps, value: read(None)? });
        Ok(Self { files, read: Box::new(move |before| read(before).map_err(E::into)), known })
    }

    /// Whether it may ever become something else.
    pub fn may_change(&self) -> bool {
        !self.files.is_empty()
    }

    /// What they hold now.
    pub fn get(&self) -> T {
        self.get_in(crate::clock::now().as_second())
    }

    /// The same in a second that the caller knows, or a test chooses.
    pub fn get_in(&self, second: i64) -> T {
        let mut known = self.known.lock();
        if std::mem::replace(&mut known.looked, second) != second {
            let stamps = stamps(&self.files);
            if stamps != known.stamps {
                match (self.read)(Some(&known.value)) {
                    Ok(value) => {
                        tracing::info!(files = ?self.files, "Read files that have changed");
                        known.value = value;
                    }
                    Err(error) => tracing::warn!(
                        files = ?self.files,
                        error = &*error as &dyn Error,
                        "Cannot use files that have changed"
                    ),
                }
                known.stamps = stamps;
            }
        }
        known.value.clone()
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Current").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Those of files; of what a link leads to.
fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    files.iter().map(stamp).collect()
}
