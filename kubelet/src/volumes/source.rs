//! What volumes are made of, and where each lies below its pod's folder. `docs/adding-a-volume.md` adds one.

use std::path::{Path, PathBuf};

use api::{Message, message, quantity::Quantity};
use k8s_openapi::api::core::v1::{self, EmptyDirVolumeSource, Pod};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::downward::NodeFacts;
use crate::pod_spec;
use crate::runtime_config::names;

/// A volume as it is mounted for one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Volume {
    /// Its name in the pod's spec, or that of the PersistentVolume behind a claim.
    pub(super) name: String,
    /// The claim that it stands behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claim: Option<String>,
    /// What it is made of.
    pub(super) source: Source,
}

/// What a volume is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Source {
    /// A path of the node, which containers get as it is; checked, or made, as its type says.
    HostPath { path: PathBuf, kind: String },
    /// A folder of the pod's own, on disk.
    EmptyDir,
    /// One in memory, of at most so many bytes.
    Memory { size: Option<i64> },
    /// Files that follow objects of the API.
    Files(Plugin),
    /// A folder that a PersistentVolume names on this node.
    Local { path: PathBuf },
    /// A folder of a server.
    Nfs { server: String, path: String, read_only: bool, options: Vec<String> },
    /// What only a driver can mount.
    Csi { driver: String },
}

/// Which kind of volume files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields of a volume")]
pub(super) enum Plugin {
    Configmap,
    Secret,
    DownwardApi,
    Projected,
}

