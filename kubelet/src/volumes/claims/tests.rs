use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::*;

#[test]
fn a_local_volume_is_given_by_the_first_who_uses_it() {
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
    let give = |uid: &str, unless_seen| {
        fs::create_dir_all(names::pod_dir(root.path(), uid)).expect("there is room");
        let (root, volume) = (root.path().to_owned(), "pv".to_owned());
        let give = Give { root, uid: uid.to_owned(), volume, group, unless_seen };
        give.carry_out(&path).expect("it can be given");
    };
    let forget_all = || Handle::open(root.path()).and_then(|held| held.remove("pods")).expect("they can go");
    set(0o755, 0o600);
    give("a", false);
    assert_eq!(modes(), (0o2775, 0o660));
    set(0o2775, 0o600);
    give("a", false);
    give("b", false);
    assert_eq!(modes(), (0o2775, 0o600), "only once, also for those who come later");

    forget_all();
    give("c", true);
    assert_eq!(modes(), (0o2775, 0o600), "its root is as it should be");
    forget_all();
    set(0o2755, 0o600);
    give("c", true);
    assert_eq!(modes(), (0o2775, 0o660), "its root is not");
}
