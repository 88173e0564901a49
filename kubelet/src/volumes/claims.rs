//! What lies behind a claim: a folder of this node that a PersistentVolume names.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, PersistentVolumeSpec, Pod};
use machinery::beneath::Handle;

use super::ownership::Group;
use super::{Volumes, disk};
use crate::pod_spec;
use crate::runtime_config::container::VolumePath;
use crate::runtime_config::names;

const LOCAL: &str = "local-volume";

impl Volumes {
    /// Prepares what lies behind a claim.
    pub(super) async fn claimed(
        &self,
        pod: &Pod,
        source: &PersistentVolumeClaimVolumeSource,
    ) -> Result<VolumePath, String> {
        let (name, spec) = self.bound(pod, &source.claim_name).await?;
        let read_only = source.read_only.unwrap_or(false);
        let uid = pod_spec::uid(pod);
        let path;
        let prepared = if let Some(source) = spec.host_path {
            path = PathBuf::from(&source.path);
            let checked = path.clone();
            self.on_disk(uid, move || disk::host_path(&checked, source.type_.as_deref().unwrap_or_default()))
                .await
        } else {
            path = PathBuf::from(spec.local.ok_or("no volume plugin matched")?.path);
            let context = pod_spec::spec(pod).security_context.as_ref();
            let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
            let give = Give {
                root: self.root.clone(),
                uid: uid.to_owned(),
                volume: name,
                group: Group::of(pod, false).filter(|_| !read_only),
                unless_seen: policy == Some("OnRootMismatch"),
            };
            let checked = path.clone();
            self.on_disk(uid, move || {
                disk::host_path(&checked, "Directory")?;
                give.carry_out(&checked)
            })
            .await
        };
        prepared.map_err(|error| error.to_string())?;
        Ok(VolumePath { path, read_only })
    }

    /// The volume that a claim is bound to.
    async fn bound(&self, pod: &Pod, claim: &str) -> Result<(String, PersistentVolumeSpec), String> {
        let found = self.objects.claim(pod_spec::namespace(pod), claim).await.map_err(|e| e.to_string())?;
        let found = found.ok_or_else(|| format!("persistentvolumeclaim {claim:?} not found"))?;
        let name = found.spec.and_then(|spec| spec.volume_name).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| format!("PVC {}/{claim} is not bound", pod_spec::namespace(pod)))?;
        let volume = self.objects.volume(&name).await.map_err(|e| e.to_string())?;
        let spec =
            volume.and_then(|v| v.spec).ok_or_else(|| format!("persistentvolume {name:?} not found"))?;
        Ok((name, spec))
    }
}

/// Gives a local volume to a pod's group, as the first of those who use it.
struct Give {
    root: PathBuf,
    uid: String,
    volume: String,
    group: Option<Group>,
    /// Nothing is looked at when the volume's own folder belongs to the group already.
    unless_seen: bool,
}

impl Give {
    fn carry_out(&self, path: &Path) -> io::Result<()> {
        let ready = names::volume_ready(&self.root, &self.uid, LOCAL, &self.volume);
        if ready.exists() {
            return Ok(());
        }
        if let Some(group) = self.group {
            let held = Handle::open(path)?;
            if self.is_used()? {
                // Another pod's containers have it already; theirs it stays.
                if group.is_missing(&held)? {
                    tracing::warn!(volume = self.volume, uid = self.uid, "A volume belongs to another group");
                }
            } else if !self.unless_seen || group.is_missing(&held)? {
                group.give(&held)?;
            }
        }
        disk::done(&ready)
    }

    /// Whether another pod of the node has the volume.
    fn is_used(&self) -> io::Result<bool> {
        let pods = match std::fs::read_dir(self.root.join("pods")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            pods => pods?,
        };
        for entry in pods {
            let Ok(uid) = entry?.file_name().into_string() else { continue };
            if uid != self.uid && names::volume_ready(&self.root, &uid, LOCAL, &self.volume).exists() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
