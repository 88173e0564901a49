#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster::sample;

#[test]
fn everything_of_a_node_lies_in_its_folder() {
    let cluster = sample(1);
    let config = render(&cluster, &cluster.node(0));
    let values = config
        .lines()
        .filter_map(|line| line.split_once(" = \""))
        .filter(|(_, value)| value.starts_with('/'));
    let outside: Vec<_> =
        values.filter(|(_, value)| !value.starts_with("/var/lib/skiff/two/nodes/two-node-1/")).collect();
    assert!(outside.is_empty(), "{outside:?}");
    for line in
        ["restrict_oom_score_adj = true", "SystemdCgroup = false", "sandbox_image = \"skiff.local/pause:1\""]
    {
        assert!(config.contains(line), "{line}");
    }
}

#[test]
fn sockets_of_shims_are_read_from_their_bundles() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = sample(1);
    cluster.dir = dir.path().to_path_buf();
    let node = cluster.node(0);
    assert!(shim_sockets(&node).is_empty());
    let bundle = node.containerd_state().join("io.containerd.runtime.v2.task/k8s.io/abc");
    fs::create_dir_all(&bundle).unwrap();
    fs::write(bundle.join("address"), "unix:///run/containerd/s/1234").unwrap();
    assert_eq!(shim_sockets(&node), [PathBuf::from("/run/containerd/s/1234")]);
}
