//! The volumes of pods: made before a pod's sandbox, kept up to date while it runs, taken away after it.
//! Everything lies below `ROOT/pods/UID/volumes`, so what is left of a pod is found by its uid alone. What may
//! hold a secret lies in memory and never on disk.
//! Corresponds to upstream's `volumemanager` and the plugins in `pkg/volume`.

mod atomic_writer;
mod disk;
mod payload;
pub mod sub_path;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, EmptyDirVolumeSource, Pod, ProjectedVolumeSource,
    SecretProjection, Volume, VolumeProjection,
};

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
pub fn make_private(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o750))
}

impl Volumes {
    /// Volumes below the kubelet's root folder.
    pub fn new(root: &Path, objects: Arc<Objects>) -> Self {
        Self { root: root.to_owned(), objects }
    }

    /// Makes all volumes of a pod; answers where they can be mounted from.
    pub async fn set_up(
        &self,
        pod: &Pod,
        around: Around<'_>,
    ) -> Result<BTreeMap<String, VolumePath>, MountError> {
        let mut paths = BTreeMap::new();
        let dir = names::pod_dir(&self.root, pod_spec::uid(pod));
        for volume in pod_spec::spec(pod).volumes.iter().flatten() {
            let failed = |message| MountError { volume: volume.name.clone(), message };
            make_private(&dir).map_err(|error| failed(error.to_string()))?;
            let path = self.volume(pod, volume, around, Duration::ZERO).await.map_err(failed)?;
            paths.insert(volume.name.clone(), path);
        }
        Ok(paths)
    }

