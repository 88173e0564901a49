#![allow(clippy::unwrap_used)]
use super::*;
use crate::{cluster, daemons, processes};

#[test]
fn a_stopped_cluster_takes_no_images() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster { dir: dir.path().into(), ..cluster::sample(1) };
    let told = must_run(&cluster).unwrap_err().to_string();
    assert_eq!(told, "two is stopped: `skiff up --name two` brings it back");
    std::fs::create_dir(cluster.run_dir()).unwrap();
    let this = processes::identity(i32::try_from(std::process::id()).unwrap()).unwrap();
    let daemon = daemons::table(&cluster).remove(0);
    supervisor::Record::new(this, 0).write(&cluster.run_dir().join(daemon.record())).unwrap();
    must_run(&cluster).unwrap();
}
