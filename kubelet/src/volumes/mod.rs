//! The volumes of pods: made before a pod's sandbox, kept up to date while it runs, taken away after it.
//! Everything lies below `ROOT/pods/UID/volumes`, so what is left of a pod is found by its uid alone. What may
//! hold a secret lies in memory and never on disk.
//! Corresponds to upstream's `volumemanager` and the plugins in `pkg/volume`.

mod atomic_writer;
mod claims;
mod disk;
mod nested;
mod ownership;
mod payload;
pub mod sub_path;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, EmptyDirVolumeSource, Pod, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeProjection,
};
use machinery::beneath::{self, Handle};
use nested::MountPoints;
use ownership::Group;
use parking_lot::Mutex;

use crate::downward::NodeFacts;
use crate::pod_spec;
use crate::referenced_objects::{Objects, REFRESH_AGE};
use crate::runtime_config::container::VolumePath;
use crate::runtime_config::names;

/// A volume that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
pub struct MountError {
    /// Its name in the pod's spec.
    pub volume: String,
    /// What went wrong.
    pub message: String,
}

/// The volumes of all pods on the node.
pub struct Volumes {
    root: PathBuf,
    objects: Arc<Objects>,
    /// Held while something is done on disk for a pod, by uid: work that nobody waits for any more has still ended
    /// before the next begins.
    working: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// What a pod's volumes draw on besides its spec.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Addresses of the pod, as far as known.
    pub pod_ips: &'a [String],
    /// What is known of the node.
    pub node: &'a NodeFacts,
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
        Self { root: root.to_owned(), objects, working: Mutex::default() }
    }

    /// Makes all volumes of a pod; answers where they can be mounted from.
    pub async fn set_up(
        &self,
        pod: &Pod,
        around: Around<'_>,
    ) -> Result<BTreeMap<String, VolumePath>, MountError> {
        let mut paths = BTreeMap::new();
        let points = nested::mount_points(pod);
        for volume in pod_spec::spec(pod).volumes.iter().flatten() {
            let path = self.volume(pod, volume, &points, around, Duration::ZERO).await;
            let path = path.map_err(|message| MountError { volume: volume.name.clone(), message })?;
            paths.insert(volume.name.clone(), path);
        }
        Ok(paths)
    }

    /// Brings the files of volumes that follow the API up to date.
    pub async fn refresh(&self, pod: &Pod, around: Around<'_>) -> Result<(), MountError> {
        let points = nested::mount_points(pod);
        for volume in pod_spec::spec(pod).volumes.iter().flatten().filter(|volume| follows(volume)) {
            let failed = |message| MountError { volume: volume.name.clone(), message };
            self.volume(pod, volume, &points, around, REFRESH_AGE).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Takes away all that was kept for a pod.
    pub async fn tear_down(&self, uid: &str) -> io::Result<()> {
        let (pods, name) = (self.root.join("pods"), PathBuf::from(uid));
        self.on_disk(uid, move || {
            disk::unmount_below(&pods.join(&name))?;
            match Handle::open(&pods) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                pods => pods?.remove(&name),
            }
        })
        .await?;
        self.working.lock().remove(uid);
        Ok(())
    }

    /// Does work on a pod's folder, where it may wait for a disk, and after all other such work for the pod.
    async fn on_disk<T: Send + 'static>(
        &self,
        uid: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let lock = Arc::clone(self.working.lock().entry(uid.to_owned()).or_default());
        let turn = lock.lock_owned().await;
        beneath::blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }

    /// uids of the pods that something is kept for.
    pub async fn kept(&self) -> io::Result<Vec<String>> {
        let pods = self.root.join("pods");
        beneath::blocking(move || beneath::names_in(&pods)).await
    }

    async fn volume(
        &self,
        pod: &Pod,
        volume: &Volume,
        points: &MountPoints,
        around: Around<'_>,
        age: Duration,
    ) -> Result<VolumePath, String> {
        let (root, uid, name) = (&self.root, pod_spec::uid(pod), &volume.name);
        if let Some(source) = &volume.host_path {
            let path = PathBuf::from(&source.path);
            let kind = source.type_.clone().unwrap_or_default();
            let checked = path.clone();
            self.on_disk(uid, move || disk::host_path(&checked, &kind)).await.map_err(|e| e.to_string())?;
            return Ok(VolumePath { path, read_only: false });
        }
        if let Some(source) = &volume.persistent_volume_claim {
            return self.claimed(pod, source).await;
        }
        let pod_dir = names::pod_dir(root, uid);
        let owner = Group::of(pod, false);
        if let Some(source) = &volume.empty_dir {
            let dir = names::volume_dir(root, uid, "empty-dir", name);
            let ready = names::volume_ready(root, uid, "empty-dir", name);
            let memory = size_in_memory(pod, source, around.node)?;
            let path = dir.clone();
            let made = self.on_disk(uid, move || {
                make_private(&pod_dir)?;
                disk::empty_dir(&dir, &ready, memory, owner)
            });
            made.await.map_err(|e| e.to_string())?;
            return Ok(VolumePath { path, read_only: false });
        }
        let Some((plugin, projected)) = as_projected(volume) else {
            return Err("no volume plugin matched".to_owned());
        };
        let files = payload::collect(&self.objects, pod, &projected, around, age).await?;
        let dir = names::volume_dir(root, uid, plugin, name);
        let ready = names::volume_ready(root, uid, "empty-dir", &format!("wrapped_{name}"));
        let memory = is_secret(plugin).then_some(None);
        let points = points.get(name).cloned().unwrap_or_else(|| Ok(Vec::new()))?;
        let readers = Group::of(pod, true);
        let path = dir.clone();
        let written = self.on_disk(uid, move || {
            make_private(&pod_dir)?;
            disk::empty_dir(&dir, &ready, memory, owner)?;
            nested::make(&dir, &points)?;
            atomic_writer::write(&dir, &files, readers)
        });
        written.await.map_err(|e| e.to_string())?;
        Ok(VolumePath { path, read_only: true })
    }
}

