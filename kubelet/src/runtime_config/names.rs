//! Where the things of a pod lie on the node, and what the pod is called inside. The folders are laid out
//! as upstream's, since logs and volumes are looked for there by people and by other programs.

use std::path::{Path, PathBuf};

use api::pod::Qos;
use k8s_openapi::api::core::v1::Pod;

use crate::pod_spec;

/// The longest host name.
const HOSTNAME_MAX: usize = 63;

/// The folder of a pod's logs.
pub fn log_dir(root: &Path, pod: &Pod) -> PathBuf {
    root.join(format!("{}_{}_{}", pod_spec::namespace(pod), pod_spec::name(pod), pod_spec::uid(pod)))
}

/// A container's log, below the pod's log folder.
pub fn log_path(container: &str, attempt: u32) -> String {
    format!("{container}/{attempt}.log")
}

/// The folder of the pods' folders.
pub fn pods(root: &Path) -> PathBuf {
    root.join("pods")
}

/// The folder of all that the kubelet keeps for a pod.
pub fn pod_dir(root: &Path, uid: &str) -> PathBuf {
    pods(root).join(uid)
}

/// The folder of the volumes that are made to order on this node's disk, each named after its PersistentVolume.
pub fn local_volumes(root: &Path) -> PathBuf {
    root.join("local-volumes")
}

/// The folder in a pod's of its volumes.
pub const VOLUMES: &str = "volumes";

/// Where a volume lies in that; `plugin` is the kind of volume.
pub fn volume_place(plugin: &str, name: &str) -> PathBuf {
    Path::new(&format!("kubernetes.io~{plugin}")).join(name)
}

/// The folder in a pod's of what is mounted of paths inside of volumes.
pub const SUB_PATHS: &str = "volume-subpaths";

/// Where the path inside a volume is mounted that a container's volume mount of this index names.
pub fn sub_path(root: &Path, uid: &str, volume: &str, container: &str, index: usize) -> PathBuf {
    pod_dir(root, uid).join(SUB_PATHS).join(volume).join(container).join(index.to_string())
}

/// The folder of the files for a container's last words, each named after the attempt.
pub fn last_words_dir(root: &Path, uid: &str, container: &str) -> PathBuf {
    pod_dir(root, uid).join("containers").join(container)
}

/// The cgroup above the pods of a class: `kubepods[/QOS]` below the node's.
pub fn qos_cgroup(root: &str, qos: Qos) -> String {
    let class = match qos {
        Qos::Guaranteed => "",
        Qos::Burstable => "/burstable",
        Qos::BestEffort => "/besteffort",
    };
    format!("{}/kubepods{class}", root.trim_end_matches('/'))
}

/// The cgroup of a pod.
pub fn cgroup(root: &str, qos: Qos, uid: &str) -> String {
    format!("{}/pod{uid}", qos_cgroup(root, qos))
}

/// The pod's host name: what it asks for or its own name, cut to what the kernel takes.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod_spec::spec(pod);
    let asked = spec.hostname_override.as_deref().or(spec.hostname.as_deref());
    let name = asked.filter(|name| !name.is_empty()).unwrap_or(pod_spec::name(pod));
    let cut: String = name.chars().take(HOSTNAME_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The pod's domain, when it belongs to a subdomain and does not name itself.
pub fn domain(pod: &Pod, cluster_domain: &str) -> Option<String> {
    if pod_spec::spec(pod).hostname_override.is_some() {
        return None;
    }
    let subdomain = pod_spec::spec(pod).subdomain.as_deref().filter(|name| !name.is_empty())?;
    Some(format!("{subdomain}.{}.svc.{cluster_domain}", pod_spec::namespace(pod)))
}
