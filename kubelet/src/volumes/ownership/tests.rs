use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::getegid;
use serde_json::json;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

fn file(path: &Path, mode: u32) {
    fs::write(path, "x").expect("there is room");
    set_mode(path, mode);
}

fn set_mode(path: &Path, mode: u32) {
    Handle::open(path).and_then(|held| held.set_mode(mode)).expect("it is ours");
}

fn group(read_only: bool) -> Group {
    Group { id: getegid().as_raw(), read_only }
}

#[test]
fn members_may_read_and_where_it_can_be_written_write() {
    for (read_only, before, after, folder) in [
        (false, 0o600, 0o660, 0o2775),
        (false, 0o4755, 0o4775, 0o2775),
        (true, 0o644, 0o644, 0o2755),
        (true, 0o600, 0o640, 0o2755),
        (true, 0o400, 0o440, 0o2755),
    ] {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let (inner, outside) = (root.path().join("v/d"), root.path().join("outside"));
        fs::create_dir_all(&inner).expect("there is room");
        for dir in [&inner, &root.path().join("v")] {
            set_mode(dir, 0o755);
        }
        file(&inner.join("f"), before);
        file(&outside, 0o600);
        symlink(&outside, inner.join("link")).expect("there is room");
        let held = Handle::open(&root.path().join("v")).expect("it is there");
        assert!(group(read_only).is_missing(&held).expect("it is there"));
        group(read_only).give(&held).expect("it can be walked");
        assert_eq!(format!("{:o}", mode(&inner.join("f"))), format!("{after:o}"));
        assert_eq!((mode(&inner), mode(&root.path().join("v"))), (folder, folder));
        assert_eq!(mode(&outside), 0o600, "what a link leads to is left alone");
        assert!(!group(read_only).is_missing(&held).expect("it is there"));
    }
}

#[test]
fn what_is_exchanged_for_a_link_meanwhile_leads_nowhere() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let (volume, outside) = (root.path().join("v"), root.path().join("outside"));
    for dir in [&volume.join("d"), &outside] {
        fs::create_dir_all(dir).expect("there is room");
    }
    for number in 0..50 {
        file(&volume.join(format!("d/{number}")), 0o600);
        file(&outside.join(number.to_string()), 0o600);
    }
    let before = mode(&outside);
    symlink(&outside, volume.join("link")).expect("there is room");
    let over = AtomicBool::new(false);
    let held = Handle::open(&volume).expect("it is there");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (dir, link) = (volume.join("d"), volume.join("link"));
            while !over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &dir, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE)
                    .expect("both are there");
            }
        });
        for _ in 0..300 {
            group(false).give(&held).expect("what is gone is left out");
        }
        over.store(true, Ordering::Relaxed);
    });
    for number in 0..50 {
        assert_eq!(mode(&outside.join(number.to_string())), 0o600);
    }
    assert_eq!(mode(&outside), before);
}

#[test]
fn the_user_of_all_containers() {
    let user = |of_pod, init, main, ephemeral| {
        let container = |user: Option<i64>| json!({"name": "c", "securityContext": {"runAsUser": user}});
        let pod = json!({"spec": {"securityContext": {"runAsUser": of_pod},
                "initContainers": [container(init)], "containers": [container(main)],
                "ephemeralContainers": [container(ephemeral)]}});
        only_user(&serde_json::from_value(pod).expect("the test's pod is one"))
    };
    assert_eq!(user(Some(1000), None, None, None), Some(1000));
    assert_eq!(user(None, Some(7), Some(7), Some(7)), Some(7));
    assert_eq!(user(Some(0), None, None, None), Some(0));
    assert_eq!(user(Some(1000), None, Some(7), None), None);
    assert_eq!(user(None, Some(7), Some(7), None), None);
    assert_eq!(user(None, None, None, None), None);
}
