//! The folder of manifests, or the one file of one. It is looked at once a second, by names and times; only when these
//! have changed is anything read. A file that is no manifest is told of once, and disturbs no other.
//! Corresponds to upstream's `config/file.go`.

use api::{Message, message};
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::beneath;
use machinery::clock::Clock;

use super::manifest;
use crate::labels::CONFIG_SEEN;

/// How often the folder is looked at.
pub const LOOK: Duration = Duration::from_secs(1);
/// The longest manifest, in bytes.
const LONGEST: u64 = 10 << 20;

/// What tells that a file has changed: its inode, its length, and when it was written.
type Mark = (u64, u64, i64, i64);

/// What is known of one file.
#[derive(Debug, Clone)]
struct File {
    /// None of one that cannot even be looked at.
    mark: Option<Mark>,
    pod: Result<Arc<Pod>, Message>,
}

/// A folder of manifests.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    node: String,
    clock: Clock,
    files: BTreeMap<PathBuf, File>,
    /// Why it could not be read the last time.
    trouble: Option<String>,
}

impl Folder {
    /// Manifests at a path, for a node.
    pub fn new(path: PathBuf, node: &str, clock: Clock) -> Self {
        Self { path, node: node.to_owned(), clock, files: BTreeMap::new(), trouble: None }
    }

    /// Waits until there are files at a path.
    pub async fn has_files(path: Option<&Path>) {
        let Some(path) = path else { return std::future::pending().await };
        loop {
            let path = path.to_owned();
            if beneath::blocking(move || listed(&path)).await.is_ok_and(|files| !files.is_empty()) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks; answers the pods if they are not the same as before.
    ///
    /// # Errors
    /// When the folder cannot be read; what is known of it stays.
    pub async fn look(&mut self) -> io::Result<Option<Vec<Arc<Pod>>>> {
        let mut looking = self.clone();
        let (looked, looking) = beneath::blocking(move || {
            let looked = looking.read();
            Ok((looked, looking))
        })
        .await
        .unwrap_or_else(|error| (Err(error), self.clone()));
        *self = looking;
        let trouble = looked.as_ref().err().map(ToString::to_string);
        if let Some(error) = trouble.as_ref().filter(|_| self.trouble != trouble) {
            tracing::warn!(path = %self.path.display(), error, "Cannot read the folder of static pods");
        }
        self.trouble = trouble;
        looked.map(|changed| changed.then(|| self.pods()))
    }

    /// The pods of all manifests; of two of the same name or uid the first has it.
    fn pods(&self) -> Vec<Arc<Pod>> {
        let mut pods: Vec<Arc<Pod>> = Vec::new();
        for (path, file) in &self.files {
            let Ok(pod) = &file.pod else { continue };
            let (new, name) = (&pod.metadata, |of: &ObjectMeta| (of.name.clone(), of.namespace.clone()));
            let same = |other: &ObjectMeta| other.uid == new.uid || name(other) == name(new);
            match pods.iter().any(|other| same(&other.metadata)) {
                true => {
                    tracing::warn!(path = %path.display(), "Another manifest has a pod of this name or uid")
                }
                false => pods.push(Arc::clone(pod)),
            }
        }
        pods
    }

    /// Reads what has changed; answers whether anything has.
    fn read(&mut self) -> io::Result<bool> {
        let mut changed = false;
        let mut found = BTreeMap::new();
        for path in listed(&self.path)? {
            let mark = match std::fs::metadata(&path) {
                // It went between the list and the question, or leads nowhere.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Ok(metadata) if !metadata.is_file() => continue,
                Ok(of) => Ok((of.ino(), of.len(), of.mtime(), of.mtime_nsec())),
                Err(error) => Err(Message::of(error)),
            };
            let same = |known: &File| mark.is_err() || known.mark == mark.clone().ok();
            let known = self.files.remove(&path).filter(same);
            let file = match known {
                Some(known) => known,
                None => {
                    changed = true;
                    let pod = mark.clone().and_then(|_| pod(&path, &self.node)).map(|mut pod| {
                        let annotations = pod.metadata.annotations.get_or_insert_default();
                        annotations.insert(CONFIG_SEEN.to_owned(), self.clock.now().to_string());
                        Arc::new(pod)
                    });
                    if let Err(error) = &pod {
                        tracing::warn!(path = %path.display(), %error, "No static pod");
                    }
                    File { mark: mark.ok(), pod }
                }
            };
            found.insert(path, file);
        }
        changed |= !self.files.is_empty();
        self.files = found;
        Ok(changed)
    }
}

/// The files at a path: those of a folder that do not begin with a dot, or the one that it is.
fn listed(path: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Ok(metadata) if metadata.is_file() => return Ok(vec![path.to_owned()]),
        // What is neither is told of by the list.
        _ => {}
    }
    let names = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
    let shown =
        |path: &PathBuf| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.filter(|path| path.as_ref().map_or(true, shown)).collect()
}

fn pod(path: &Path, node: &str) -> Result<Pod, Message> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(Message::of)?;
    file.take(LONGEST + 1).read_to_end(&mut text).map_err(Message::of)?;
    if text.len() as u64 > LONGEST {
        return Err(message!("it is longer than {LONGEST} bytes"));
    }
    manifest::read(&text, &path.to_string_lossy(), node).map_err(Message::of)
}
