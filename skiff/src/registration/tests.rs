#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster;

#[test]
fn a_damaged_cluster_keeps_no_other_from_coming_up() {
    let root = tempfile::tempdir().unwrap();
    for name in ["bad", "good"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(Cluster::file_in(&root.path().join("bad")), "{\"name\": ").unwrap();
    let good = Cluster { dir: root.path().join("good"), ..cluster::sample(1) };
    good.save().unwrap();
    assert!(known(root.path()).contains(&good));
    let refusal = Cluster::load(&root.path().join("bad")).unwrap_err().to_string();
    assert!(refusal.ends_with("bad/cluster.json is damaged"), "{refusal}");
}
