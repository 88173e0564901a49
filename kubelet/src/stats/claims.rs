//! How full the volumes behind claims are, in the summary and as metrics. Corresponds to upstream's
//! `metrics/collectors/volume_stats.go`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};
use machinery::cache::Cache;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::summary::{ClaimReference, FsStats, VolumeStats};
use crate::pod_spec;
use crate::volumes::{claim_of, mounted_claims};

/// Name, words and value of each.
type Family = (&'static str, &'static str, fn(&FsStats) -> Option<u64>);

const FAMILIES: [Family; 6] = [
    ("available_bytes", "[ALPHA] Number of available bytes in the volume", |fs| fs.available_bytes),
    ("capacity_bytes", "[ALPHA] Capacity in bytes of the volume", |fs| fs.capacity_bytes),
    ("inodes", "[ALPHA] Maximum number of inodes in the volume", |fs| fs.inodes),
    ("inodes_free", "[ALPHA] Number of free inodes in the volume", |fs| fs.inodes_free),
    ("inodes_used", "[ALPHA] Number of used inodes in the volume", |fs| fs.inodes_used),
    ("used_bytes", "[ALPHA] Number of used bytes in the volume", |fs| Some(fs.used_bytes)),
];

/// The volumes behind a pod's claims.
pub(super) fn of(root: &Path, pod: &Pod, time: Timestamp) -> Vec<VolumeStats> {
    let volumes = pod_spec::spec(pod).volumes.iter().flatten();
    let claims: Vec<_> = volumes.filter_map(|volume| Some((volume, claim_of(pod, volume)?))).collect();
    if claims.is_empty() {
        return Vec::new();
    }
    let paths = mounted_claims(root, pod_spec::uid(pod));
    let of = |(volume, claim): (&Volume, String)| {
        Some(VolumeStats {
            fs: super::disk_of(paths.get(&claim)?, time)?,
            name: volume.name.clone(),
            pvc_ref: ClaimReference { name: claim, namespace: pod_spec::namespace(pod).to_owned() },
        })
    };
    claims.into_iter().filter_map(of).collect()
}

/// `kubelet_volume_stats_*`.
pub struct ClaimMetrics {
    /// The kubelet's folder.
    pub root: PathBuf,
    /// The pods of the node.
    pub pods: Cache<Pod>,
}

impl fmt::Debug for ClaimMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimMetrics").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Collector for ClaimMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = machinery::clock::now();
        encode(self.pods.list().iter().flat_map(|pod| of(&self.root, pod, now)), encoder)
    }
}

fn encode(volumes: impl Iterator<Item = VolumeStats>, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    // A claim that several pods use is told of once.
    let volumes: BTreeMap<ClaimReference, FsStats> =
        volumes.map(|volume| (volume.pvc_ref, volume.fs)).collect();
    if volumes.is_empty() {
        return Ok(());
    }
    for (name, help, value) in FAMILIES {
        let name = format!("kubelet_volume_stats_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (claim, fs) in &volumes {
            let labels =
                [("namespace", claim.namespace.as_str()), ("persistentvolumeclaim", claim.name.as_str())];
            let Some(value) = value(fs) else { continue };
            #[allow(clippy::cast_precision_loss)] // nobody has a disk of 2^52 bytes
            ConstGauge::new(value as f64).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
