//! Ends pods that take more of the node's disk than their `emptyDir.sizeLimit` and their limits of `ephemeral-storage` let
//! them, and others while the node is short of memory or disk ([`pressure`]). While it is not, nothing is measured of pods
//! without limits. Corresponds to upstream's `localStorageEviction` and `synchronize`.

mod pressure;
mod thresholds;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use api::pod::{self, is_finished};
use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Volume};
use kinds::builtin::priority_class::CRITICAL;
use machinery::beneath::{self, Handle};
use parking_lot::Mutex;

use crate::cri::CriError;
use crate::kubelet::Kubelet;
use crate::node_status::machine::Left;
use crate::pod_spec;
use crate::pod_status::Ended;
use crate::pod_workers::PodWorkers;
use crate::runtime_config::names::{self, VOLUMES};
use crate::sources;
use crate::stats::{ComputeStats, size_of_logs};
use pressure::Taken;
pub use pressure::{Pressure, Pressures};
pub use thresholds::Thresholds;

/// Why a pod is ended.
pub const EVICTED: &str = "Evicted";
/// Seconds that it has to end in.
pub const GRACE: i64 = 1;

/// How often pods are looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How many times as long as a look took nobody looks again: millions of files are no more work than that.
const REST: u32 = 10;
const STORAGE: &str = "ephemeral-storage";
const UNIT: u64 = 512;

/// The pods that are to end, by uid, and why.
pub type Evictions = Mutex<HashMap<String, Ended>>;

/// What a pod takes of the node's disk, in bytes.
#[derive(Default)]
struct Usage {
    /// Each emptyDir by name.
    volumes: HashMap<String, u64>,
    /// Logs and writable layer of each container by name.
    containers: HashMap<String, u64>,
    /// All together.
    pod: u64,
}

/// Ends pods that take more than their limits, as often as looking at them lets it.
///
/// # Errors
/// Never.
pub async fn keep_limits(kubelet: Arc<Kubelet>, workers: Arc<PodWorkers>) -> anyhow::Result<()> {
    let (clock, mut pause) = (kubelet.clock.clone(), LOOK);
    loop {
        clock.sleep_until(clock.instant() + pause).await;
        let began = clock.instant();
        if let Err(error) = look(&kubelet, &workers).await {
            tracing::warn!(%error, "Cannot ask what containers have written");
        }
        pause = LOOK.max((clock.instant() - began) * REST);
    }
}

/// Ends pods while the node is short of something; looks at none of them while it is not.
///
/// # Errors
/// Never.
pub async fn keep_room(kubelet: Arc<Kubelet>, workers: Arc<PodWorkers>) -> anyhow::Result<()> {
    loop {
        kubelet.clock.sleep_until(kubelet.clock.instant() + LOOK).await;
        if let Err(error) = relieve(&kubelet, &workers).await {
            tracing::warn!(%error, "Cannot ask what containers have written");
        }
    }
}

/// The pods that the cluster can do without.
fn dispensable(kubelet: &Kubelet) -> Vec<Arc<Pod>> {
    let pods = kubelet.pods.list();
    let lives = |uid: &String| pods.iter().any(|pod| pod_spec::uid(pod) == uid && !is_finished(pod));
    kubelet.evictions.lock().retain(|uid, _| lives(uid));
    pods.into_iter().filter(|pod| is_dispensable(pod)).collect()
}

/// Has the worker of a pod end it.
fn end(kubelet: &Kubelet, workers: &Arc<PodWorkers>, pod: &Pod, why: Ended) {
    kubelet.evictions.lock().insert(pod_spec::uid(pod).to_owned(), why);
    workers.look(&sources::subject(pod));
}

/// Looks once at all pods with limits.
async fn look(kubelet: &Arc<Kubelet>, workers: &Arc<PodWorkers>) -> Result<(), CriError> {
    let limited: Vec<Arc<Pod>> = dispensable(kubelet).into_iter().filter(|pod| is_limited(pod)).collect();
    let needs_layers = limited.iter().any(|pod| storage_limit(pod).is_some());
    for (pod, usage) in measured(kubelet, limited, needs_layers).await? {
        if let Some(message) = excess(&pod, &usage) {
            end(kubelet, workers, &pod, Ended::new(EVICTED, message));
        }
    }
    Ok(())
}

