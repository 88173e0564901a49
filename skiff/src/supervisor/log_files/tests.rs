#![allow(clippy::unwrap_used)]
use std::io::Write;

use super::*;

#[test]
fn a_log_that_is_held_open_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logs/kubelet.log");
    let mut log = open(&path).unwrap();
    log.write_all(b"a long line\n").unwrap();
    cut(&path, 100).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"a long line\n");
    cut(&path, 5).unwrap();
    log.write_all(b"next\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"next\n");
    assert_eq!(fs::read(dir.path().join("logs/kubelet.log.1")).unwrap(), b"a long line\n");
}
