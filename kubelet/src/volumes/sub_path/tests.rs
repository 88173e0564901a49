use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::super::disk::tests::with_own_mounts;
use super::*;

fn real(path: &Path) -> PathBuf {
    Handle::open(path).and_then(|held| held.path()).expect("it is there")
}

fn found(volume: &Path, sub: &str) -> io::Result<PathBuf> {
    resolve(&Handle::open(volume)?, Path::new(sub))?.path()
}

#[test]
fn stays_inside() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let path = real(root.path()).join("volume");
    fs::create_dir_all(path.join("data/releases/1")).expect("there is room");
    fs::write(path.join("data/file"), "").expect("there is room");
    for (target, name) in [
        (Path::new("/etc"), "out"),
        (Path::new("../.."), "up"),
        (Path::new("data/../../volume"), "around"),
        (Path::new("releases/1"), "data/current"),
        (Path::new("../data/current/../.."), "data/again"),
        (&path.join("data/file"), "absolute"),
        (Path::new("missing/too"), "dangling"),
        (Path::new("loop"), "loop"),
    ] {
        symlink(target, path.join(name)).expect("a link can be made");
    }
    for (sub, inside) in [
        ("a/b", "a/b"),
        ("./a//b/", "a/b"),
        ("data/current/x", "data/releases/1/x"),
        ("data/again", "data"),
        ("absolute", "data/file"),
        ("dangling", "missing/too"),
    ] {
        let found = found(&path, sub).unwrap_or_else(|error| panic!("{sub}: {error}"));
        assert_eq!(found, path.join(inside), "{sub}");
    }
    assert_eq!(found(&path, ".").expect("the volume itself"), path);
    for bad in ["../x", "out/passwd", "out", "a/../..", "up", "around", "loop", "data/file/x"] {
        assert!(found(&path, bad).is_err(), "{bad}");
    }
}

#[test]
fn what_is_made_looks_like_the_volume() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    for mode in [0o777, 0o2777, 0o1777, 0o750] {
        Handle::open(root.path()).and_then(|held| held.set_mode(mode)).expect("it is ours");
        let sub = format!("{mode:o}/below");
        let made = found(root.path(), &sub).expect("it can be made");
        for made in [&*made, made.parent().expect("it lies in one")] {
            let metadata = fs::metadata(made).expect("it was made");
            assert_eq!(format!("{:o}", metadata.mode() & 0o7777), format!("{mode:o}"));
        }
    }
}

#[test]
fn what_is_exchanged_for_a_link_meanwhile_leads_nowhere() {
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let volume = real(root.path()).join("v");
    fs::create_dir_all(volume.join("dir/sub")).expect("there is room");
    fs::create_dir_all(root.path().join("outside/sub")).expect("there is room");
    symlink("../outside", volume.join("link")).expect("there is room");
    symlink(root.path().join("outside"), volume.join("absolute")).expect("there is room");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for link in ["link", "absolute"] {
            let (dir, link, over) = (volume.join("dir"), volume.join(link), &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    renameat2(AT_FDCWD, &dir, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE)
                        .expect("both are there");
                }
            });
        }
        let mut inside = 0;
        for number in 0..20_000 {
            if let Ok(found) = found(&volume, &format!("dir/sub/{}", number % 7)) {
                assert!(found.starts_with(&volume), "{}", found.display());
                inside += 1;
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(inside > 0, "the folder was there at times");
    });
    let made = fs::read_dir(root.path().join("outside/sub")).expect("it is there").count();
    assert_eq!(made, 0, "nothing is made outside");
}

#[test]
fn what_is_mounted_stays_whatever_becomes_of_the_path() {
    with_own_mounts(|| {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let volume = root.path().join("pod/volumes/v");
        let target = root.path().join("pod").join("volume-subpaths/v/c/0");
        fs::create_dir_all(&volume).expect("there is room");
        mount(&volume, Path::new("d"), &target).expect("root may");
        fs::write(target.join("mine"), "").expect("the volume can be written to");
        assert!(volume.join("d/mine").exists());
        fs::rename(volume.join("d"), volume.join("old")).expect("a container may");
        symlink("/etc", volume.join("d")).expect("a container may");
        assert!(target.join("mine").exists() && !target.join("passwd").exists());
        assert!(mount(&volume, Path::new("d"), &target).is_err(), "it leads out of the volume");

        // Another start of the container: the same stays, something else takes its place.
        fs::remove_file(volume.join("d")).expect("a container may");
        fs::write(volume.join("d"), "file").expect("a container may");
        for _ in 0..2 {
            mount(&volume, Path::new("d"), &target).expect("root may");
            assert_eq!(fs::read_to_string(&target).expect("it is a file"), "file");
        }
        disk::detach_sub_paths(&root.path().join("pod")).expect("it can go");
        assert_eq!(fs::read_to_string(&target).expect("its place stays"), "");
        assert_eq!(fs::read_to_string(volume.join("d")).expect("it stays"), "file");
    });
}
