use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::*;
use crate::cri::scripted::Scripted;

#[test]
fn the_oldest_go_and_all_but_the_newest_are_compressed() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let planned = |former: &[&str], files| {
        let plan = plan(names(former), files);
        (plan.remove, plan.compress)
    };
    assert_eq!(planned(&[], 5), (names(&[]), names(&[])));
    assert_eq!(planned(&["0.log.3", "0.log.1.gz", "0.log.2.gz"], 5), (names(&[]), names(&["0.log.3"])));
    assert_eq!(
        planned(&["0.log.4", "0.log.1.gz", "0.log.2.gz", "0.log.3.gz"], 5),
        (names(&["0.log.1.gz"]), names(&["0.log.4"]))
    );
    assert_eq!(planned(&["0.log.1"], 2), (names(&["0.log.1"]), names(&[])));
    // Left by a kubelet that ended in the middle of it.
    assert_eq!(
        planned(&["0.log.1", "0.log.1.gz", "0.log.2", "0.log.2.tmp"], 5),
        (names(&["0.log.1", "0.log.2.tmp"]), names(&["0.log.2"]))
    );
}

#[tokio::test]
async fn a_large_log_is_rotated_and_nothing_is_lost_when_the_runtime_refuses() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("default_web_uid/c");
    fs::create_dir_all(&dir).unwrap();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "uid"},
        "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true,
            "restartCount": 1, "containerID": "containerd://id-1", "state": {"running": {}}}]},
    }))
    .unwrap();
    let pods = [Arc::new(pod)];
    let scripted = Scripted::new();
    let runtime = scripted.client();
    let limits = Limits { size: Some(10), files: 3 };
    let log = dir.join("1.log");
    fs::write(dir.join("1.log.20260101-000000"), "older\n").unwrap();
    fs::write(&log, "short\n").unwrap();
    look(&runtime, root.path(), &pods, limits).await;
    let former = || former(&Handle::open(&dir).unwrap(), OsStr::new("1.log")).unwrap();
    assert_eq!(former().len(), 1, "it is small");

    fs::write(&log, "long enough\n").unwrap();
    scripted.state().refuse_logs = true;
    look(&runtime, root.path(), &pods, limits).await;
    assert_eq!(fs::read_to_string(&log).unwrap(), "long enough\n", "it has its name back");
    let compressed = File::open(dir.join("1.log.20260101-000000.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(compressed).read_to_string(&mut text).unwrap();
    assert_eq!(text, "older\n");

    scripted.state().refuse_logs = false;
    look(&runtime, root.path(), &pods, limits).await;
    assert!(!log.exists(), "the runtime makes it anew");
    let mut names = former();
    names.sort();
    assert_eq!((names.len(), names[0].as_str()), (2, "1.log.20260101-000000.gz"));
    remove(&Below::new(root.path(), &log).unwrap()).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);

    // Links that somebody put there lead nowhere.
    let other = root.path().join("other");
    fs::write(&other, "long enough\n").unwrap();
    symlink(&other, &log).unwrap();
    look(&runtime, root.path(), &pods, limits).await;
    assert_eq!(former().len(), 0);
    fs::remove_file(&log).unwrap();
    fs::write(&log, "long enough\n").unwrap();
    symlink(&other, dir.join("1.log.20260101-000000")).unwrap();
    look(&runtime, root.path(), &pods, limits).await;
    assert!(former().iter().all(|name| !name.ends_with(".gz")));
    assert_eq!(fs::read_to_string(&other).unwrap(), "long enough\n");
}
