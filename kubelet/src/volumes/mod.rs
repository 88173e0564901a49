//! The volumes of pods: made before a pod's sandbox, kept up to date while it runs, taken away after it.
//! Everything lies below `ROOT/pods/UID/volumes`, so what is left of a pod is found by its uid alone. What may
//! hold a secret lies in memory and never on disk. What is mounted stands in a record beside it (`record`), a pure
//! `plan` says what is to be done, `execute` does it.
//! Corresponds to upstream's `volumemanager` and the plugins in `pkg/volume`.

mod atomic_writer;
mod claims;
mod disk;
mod execute;
mod host_path;
mod local;
mod nested;
mod nfs;
mod ownership;
mod payload;
mod plan;
mod record;
mod source;
pub mod sub_path;

use api::Message;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use claims::claim_of;
use execute::{Turns, Work};
use k8s_openapi::api::core::v1::{self, Node, Pod};
use machinery::beneath::{self, Handle};
use parking_lot::Mutex;
use record::Record;
use source::{Source, Volume};

use crate::downward::NodeFacts;
use crate::pod_spec;
use crate::pod_worker::Subject;
use crate::referenced_objects::{Objects, REFRESH_AGE};
use crate::runtime_config::container::VolumePath;
use crate::runtime_config::names::{self, VOLUMES};

/// What could not be done for the volumes of a pod, in the words of upstream's events.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the words tell")]
pub enum VolumeError {
    /// It is not clear what to mount.
    #[error(
        "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], \
         failed to process volumes=[{volume}]: {message}"
    )]
    Process { volume: String, message: String },
    /// Some were not mounted in time.
    #[error(
        "Unable to attach or mount volumes: unmounted volumes=[{}], unattached volumes=[], \
         failed to process volumes=[]: context deadline exceeded",
        volumes.join(" ")
    )]
    Late { volumes: Vec<String> },
    /// One cannot be mounted; the pod has its own names for it.
    #[error("MountVolume.{step} for volume {volume:?} : {message}")]
    Mount { step: &'static str, volume: String, message: String, names: Vec<String> },
    /// One cannot be unmounted.
    #[error("UnmountVolume.TearDown failed for volume {volume:?} : {message}")]
    Unmount { volume: String, message: String },
    /// The pod's folder cannot be used.
    #[error("the folder of the pod's volumes: {0}")]
    Folder(#[from] io::Error),
}

/// A step of mounting that failed.
struct Refused {
    step: &'static str,
    message: String,
}

impl From<Message> for Refused {
    fn from(message: Message) -> Self {
        Self { step: "SetUp failed", message: message.into() }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Message::of(error).into()
    }
}

/// A volume that a pod's spec names.
struct Wanted {
    /// Its name there.
    name: String,
    volume: Volume,
    /// Nobody is to write to it.
    read_only: bool,
    /// It is for one pod alone.
    alone: bool,
}

/// The volumes of all pods on the node.
pub struct Volumes {
    root: PathBuf,
    objects: Arc<Objects>,
    /// Held while something is done on disk for a pod, by uid: work that nobody waits for any more has still ended
    /// before the next begins.
    working: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    turns: Arc<Turns>,
}

/// What a pod's volumes draw on besides its spec.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// What is known of the node.
    pub facts: &'a NodeFacts,
    /// The node as the API has it.
    pub node: Option<&'a Node>,
}

/// How often files that follow the API are brought up to date.
const REFRESH: Duration = Duration::from_secs(60);

/// When files are brought up to date: all pods' at the same moments, so that what several of them refer to is
/// asked for once, and a node with little to do sleeps in between.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    began: Instant,
}

impl Rounds {
    /// Rounds that begin now.
    pub fn begin(began: Instant) -> Self {
        Self { began }
    }

    /// Which round it is.
    pub fn number(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_secs() / REFRESH.as_secs()
    }

    /// How long it is until the next one.
    pub fn until_next(&self, now: Instant) -> Duration {
        let past = now.duration_since(self.began).as_millis() % REFRESH.as_millis();
        // A part of a minute in milliseconds fits.
        REFRESH - Duration::from_millis(past as u64)
    }
}

/// Makes a folder, with everything above it, that other users of the node may not look into.
pub fn make_private(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    Handle::open(dir)?.set_mode(0o750)
}

impl Volumes {
    /// Volumes below the kubelet's root folder.
    pub fn new(root: &Path, objects: Arc<Objects>) -> Self {
        Self { root: root.to_owned(), objects, working: Mutex::default(), turns: Arc::default() }
    }

    /// Makes all volumes of a pod, as far as they are not there; answers where they can be mounted from, or what could
    /// not be done for each that failed.
    pub async fn set_up(
        &self,
        pod: &Arc<Pod>,
        around: Around<'_>,
    ) -> Result<BTreeMap<String, VolumePath>, Vec<VolumeError>> {
        let (mut wanted, mut errors) = (Vec::new(), Vec::new());
        for volume in pod_spec::spec(pod).volumes.iter().flatten() {
            let found = match self.claimed(pod, volume, around).await {
                Some(claimed) => claimed,
                None => named(pod, volume, around),
            };
            match found {
                Ok(found) => wanted.push(found),
                Err(error) => errors.push(error),
            }
        }
        let volumes = names::pod_dir(&self.root, pod_spec::uid(pod)).join(VOLUMES);
        let path = |wanted: &Wanted| {
            let (path, read_only) = (wanted.volume.path(&volumes), wanted.read_only);
            (wanted.name.clone(), VolumePath { path, read_only })
        };
        let paths = wanted.iter().map(path).collect();
        self.bring(pod, wanted, around, Duration::ZERO, &mut errors).await;
        if errors.is_empty() { Ok(paths) } else { Err(errors) }
    }