/// Looks once at what the node has left.
async fn relieve(kubelet: &Arc<Kubelet>, workers: &Arc<PodWorkers>) -> Result<(), CriError> {
    let left = Left::look(&kubelet.places.root);
    kubelet.pressures.note(&left, machinery::clock::now());
    let Some(shortage) = kubelet.pressures.shortage(&left) else { return Ok(()) };
    let pods = dispensable(kubelet);
    if !kubelet.evictions.lock().is_empty() {
        // What goes already may be enough.
        return Ok(());
    }
    let all = if shortage.resource == STORAGE {
        let all = measured(kubelet, pods, true).await?.into_iter();
        let taken = |(pod, usage): (Arc<Pod>, Usage)| {
            let containers = usage.containers.into_iter().collect();
            Taken { pod, all: usage.pod, containers }
        };
        all.map(taken).collect()
    } else {
        in_memory(kubelet, pods).await
    };
    match pressure::first(all, shortage.resource) {
        Some(taken) => end(kubelet, workers, &taken.pod, pressure::reason(&shortage, &taken)),
        None => tracing::warn!(
            resource = shortage.resource,
            "The node is short of something, and no pod can go for it"
        ),
    }
    Ok(())
}

/// What pods take of the disk; those are left out of which nobody can tell.
async fn measured(
    kubelet: &Arc<Kubelet>,
    pods: Vec<Arc<Pod>>,
    with_layers: bool,
) -> Result<Vec<(Arc<Pod>, Usage)>, CriError> {
    let layers = match with_layers {
        true => Arc::new(kubelet.runtime.layers().await?),
        false => Arc::default(),
    };
    let mut all = Vec::new();
    for pod in pods {
        let (places, layers, of) = (kubelet.places.clone(), Arc::clone(&layers), Arc::clone(&pod));
        match beneath::blocking(move || usage(&places.root, &places.logs, &of, &layers)).await {
            Ok(usage) => all.push((pod, usage)),
            Err(error) => {
                tracing::warn!(pod = pod_spec::described(&pod), %error, "Cannot tell what a pod takes of the disk");
            }
        }
    }
    Ok(all)
}

/// What pods take of the memory; those are left out of which nobody can tell.
async fn in_memory(kubelet: &Arc<Kubelet>, pods: Vec<Arc<Pod>>) -> Vec<Taken> {
    let of = Arc::clone(kubelet);
    let summary = match beneath::blocking(move || Ok(of.summary(None))).await {
        Ok(summary) => summary,
        Err(error) => {
            tracing::warn!(%error, "Cannot tell what pods take of the memory");
            return Vec::new();
        }
    };
    let working_set = |compute: &ComputeStats| Some(compute.memory?.working_set_bytes);
    let taken = |pod: Arc<Pod>| {
        let stats = summary.pods.iter().find(|stats| stats.pod_ref.uid == pod_spec::uid(&pod))?;
        let containers = stats.containers.iter();
        let containers =
            containers.filter_map(|c| Some((c.name.clone(), working_set(&c.compute)?))).collect();
        Some(Taken { all: working_set(&stats.compute)?, containers, pod })
    };
    pods.into_iter().filter_map(taken).collect()
}

/// Whether the cluster cannot do without a pod.
fn is_critical(pod: &Pod) -> bool {
    pod_spec::is_static(pod) || pod_spec::spec(pod).priority.unwrap_or(0) >= CRITICAL
}

/// Whether a pod may be ended; one that is to end has its own time for it.
fn is_dispensable(pod: &Pod) -> bool {
    !is_critical(pod) && !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod has a limit of what it may take of the disk.
fn is_limited(pod: &Pod) -> bool {
    let limited = pod_spec::spec(pod).volumes.iter().flatten().any(|volume| size_limit(volume).is_some());
    limited || storage_limit(pod).is_some()
}

/// An emptyDir on disk.
fn is_empty_dir(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|dir| dir.medium.as_deref().unwrap_or_default().is_empty())
}