/// Whether the files of such a volume are kept in memory: whatever may hold a secret or a token.
fn is_secret(plugin: &str) -> bool {
    plugin != "configmap"
}

/// How much an emptyDir may take, if it lies in memory: what it, the pod and the node allow.
///
/// # Errors
/// When it is to lie where this node puts none.
fn size_in_memory(
    pod: &Pod,
    source: &EmptyDirVolumeSource,
    node: &NodeFacts,
) -> Result<Option<Option<i64>>, String> {
    match source.medium.as_deref().unwrap_or_default() {
        "" => return Ok(None),
        "Memory" => {}
        huge if huge == "HugePages" || huge.starts_with("HugePages-") => {
            return Err(format!("storage medium {huge:?} is not supported by this node"));
        }
        unknown => return Err(format!("unknown storage medium {unknown:?}")),
    }
    let own = source.size_limit.as_ref().map(Quantity::of);
    let of_node = node.allocatable.get("memory").map(Quantity::of);
    let sizes = [own, api::pod::bound(pod_spec::spec(pod), "memory"), of_node].into_iter().flatten();
    Ok(Some(sizes.map(|size| size.value()).filter(|bytes| *bytes > 0).min()))
}

/// Whether the files of a volume follow objects of the API.
fn follows(volume: &Volume) -> bool {
    as_projected(volume).is_some()
}

/// Whether a pod has volumes that follow objects of the API.
pub fn needs_refresh(pod: &Pod) -> bool {
    pod_spec::spec(pod).volumes.iter().flatten().any(follows)
}

/// ConfigMaps, Secrets and the downward API are projections of one source each.
fn as_projected(volume: &Volume) -> Option<(&'static str, ProjectedVolumeSource)> {
    let one = |default_mode: Option<i32>, source: VolumeProjection| ProjectedVolumeSource {
        default_mode,
        sources: Some(vec![source]),
    };
    if let Some(source) = &volume.projected {
        return Some(("projected", source.clone()));
    }
    if let Some(source) = &volume.config_map {
        let projection = ConfigMapProjection {
            name: source.name.clone(),
            items: source.items.clone(),
            optional: source.optional,
        };
        let projection = VolumeProjection { config_map: Some(projection), ..VolumeProjection::default() };
        return Some(("configmap", one(source.default_mode, projection)));
    }
    if let Some(source) = &volume.secret {
        let projection = SecretProjection {
            name: source.secret_name.clone().unwrap_or_default(),
            items: source.items.clone(),
            optional: source.optional,
        };
        let projection = VolumeProjection { secret: Some(projection), ..VolumeProjection::default() };
        return Some(("secret", one(source.default_mode, projection)));
    }
    let source = volume.downward_api.as_ref()?;
    let projection = DownwardAPIProjection { items: source.items.clone() };
    let projection = VolumeProjection { downward_api: Some(projection), ..VolumeProjection::default() };
    Some(("downward-api", one(source.default_mode, projection)))
}

#[cfg(test)]
mod tests;
