use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::super::payload::File;
use super::*;

fn files(pairs: &[(&str, &str, u32)]) -> Files {
    let file = |text: &str, mode| File { bytes: text.as_bytes().to_vec().into(), mode, user: None };
    pairs.iter().map(|(path, text, mode)| ((*path).to_owned(), file(text, *mode))).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the folder was just written");
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.retain(|name| !name.starts_with(".."));
    names
}

#[test]
fn swaps_all_files_at_once_and_leaves_equal_ones_alone() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let dir = root.path().join("v");
    fs::create_dir(&dir).expect("there is room");
    let target = || fs::read_link(dir.join(DATA)).expect("the link was just made");
    write(&dir, &files(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).expect("first");
    let first = target();
    assert_eq!(names(&dir), ["a", "sub"]);
    assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("through the link"), "2");
    let mode = fs::metadata(dir.join("sub/b")).expect("through the link").mode();
    assert_eq!(mode & 0o777, 0o400);
    fs::create_dir_all(dir.join("mount/point")).expect("as for a mount inside of this one");
    let changed = |path: &Path| {
        let metadata = fs::symlink_metadata(path).expect("it is there");
        (metadata.ctime(), metadata.ctime_nsec())
    };
    let times = || ["", DATA, "a", "sub/b"].map(|path| changed(&dir.join(path)));
    let before = times();

    write(&dir, &files(&[("a", "1", 0o644), ("sub/b", "2", 0o400)]), None).expect("again");
    assert_eq!((target(), times()), (first.clone(), before), "nothing is touched");

    write(&dir, &files(&[("a", "3", 0o644), ("mount", "4", 0o644)]), None).expect("changed");
    assert_ne!(target(), first);
    assert_eq!(names(&dir), ["a", "mount"]);
    assert!(dir.join("mount/point").is_dir(), "what is mounted there stays reachable");
    assert_eq!(fs::read_to_string(dir.join("a")).expect("through the link"), "3");
    assert!(!dir.join(first).exists());

    // A file that shrinks, one that grows, one that becomes a folder.
    for next in [[("a", "33", 0o644)], [("a", "", 0o644)], [("a/b", "5", 0o644)]] {
        write(&dir, &files(&next), None).expect("changed");
        let text = fs::read_to_string(dir.join(next[0].0)).expect("through the link");
        assert_eq!(text, next[0].1);
    }
}

/// As upstream's: the folder of an emptyDir, what is in it for reading.
#[test]
fn modes_and_owners_under_a_group() {
    if !machinery::testing::may_run_as_root() {
        return;
    }
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let dir = root.path().join("v");
    let pod = json!({"spec": {"containers": [], "securityContext": {"fsGroup": 2000}}});
    let pod = serde_json::from_value(pod).expect("the test's pod is one");
    let (made, read) = (Group::of(&pod, false), Group::of(&pod, true));
    let mut files = files(&[("plain", "1", 0o644), ("sub/secret", "2", 0o400), ("token", "3", 0o600)]);
    files.get_mut("token").expect("it was just put there").user = Some(1000);
    let look = |path: &str| {
        let metadata = fs::symlink_metadata(dir.join(path)).expect("it is there");
        format!("{:o} {} {}", metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
    };
    for (made, read, expected) in [
        (None, None, ["777 0 0", "755 0 0", "644 0 0", "755 0 0", "400 0 0", "600 1000 0", "777 1000 0"]),
        (
            made,
            read,
            [
                "2777 0 2000",
                "2755 0 2000",
                "644 0 2000",
                "2755 0 2000",
                "440 0 2000",
                "640 1000 2000",
                "777 1000 2000",
            ],
        ),
    ] {
        super::super::disk::empty_dir(&dir, None, made).expect("there is room");
        write(&dir, &files, read).expect("there is room");
        let data = fs::read_link(dir.join(DATA)).expect("the link was just made");
        let data = data.to_str().expect("it is a time");
        let found = ["", data, "..data/plain", "..data/sub", "..data/sub/secret", "..data/token", "token"];
        assert_eq!(found.map(look), expected);
        Handle::open(root.path()).and_then(|held| held.remove("v")).expect("it can go");
    }
}
