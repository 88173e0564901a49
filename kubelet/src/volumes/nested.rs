//! Where other volumes are mounted inside of a volume that containers cannot write to: the runtime cannot make
//! these places. Corresponds to upstream's `nested_volumes.go`.

use std::io;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::Handle;

use crate::pod_spec;

/// The places in a volume that something else is mounted at, in any container.
pub(super) fn mount_points(pod: &Pod, volume: &str) -> Result<Vec<PathBuf>, String> {
    let spec = pod_spec::spec(pod);
    let ephemeral: Vec<_> = pod_spec::ephemeral_containers(pod).iter().map(pod_spec::as_container).collect();
    let containers = pod_spec::init_containers(pod).iter().chain(&spec.containers).chain(&ephemeral);
    let mut found = Vec::new();
    for container in containers {
        let mounts = container.volume_mounts.as_deref().unwrap_or_default();
        let mut paths: Vec<&Path> = mounts.iter().map(|mount| Path::new(&mount.mount_path)).collect();
        paths.sort();
        for own in mounts.iter().filter(|mount| mount.name == volume) {
            let mut outer: Vec<&Path> = Vec::new();
            for path in &paths {
                let Ok(below) = path.strip_prefix(&own.mount_path) else { continue };
                // What is mounted inside of one of these has its place there.
                if below.as_os_str().is_empty() || outer.iter().any(|outer| below.starts_with(outer)) {
                    continue;
                }
                if below.components().any(|part| !matches!(part, Component::Normal(_))) {
                    return Err(format!("invalid container mount point {}", path.display()));
                }
                outer.push(below);
                found.push(below.to_owned());
            }
        }
    }
    Ok(found)
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
    use serde_json::json;

    use super::*;

    fn points(mounts: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mounts: Vec<_> =
            mounts.iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
        let pod = json!({"spec": {"containers": [{"name": "c", "volumeMounts": mounts}]}});
        let pod = serde_json::from_value(pod).expect("the test's pod is one");
        let found = mount_points(&pod, "v")?;
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
}