/// Volumes that Kubernetes once mounted by itself, by their field, and the drivers that do it now.
const REMOVED: [(&str, &str); 7] = [
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("portworxVolume", "pxd.portworx.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
];

/// Why a volume has no source that this node knows.
pub(super) const NO_PLUGIN: &str = "no volume plugin matched";

impl Source {
    /// What a volume of a pod's spec is made of, claims apart.
    ///
    /// # Errors
    /// A sentence when this node has nothing of that kind.
    pub(super) fn of(pod: &Pod, volume: &v1::Volume, node: &NodeFacts) -> Result<Self, Message> {
        if let Some(source) = &volume.host_path {
            return Ok(Self::host_path(source));
        }
        if let Some(source) = &volume.empty_dir {
            return empty_dir(pod, source, node);
        }
        if let Some(source) = &volume.nfs {
            return Ok(Self::nfs(source, false, &[]));
        }
        let files = [
            (volume.config_map.is_some(), Plugin::Configmap),
            (volume.secret.is_some(), Plugin::Secret),
            (volume.downward_api.is_some(), Plugin::DownwardApi),
            (volume.projected.is_some(), Plugin::Projected),
        ];
        match files.into_iter().find(|(there, _)| *there) {
            Some((_, plugin)) => Ok(Self::Files(plugin)),
            None => Self::driven(volume),
        }
    }

    /// What a PersistentVolume is made of.
    ///
    /// # Errors
    /// As [`Source::of`].
    pub(super) fn of_persistent(spec: &v1::PersistentVolumeSpec, read_only: bool) -> Result<Self, Message> {
        if let Some(source) = &spec.host_path {
            return Ok(Self::host_path(source));
        }
        if let Some(source) = &spec.local {
            return Ok(Self::Local { path: PathBuf::from(&source.path) });
        }
        if let Some(source) = &spec.nfs {
            return Ok(Self::nfs(source, read_only, spec.mount_options.as_deref().unwrap_or_default()));
        }
        Self::driven(spec)
    }

    fn host_path(source: &v1::HostPathVolumeSource) -> Self {
        let kind = source.type_.clone().unwrap_or_default();
        Self::HostPath { path: PathBuf::from(&source.path), kind }
    }

    fn nfs(source: &v1::NFSVolumeSource, read_only: bool, options: &[String]) -> Self {
        let (server, path) = (source.server.clone(), source.path.clone());
        let read_only = read_only || source.read_only.unwrap_or(false);
        Self::Nfs { server, path, read_only, options: options.to_vec() }
    }

    /// What a driver mounts: one that is named, or the one of a kind of volume that has left Kubernetes.
    fn driven(source: &impl Serialize) -> Result<Self, Message> {
        let source = serde_json::to_value(source).map_err(Message::of)?;
        let named = source.pointer("/csi/driver").and_then(Value::as_str);
        let removed = || REMOVED.iter().find(|(field, _)| source.get(field).is_some());
        let driver = named.or_else(|| removed().map(|(_, driver)| *driver)).ok_or(NO_PLUGIN)?;
        Ok(Self::Csi { driver: driver.to_owned() })
    }

    /// What its folder is called after, and what lies there. Whatever may hold a secret lies in memory.
    fn kind(&self) -> (&'static str, Stands) {
        match self {
            Self::HostPath { .. } => ("host-path", Stands::Elsewhere),
            Self::EmptyDir => ("empty-dir", Stands::OnDisk),
            Self::Memory { .. } => ("empty-dir", Stands::InMemory),
            Self::Files(Plugin::Configmap) => ("configmap", Stands::OnDisk),
            Self::Files(Plugin::Secret) => ("secret", Stands::InMemory),
            Self::Files(Plugin::DownwardApi) => ("downward-api", Stands::InMemory),
            Self::Files(Plugin::Projected) => ("projected", Stands::InMemory),
            Self::Local { .. } => ("local-volume", Stands::Lasting),
            Self::Nfs { .. } => ("nfs", Stands::Lasting),
            Self::Csi { .. } => ("csi", Stands::Lasting),
        }
    }

    /// Whether it stands as a mount in the pod's folder.
    pub(super) fn is_mounted(&self) -> bool {
        matches!(self.kind().1, Stands::InMemory | Stands::Lasting)
    }

    /// Whether what is in it is not of this pod alone and outlives it.
    pub(super) fn outlives_pod(&self) -> bool {
        self.kind().1 == Stands::Lasting
    }

    /// Whether its files follow objects of the API.
    pub(super) fn follows(&self) -> bool {
        matches!(self, Self::Files(_))
    }
}

/// How a volume stands in the folder of its pod's volumes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Nothing of it lies there.
    Elsewhere,
    /// A folder of the pod's own.
    OnDisk,
    /// A file system of the pod's own.
    InMemory,
    /// A mount of what is not of this pod alone and outlives it.
    Lasting,
}

impl Volume {
    /// Its place in the folder of the pod's volumes. No two volumes of a pod have the same.
    pub(super) fn place(&self) -> PathBuf {
        names::volume_place(self.source.kind().0, &self.name)
    }

    /// Where containers are given it from.
    pub(super) fn path(&self, volumes: &Path) -> PathBuf {
        match &self.source {
            Source::HostPath { path, .. } => path.clone(),
            _ => volumes.join(self.place()),
        }
    }
}

/// An emptyDir, in memory as large as it, the pod and the node allow.
fn empty_dir(pod: &Pod, source: &EmptyDirVolumeSource, node: &NodeFacts) -> Result<Source, Message> {
    match source.medium.as_deref().unwrap_or_default() {
        "" => return Ok(Source::EmptyDir),
        "Memory" => {}
        huge if huge == "HugePages" || huge.starts_with("HugePages-") => {
            return Err(message!("storage medium {huge:?} is not supported by this node"));
        }
        unknown => return Err(message!("unknown storage medium {unknown:?}")),
    }
    let own = source.size_limit.as_ref().map(Quantity::of);
    let of_node = node.allocatable.get("memory").map(Quantity::of);
    let sizes = [own, api::pod::bound(pod_spec::spec(pod), "memory"), of_node].into_iter().flatten();
    Ok(Source::Memory { size: sizes.map(|size| size.value()).filter(|bytes| *bytes > 0).min() })
}

#[cfg(test)]
mod tests;
