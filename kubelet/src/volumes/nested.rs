//! Where other volumes are mounted inside of a volume that containers cannot write to: the runtime cannot make
//! these places. Corresponds to upstream's `nested_volumes.go`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, VolumeMount};
use machinery::beneath::Handle;

use crate::pod_spec;

/// The places in each volume, by its name, that something else is mounted at, in any container; a sentence for a
/// volume in which something is to be mounted that would lie elsewhere.
pub(super) type MountPoints = BTreeMap<String, Result<Vec<PathBuf>, String>>;

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
                *points = Err(format!("invalid container mount point {}", path.display()));
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
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn points(mounts: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mounts: Vec<_> =
            mounts.iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
        let pod = json!({"spec": {"containers": [{"name": "c", "volumeMounts": mounts}]}});
        let pod = serde_json::from_value(pod).expect("the test's pod is one");
        let found = mount_points(&pod).remove("v").unwrap_or(Ok(Vec::new()))?;
        Ok(found.iter().map(|path| path.display().to_string()).collect())
    }

    #[test]
    fn places_inside_of_a_volume() {
        let some = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(points(&[("v", "/etc/app"), ("w", "/etc/application"), ("w", "/etc")]), some(&[]));
        assert_eq!(
            points(&[
                ("v", "/dir/"),
                ("w", "/dir/nested/deep"),
                ("x", "//dir/nested"),
                ("y", "/dir/nested2")
            ]),
            some(&["nested", "nested2"])
        );
        assert_eq!(points(&[("w", "/dir"), ("v", "/dir/nested")]), some(&[]));
        assert!(points(&[("v", "/dir"), ("w", "/dir/../../etc")]).is_err());
    }

    #[test]
    fn of_mounts_at_one_place_the_last_is_seen() {
        assert_eq!(points(&[("v", "/dir"), ("w", "//dir"), ("x", "/dir/nested")]), Ok(vec![]));
        let seen = points(&[("w", "/dir"), ("v", "//dir"), ("x", "/dir/nested")]);
        assert_eq!(seen, Ok(vec!["nested".to_owned()]));
    }

    /// Nine thousand paths have forty million pairs, and a chain of folders as many.
    #[test]
    fn many_mounts_are_no_more_work_each_than_few() {
        let names: Vec<String> = (0..9_000).map(|number| format!("/a/{number}")).collect();
        let mut mounts: Vec<(&str, &str)> = names.iter().map(|name| ("v", name.as_str())).collect();
        mounts.push(("v", "/a"));
        let began = Instant::now();
        assert_eq!(points(&mounts).map(|found| found.len()), Ok(9_000));
        let spellings: Vec<String> = (0..3_000).map(|number| "/".repeat(number % 60 + 1) + "a").collect();
        mounts.extend(spellings.iter().map(|name| ("v", name.as_str())));
        assert_eq!(points(&mounts).map(|found| found.len()), Ok(9_000));
        let chain: Vec<String> = (1..300).map(|depth| "/a".repeat(depth)).collect();
        let mounts: Vec<(&str, &str)> = chain.iter().map(|name| ("v", name.as_str())).collect();
        assert_eq!(points(&mounts).map(|found| found.len()), Ok(298));
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
