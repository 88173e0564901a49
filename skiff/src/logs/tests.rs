#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster::sample;

#[test]
fn daemons_are_found_by_short_and_long_names() {
    let cluster = sample(2);
    let cases = [
        ("apiserver", "/var/lib/skiff/two/control-plane/logs/apiserver.log"),
        ("two-node-2/kubelet", "/var/lib/skiff/two/nodes/two-node-2/logs/kubelet.log"),
        ("node-2/kubelet", "/var/lib/skiff/two/nodes/two-node-2/logs/kubelet.log"),
        ("supervisor", "/var/lib/skiff/two/control-plane/logs/supervisor.log"),
    ];
    for (name, path) in cases {
        assert_eq!(find(&cluster, name).unwrap(), (path.into(), false));
    }
    let refusal = find(&cluster, "kubelet").unwrap_err().to_string();
    assert!(refusal.contains("two-node-1/kubelet"), "{refusal}");
}