/// How large an emptyDir on disk may grow; the kernel keeps those in memory small.
fn size_limit(volume: &Volume) -> Option<Quantity> {
    let limit = volume.empty_dir.as_ref().filter(|_| is_empty_dir(volume))?.size_limit.as_ref();
    limit.map(Quantity::of).filter(|limit| *limit > Quantity::ZERO)
}

/// How much the containers of a pod may take together.
fn storage_limit(pod: &Pod) -> Option<Quantity> {
    pod::limits(pod_spec::spec(pod)).get(STORAGE).copied().filter(|limit| !limit.is_zero())
}

/// Why a pod takes too much, if it does.
fn excess(pod: &Pod, usage: &Usage) -> Option<String> {
    let spec = pod_spec::spec(pod);
    let exceeds =
        |used: u64, limit: &Quantity| i64::try_from(used).is_ok_and(|used| Quantity::bytes(used) > *limit);
    for volume in spec.volumes.iter().flatten() {
        let used = usage.volumes.get(&volume.name).copied().unwrap_or(0);
        if let Some(limit) = size_limit(volume).filter(|limit| exceeds(used, limit)) {
            let limit = limit.to_string();
            return Some(format!("Usage of EmptyDir volume {:?} exceeds the limit {limit:?}. ", volume.name));
        }
    }
    if let Some(limit) = storage_limit(pod).filter(|limit| exceeds(usage.pod, limit)) {
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ));
    }
    spec.containers.iter().find_map(|container| {
        let used = usage.containers.get(&container.name).copied().unwrap_or(0);
        let limit = pod_spec::limit(container, STORAGE).filter(|limit| exceeds(used, limit))?.to_string();
        Some(format!("Container {} exceeded its local ephemeral storage limit {limit:?}. ", container.name))
    })
}

/// Measures what a pod takes; `layers` are those of all containers by their ids.
fn usage(root: &Path, logs: &Path, pod: &Pod, layers: &HashMap<String, u64>) -> io::Result<Usage> {
    let volumes = names::pod_dir(root, pod_spec::uid(pod)).join(VOLUMES);
    let place =
        |plugin, volume: &Volume| -> PathBuf { volumes.join(names::volume_place(plugin, &volume.name)) };
    let mut usage = Usage::default();
    for volume in pod_spec::spec(pod).volumes.iter().flatten() {
        if is_empty_dir(volume) {
            let used = bytes_in(&place("empty-dir", volume))?;
            usage.volumes.insert(volume.name.clone(), used);
            usage.pod += used;
        } else if volume.config_map.is_some() {
            usage.pod += bytes_in(&place("configmap", volume))?;
        }
    }
    let status = pod.status.as_ref();
    let lists = status.map(|status| [&status.init_container_statuses, &status.container_statuses]);
    for container in lists.into_iter().flatten().flatten().flatten() {
        let layer = id(container).and_then(|id| layers.get(id)).copied().unwrap_or(0);
        let used = layer + size_of_logs(logs, pod, &container.name);
        usage.containers.insert(container.name.clone(), used);
        usage.pod += used;
    }
    Ok(usage)
}

/// The runtime's id of a container that runs.
fn id(container: &ContainerStatus) -> Option<&str> {
    container.state.as_ref()?.running.as_ref()?;
    Some(container.container_id.as_deref()?.split_once("://")?.1)
}

/// The bytes that a folder takes on its disk with all in it. A file with several names counts once, in parts.
fn bytes_in(dir: &Path) -> io::Result<u64> {
    let root = match Handle::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        root => root?,
    };
    let own = root.metadata()?;
    let mut bytes = own.blocks() * UNIT;
    root.walk(|_, metadata| {
        let names = if metadata.is_dir() { 1 } else { metadata.nlink().max(1) };
        bytes += if metadata.dev() == own.dev() { metadata.blocks() * UNIT / names } else { 0 };
        Ok(())
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
