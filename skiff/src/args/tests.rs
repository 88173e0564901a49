#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_missing_cluster_is_told_with_those_that_are_there() {
    let root = tempfile::tempdir().unwrap();
    let flags = ClusterArgs { name: "thre".into(), root: Some(root.path().into()) };
    for name in ["aa-three", "aa-two"] {
        let dir = root.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("cluster.json"), "{}").unwrap();
    }
    std::fs::create_dir(root.path().join("no-cluster")).unwrap();
    // This machine may have clusters of its own.
    let told = flags.existing().unwrap_err().to_string();
    assert!(told.starts_with("there is no cluster called thre; there are "), "{told}");
    assert!(told.contains("aa-three, aa-two") && !told.contains("no-cluster"), "{told}");
}
