use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use nix::unistd::mkfifo;

use super::*;

fn folder() -> (tempfile::TempDir, Handle) {
    let dir = tempfile::tempdir().expect("the test has a temporary folder");
    let handle = Handle::open(dir.path()).expect("it is there");
    (dir, handle)
}

#[test]
fn links_are_not_followed_and_fifos_not_waited_for() {
    let (dir, handle) = folder();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("d/e")).expect("there is room");
    fs::write(at("d/e/file"), "text").expect("there is room");
    symlink("d", at("link")).expect("there is room");
    symlink("d/e/file", at("file")).expect("there is room");
    mkfifo(&at("fifo"), Mode::S_IRWXU).expect("there is room");
    let began = Instant::now();
    let read = |path: &str| handle.read(path).and_then(std::io::read_to_string);
    assert_eq!(read("d/e/file").expect("it is one"), "text");
    for path in ["link/e/file", "file", "fifo", "d", "d/../d/e/file/..", "/etc/passwd", "../passwd"] {
        assert!(read(path).is_err(), "{path}");
    }
    assert!(handle.dir("link").is_err() && handle.make_dir("link", 0o755).is_err());
    assert!(handle.create("file", 0o600).is_err() && handle.create("fifo", 0o600).is_err());
    assert!(handle.make_dirs("link/new", 0o755).is_err() && !at("d/new").exists());
    for name in ["link/e", "..", ".", "", "d/", "/"] {
        let refused = [
            handle.unlink(name),
            handle.remove(name),
            handle.rename(name, "x"),
            handle.rename("d", name),
            handle.link("x", name),
            handle.create(name, 0o600).map(drop),
            handle.make_dir(name, 0o700).map(drop),
        ];
        assert!(refused.iter().all(Result::is_err), "{name}");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn modes_are_exactly_as_asked_for() {
    let (_dir, handle) = folder();
    for mode in [0o666, 0o600, 0o2777, 0o1777] {
        let name = format!("{mode:o}");
        let made = handle.make_dirs(format!("d{name}/e"), mode).expect("there is room");
        assert_eq!(made.metadata().expect("it is there").mode() & 0o7777, mode);
        let file = handle.create(&name, mode).expect("there is room");
        assert_eq!(file.metadata().expect("it is there").mode() & 0o7777, mode);
    }
}

#[test]
fn the_end_of_a_file() {
    let (_dir, handle) = folder();
    handle.create("f", 0o600).and_then(|file| file.write_all_at(b"12345", 0)).expect("there is room");
    let file = handle.read("f").expect("it is there");
    for (most, end, more) in [(3, "345", true), (5, "12345", false), (6, "12345", false), (0, "", true)] {
        assert_eq!(tail(&file, most).expect("it is there"), (end.as_bytes().to_vec(), more));
    }
}

#[test]
fn trees_of_any_depth_and_with_any_names_are_removed() {
    // Memory is faster than a disk.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.expect("the test has a temporary folder");
    let handle = Handle::open(dir.path()).expect("it is there");
    let outside = dir.path().join("outside");
    fs::write(&outside, "").expect("there is room");
    let tree = handle.make_dir("tree", 0o755).expect("there is room");
    for name in [".0", ".1", "..data", "name with\nan end"] {
        let inner = tree.make_dir(name, 0o755).expect("there is room");
        inner.make_dirs(".0/.1", 0o700).expect("there is room");
        inner.link(&outside, "link").expect("there is room");
        inner.create("file", 0o400).expect("there is room");
    }
    // Far deeper than a path may be long, a stack or the number of descriptors.
    let mut at = tree;
    for number in 0..20_000 {
        at = at.make_dir("d", 0o700).expect("there is room");
        if number % 5_000 == 0 {
            at.create("file", 0o400).expect("there is room");
        }
    }
    handle.remove("tree").expect("it can go");
    handle.remove("tree").expect("it is gone");
    let left: Vec<_> = handle.names().expect("it is there").flatten().collect();
    assert_eq!(left, ["outside"]);
}

#[test]
fn what_is_not_there_has_no_names() {
    let (dir, handle) = folder();
    handle.create("file", 0o600).expect("there is room");
    assert_eq!(names_in(dir.path()).expect("it can be read"), ["file"]);
    assert!(names_in(&dir.path().join("gone")).expect("it is not there").is_empty());
    assert!(names_in(&dir.path().join("file")).is_err());
}

#[test]
fn trees_of_any_depth_are_walked() {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let dir = dir.expect("the test has a temporary folder");
    let handle = Handle::open(dir.path()).expect("it is there");
    let name = "n".repeat(255);
    for (name, depth) in [("d", 10_000_u32), (name.as_str(), 200)] {
        let mut at = handle.make_dir(name, 0o700).expect("there is room");
        for _ in 1..depth {
            at.create("file", 0o400).expect("there is room");
            at = at.make_dir(name, 0o700).expect("there is room");
        }
        let (mut dirs, mut files) = (0, 0);
        let walked = handle.walk(|_, metadata| {
            *(if metadata.is_dir() { &mut dirs } else { &mut files }) += 1;
            Ok(())
        });
        walked.expect("it can be walked");
        assert_eq!((dirs, files), (depth, depth - 1));
        handle.remove(name).expect("it can go");
    }
}