    /// Brings the files of volumes that follow the API up to date.
    pub async fn refresh(&self, pod: &Arc<Pod>, around: Around<'_>) -> Result<(), Vec<VolumeError>> {
        let volumes = pod_spec::spec(pod).volumes.iter().flatten().filter(|volume| payload::follows(volume));
        let (mut wanted, mut errors) = (Vec::new(), Vec::new());
        for volume in volumes {
            match named(pod, volume, around) {
                Ok(found) => wanted.push(found),
                Err(error) => errors.push(error),
            }
        }
        self.bring(pod, wanted, around, REFRESH_AGE, &mut errors).await;
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Brings volumes to where they are wanted, with answers of the API that are at most so old, and adds what could not
    /// be done.
    async fn bring(
        &self,
        pod: &Arc<Pod>,
        mut wanted: Vec<Wanted>,
        around: Around<'_>,
        age: Duration,
        errors: &mut Vec<VolumeError>,
    ) {
        let mut files = BTreeMap::new();
        for volume in pod_spec::spec(pod).volumes.iter().flatten() {
            let Some(source) = payload::projected(volume) else { continue };
            if !wanted.iter().any(|wanted| wanted.name == volume.name) {
                continue;
            }
            match payload::collect(&self.objects, pod, &source, around.facts, age).await {
                Ok(collected) => drop(files.insert(volume.name.clone(), collected)),
                Err(message) => {
                    wanted.retain(|wanted| wanted.name != volume.name);
                    errors.push(failed(volume, message.into()));
                }
            }
        }
        if wanted.is_empty() {
            return;
        }
        let (root, pod, first) = (self.root.clone(), Arc::clone(pod), age.is_zero());
        let turns = Arc::clone(&self.turns);
        let work = Work { root, pod: Arc::clone(&pod), wanted, files, first, turns };
        match self.on_disk(pod_spec::uid(&pod), move || work.carry_out()).await {
            Ok(done) => errors.extend(done.err().into_iter().flatten()),
            Err(error) => errors.push(error.into()),
        }
    }

    /// Takes away all volumes of a pod: unmounts them, and deletes what was the pod's alone.
    pub async fn tear_down(&self, uid: &str) -> Result<(), VolumeError> {
        let dir = names::pod_dir(&self.root, uid);
        self.on_disk(uid, move || execute::clear(&dir)).await?
    }

    /// Takes away all that was kept for a pod, its volumes first.
    pub async fn remove(&self, uid: &str) -> Result<(), VolumeError> {
        let (pods, name) = (names::pods(&self.root), PathBuf::from(uid));
        let removed = self.on_disk(uid, move || {
            execute::clear(&pods.join(&name))?;
            match Handle::open(&pods) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                pods => Ok::<_, VolumeError>(pods?.remove(&name)?),
            }
        });
        removed.await??;
        self.working.lock().remove(uid);
        Ok(())
    }

    /// Does work on a pod's folder, where it may wait for a disk, and after all other such work for the pod.
    async fn on_disk<T: Send + 'static>(
        &self,
        uid: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let lock = Arc::clone(self.working.lock().entry(uid.to_owned()).or_default());
        let turn = lock.lock_owned().await;
        let done = beneath::blocking(move || {
            let _turn = turn;
            Ok(work())
        });
        done.await
    }

    /// The pods that something is kept for; without a record they have no names.
    pub async fn kept(&self) -> io::Result<Vec<Subject>> {
        let pods = names::pods(&self.root);
        beneath::blocking(move || {
            let left = |uid: String| {
                let record = Record::read(&pods.join(&uid))?.unwrap_or_default();
                Ok(Subject { uid, namespace: record.namespace, name: record.name })
            };
            beneath::names_in(&pods)?.into_iter().map(left).collect()
        })
        .await
    }
}

/// Where local volumes are mounted for a pod, by their claims. How full a server's folder is would have to be asked
/// of the server, which may be away.
pub fn mounted_claims(root: &Path, uid: &str) -> BTreeMap<String, PathBuf> {
    let dir = names::pod_dir(root, uid);
    let record = Record::read(&dir).unwrap_or_else(|error| {
        tracing::warn!(pod = uid, %error, "Cannot tell how full the volumes of a pod are");
        None
    });
    let volumes = record.unwrap_or_default().volumes.into_values();
    let ready = volumes.filter(|kept| kept.ready && matches!(kept.volume.source, Source::Local { .. }));
    ready
        .filter_map(|kept| Some((kept.volume.claim.clone()?, kept.volume.path(&dir.join(VOLUMES)))))
        .collect()
}

/// A volume that the pod's spec says all about.
fn named(pod: &Pod, volume: &v1::Volume, around: Around<'_>) -> Result<Wanted, VolumeError> {
    let source = Source::of(pod, volume, around.facts).map_err(|message| failed(volume, message.into()))?;
    let read_only = match &source {
        Source::Nfs { read_only, .. } => *read_only,
        source => source.follows(),
    };
    let name = volume.name.clone();
    Ok(Wanted { volume: Volume { name: name.clone(), claim: None, source }, name, read_only, alone: false })
}

fn failed(volume: &v1::Volume, message: String) -> VolumeError {
    let name = volume.name.clone();
    VolumeError::Mount { step: "SetUp failed", volume: name.clone(), message, names: vec![name] }
}

/// Whether a pod has volumes that follow objects of the API.
pub fn needs_refresh(pod: &Pod) -> bool {
    pod_spec::spec(pod).volumes.iter().flatten().any(payload::follows)
}

#[cfg(test)]
mod tests;