    /// Brings the files of volumes that follow the API up to date.
    pub async fn refresh(&self, pod: &Pod, around: Around<'_>) -> Result<(), MountError> {
        for volume in pod_spec::spec(pod).volumes.iter().flatten().filter(|volume| follows(volume)) {
            let failed = |message| MountError { volume: volume.name.clone(), message };
            self.volume(pod, volume, around, REFRESH_AGE).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Takes away all that was kept for a pod.
    pub fn tear_down(&self, uid: &str) -> std::io::Result<()> {
        let dir = names::pod_dir(&self.root, uid);
        disk::unmount_below(&dir)?;
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// uids of the pods that something is kept for.
    pub fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("pods")).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    async fn volume(
        &self,
        pod: &Pod,
        volume: &Volume,
        around: Around<'_>,
        age: Duration,
    ) -> Result<VolumePath, String> {
        let dir = |plugin: &str| names::volume_dir(&self.root, pod_spec::uid(pod), plugin, &volume.name);
        let owner = pod_spec::spec(pod).security_context.as_ref().and_then(|c| c.fs_group);
        if let Some(source) = &volume.empty_dir {
            let dir = dir("empty-dir");
            disk::empty_dir(&dir, size_in_memory(pod, source, around.node), owner)
                .map_err(|e| e.to_string())?;
            return Ok(VolumePath { path: dir, read_only: false });
        }
        if let Some(source) = &volume.host_path {
            let kind = source.type_.as_deref().unwrap_or_default();
            disk::host_path(Path::new(&source.path), kind)?;
            return Ok(VolumePath { path: PathBuf::from(&source.path), read_only: false });
        }
        if let Some(source) = &volume.persistent_volume_claim {
            let path = self.claimed(pod, &source.claim_name).await?;
            return Ok(VolumePath { path, read_only: source.read_only.unwrap_or(false) });
        }
        let Some((plugin, projected)) = as_projected(volume) else {
            return Err("no volume plugin matched".to_owned());
        };
        let files = payload::collect(&self.objects, pod, &projected, around, age).await?;
        let dir = dir(plugin);
        if is_secret(plugin) {
            disk::in_memory(&dir, None).map_err(|e| e.to_string())?;
        }
        atomic_writer::write(&dir, &files, owner).map_err(|e| e.to_string())?;
        Ok(VolumePath { path: dir, read_only: true })
    }

    /// Where the volume behind a claim lies on this node.
    async fn claimed(&self, pod: &Pod, claim: &str) -> Result<PathBuf, String> {
        let found = self.objects.claim(pod_spec::namespace(pod), claim).await.map_err(|e| e.to_string())?;
        let found = found.ok_or_else(|| format!("persistentvolumeclaim {claim:?} not found"))?;
        let name = found.spec.and_then(|spec| spec.volume_name).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("PVC {}/{claim} is not bound", pod_spec::namespace(pod)))?;
        let volume = self.objects.volume(&name).await.map_err(|e| e.to_string())?;
        let spec =
            volume.and_then(|v| v.spec).ok_or_else(|| format!("persistentvolume {name:?} not found"))?;
        if let Some(source) = spec.host_path {
            let path = PathBuf::from(&source.path);
            disk::host_path(&path, source.type_.as_deref().unwrap_or_default())?;
            return Ok(path);
        }
        let local = spec.local.ok_or("no volume plugin matched")?;
        disk::host_path(Path::new(&local.path), "Directory")?;
        Ok(PathBuf::from(local.path))
    }
}

/// Whether the files of such a volume are kept in memory: whatever may hold a secret or a token.
fn is_secret(plugin: &str) -> bool {
    plugin != "configmap"
}

/// How much an emptyDir may take, if it lies in memory: what it, the pod and the node allow.
fn size_in_memory(pod: &Pod, source: &EmptyDirVolumeSource, node: &NodeFacts) -> Option<Option<i64>> {
    if source.medium.as_deref() != Some("Memory") {
        return None;
    }
    let own = source.size_limit.as_ref().map(Quantity::of);
    let of_node = node.allocatable.get("memory").map(Quantity::of);
    let sizes = [own, pod_spec::pod_limit(pod, "memory"), of_node].into_iter().flatten();
    Some(sizes.map(|size| size.value()).filter(|bytes| *bytes > 0).min())
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
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_empty_dir_in_memory_is_as_large_as_all_allow() {
        let node = NodeFacts {
            allocatable: BTreeMap::from([("memory".to_owned(), Quantity::whole(1000).wire())]),
            ..NodeFacts::default()
        };
        let size = |source: serde_json::Value, limits: serde_json::Value| {
            let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}});
            let pod: Pod = serde_json::from_value(pod).expect("the test's pod is one");
            let source = serde_json::from_value(source).expect("the test's source is one");
            size_in_memory(&pod, &source, &node)
        };
        assert_eq!(size(json!({}), json!({})), None, "on disk");
        assert_eq!(size(json!({"medium": "Memory"}), json!({})), Some(Some(1000)));
        assert_eq!(size(json!({"medium": "Memory"}), json!({"memory": "500"})), Some(Some(500)));
        let limited = json!({"medium": "Memory", "sizeLimit": "200"});
        assert_eq!(size(limited.clone(), json!({"memory": "500"})), Some(Some(200)));
        assert_eq!(size(limited, json!({"memory": "100"})), Some(Some(100)));
    }

    #[test]
    fn all_pods_have_the_same_rounds() {
        let began = Instant::now();
        let rounds = Rounds::begin(began);
        let at = |millis| {
            let now = began + Duration::from_millis(millis);
            (rounds.number(now), rounds.until_next(now).as_millis())
        };
        assert_eq!(at(0), (0, 60_000));
        assert_eq!(at(59_999), (0, 1));
        assert_eq!(at(60_000), (1, 60_000));
        assert_eq!(at(150_500), (2, 29_500));
    }

    #[test]
    fn what_may_hold_a_secret_is_kept_in_memory() {
        let plugin = |volume: serde_json::Value| {
            let volume: Volume = serde_json::from_value(volume).expect("the test's volume is one");
            as_projected(&volume).map(|(plugin, _)| is_secret(plugin))
        };
        assert_eq!(plugin(json!({"name": "v", "secret": {"secretName": "s"}})), Some(true));
        assert_eq!(plugin(json!({"name": "v", "projected": {"sources": []}})), Some(true));
        assert_eq!(plugin(json!({"name": "v", "configMap": {"name": "c"}})), Some(false));
    }
}
