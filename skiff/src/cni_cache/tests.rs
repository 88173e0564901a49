#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn only_sandboxes_in_the_folder_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let netns = "containerd/state/io.containerd.grpc.v1.cri/netns/cni-1";
    let of = |sandbox: &str| {
        format!(
            r#"{{"kind": "cniCacheV1", "containerId": "1", "config": "e30=", "result": {{"cniVersion": "0.3.1",
                "interfaces": [{{"name": "cni0"}}, {{"name": "eth0", "sandbox": "{sandbox}"}}]}}}}"#
        )
    };
    let files = [
        ("skiff-1-eth0", of(&format!("/d/two/nodes/two-node-1/{netns}"))),
        ("cni-loopback-1-lo", of(&format!("/d/two/nodes/two-node-2/{netns}"))),
        ("skiff-2-eth0", of(&format!("/d/two-x/nodes/two-x-node-1/{netns}"))),
        ("bridge-3-eth0", of("/run/netns/cni-3")),
        ("net-4-eth0", r#"{"kind": "cniCacheV1", "result": {"cniVersion": "1.0.0"}}"#.into()),
        ("other", "/d/two/nodes".into()),
    ];
    for (name, content) in &files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    fs::create_dir(dir.path().join("folder")).unwrap();
    // The second time, and without the folder, there is nothing to do.
    for _ in 0..2 {
        remove_in(dir.path(), Path::new("/d/two")).unwrap();
    }
    remove_in(&dir.path().join("none"), Path::new("/d/two")).unwrap();
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut left: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["bridge-3-eth0", "folder", "net-4-eth0", "other", "skiff-2-eth0"]);
}
