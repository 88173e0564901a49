use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::super::disk::tests::with_own_mounts;
use super::*;

#[test]
fn a_local_volume_is_given_by_the_first_who_uses_it() {
    with_own_mounts(given_by_the_first);
}

fn given_by_the_first() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let path = root.path().join("disk");
    fs::create_dir(&path).expect("there is room");
    fs::write(path.join("file"), "").expect("there is room");
    let set = |folder, file| {
        for (path, mode) in [(&path, folder), (&path.join("file"), file)] {
            Handle::open(path).and_then(|held| held.set_mode(mode)).expect("it is ours");
        }
    };
    let modes = || {
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
        (mode(&path), mode(&path.join("file")))
    };
    let pod = json!({"spec": {"containers": [],
            "securityContext": {"fsGroup": nix::unistd::getegid().as_raw()}}});
    let group = Group::of(&serde_json::from_value(pod).expect("the test's pod is one"), false);
    let give = |unless_seen, is_used| {
        let give = Give { group: group.expect("it was asked for"), unless_seen, is_used };
        let target = root.path().join("target");
        let mounted = mount(root.path(), &path, &target, Some(give));
        assert!(mounted.is_ok());
        super::super::disk::unmount(&target).expect("nobody uses it");
    };
    set(0o755, 0o600);
    give(false, false);
    assert_eq!(modes(), (0o2775, 0o660));
    set(0o2775, 0o600);
    give(false, true);
    assert_eq!(modes(), (0o2775, 0o600), "not for those who come later");
    give(true, false);
    assert_eq!(modes(), (0o2775, 0o600), "its root is as it should be");
    set(0o2755, 0o600);
    give(true, false);
    assert_eq!(modes(), (0o2775, 0o660), "its root is not");
}

#[test]
fn only_a_folder_is_mounted() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let (none, file, target) =
        (root.path().join("none"), root.path().join("file"), root.path().join("target"));
    fs::write(&file, "").expect("there is room");
    let refused = |path: &Path| {
        mount(root.path(), path, &target, None).map_err(|refused| (refused.step, refused.message))
    };
    let step = "NewMounter initialization failed";
    assert_eq!(refused(&none), Err((step, format!("path {none:?} does not exist"))));
    assert_eq!(refused(&file), Err((step, "only directory and block device are supported".to_owned())));
    assert!(!target.exists());
}

#[test]
fn a_folder_to_order_is_made_and_no_other() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let folder = names::local_volumes(root.path());
    made_to_order(root.path(), &folder.join("pvc-1")).expect("there is room");
    let mode = fs::metadata(folder.join("pvc-1")).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o777, "whoever the pod runs as");
    for other in [folder.join("a/b"), folder.clone(), root.path().join("other"), folder.join("..")] {
        let _ = made_to_order(root.path(), &other);
    }
    assert!(!folder.join("a").exists() && !root.path().join("other").exists());
}
