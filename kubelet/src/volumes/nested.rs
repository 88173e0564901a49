//! Where other volumes are mounted inside of a volume that containers cannot write to: the runtime cannot make
//! these places. Corresponds to upstream's `nested_volumes.go`.

use api::{Message, message};
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, VolumeMount};
use machinery::beneath::Handle;

use crate::pod_spec;

/// The places in each volume, by its name, that something else is mounted at, in any container; a sentence for a
/// volume in which something is to be mounted that would lie elsewhere.
pub(super) type MountPoints = BTreeMap<String, Result<Vec<PathBuf>, Message>>;

/// Reads them from a pod.
pub(super) fn mount_points(pod: &Pod) -> MountPoints {
    let spec = pod_spec::spec(pod);
    let ephemeral: Vec<_> = pod_spec::ephemeral_containers(pod).iter().map(pod_spec::as_container).collect();
    let containers = pod_spec::init_containers(pod).iter().chain(&spec.containers).chain(&ephemeral);
    let mut found = MountPoints::new();
    for container in containers {
        in_container(container.volume_mounts.as_deref().unwrap_or_default(), &mut found);
    }
    found
}

fn in_container(mounts: &[VolumeMount], found: &mut MountPoints) {
    // Of two mounts at one place, the later covers the other.
    let by_path: BTreeMap<&Path, &str> =
        mounts.iter().map(|mount| (Path::new(&mount.mount_path), mount.name.as_str())).collect();
    let sorted: Vec<(&Path, &str)> = by_path.into_iter().collect();
    for (index, (own, volume)) in sorted.iter().enumerate() {
        // What lies inside of a path is sorted directly behind it.
        let mut rest = &sorted[index + 1..];
        while let Some((path, _)) = rest.first()
            && let Ok(below) = path.strip_prefix(own)
        {
            let points = found.entry((*volume).to_owned()).or_insert_with(|| Ok(Vec::new()));
            if below.components().any(|part| !matches!(part, Component::Normal(_))) {
                *points = Err(message!("invalid container mount point {}", path.display()));
            } else if let Ok(points) = points {
                points.push(below.to_owned());
            }
            // What is mounted inside of this one has its place there.
            rest = &rest[rest.partition_point(|(other, _)| other.starts_with(path))..];
        }
    }
}

/// Makes these places.
pub(super) fn make(volume: &Path, points: &[PathBuf]) -> io::Result<()> {
    let volume = Handle::open(volume)?;
    for point in points {
        volume.make_dirs(point, 0o755)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
