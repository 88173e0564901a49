use super::*;

/// Runs on a thread with mounts of its own, which go with it; needs root.
pub(in super::super) fn with_own_mounts(work: impl FnOnce() + Send + 'static) {
    if !machinery::testing::may_run_as_root() {
        return;
    }
    let thread = std::thread::spawn(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root may");
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("root may");
        work();
    });
    thread.join().expect("the thread's own assertions hold");
}

#[test]
fn folders_in_memory_have_a_size_stay_and_go() {
    with_own_mounts(|| {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let dir = root.path().join("v");
        fs::create_dir(&dir).expect("there is room");
        in_memory(&dir, Some(1 << 20)).expect("tmpfs is there");
        let kind = nix::sys::statfs::statfs(&dir).expect("it is there").filesystem_type();
        assert_eq!(kind, nix::sys::statfs::TMPFS_MAGIC);
        fs::write(dir.join("key"), "secret").expect("there is room");
        assert!(fs::write(dir.join("much"), vec![1; 2 << 20]).is_err(), "more than its size");
        in_memory(&dir, Some(1 << 20)).expect("again, as after a restart");
        assert_eq!(fs::read_to_string(dir.join("key")).expect("nothing lies above it"), "secret");
        clear_below(root.path()).expect("it can go");
        assert!(
            fs::read_dir(&dir).expect("the folder stays").next().is_none(),
            "nothing came to lie on disk"
        );

        // A path with a space and a backslash, and something below it, as containers can leave it.
        let odd = root.path().join("a b\\040");
        in_memory_at(&odd);
        in_memory_at(&odd.join("deeper"));
        clear_below(root.path()).expect("it can go");
        assert!(fs::read_dir(&odd).expect("the folder stays").next().is_none());
    });
}

/// What clearing a pod's folder does to mounts.
fn clear_below(dir: &Path) -> io::Result<()> {
    detach_sub_paths(dir)?;
    mounted_below(dir)?.iter().try_for_each(|path| detach(path))
}

fn in_memory_at(dir: &Path) {
    fs::create_dir(dir).expect("there is room");
    in_memory(dir, None).expect("tmpfs is there");
}

/// What is mounted in a volume is seen below a path in it, too, and does not go with that.
#[test]
fn what_is_mounted_in_a_volume_outlives_a_pod() {
    with_own_mounts(|| {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let volume = root.path().join("host");
        in_memory_at(&volume);
        let shared = MsFlags::MS_SHARED;
        mount(None::<&str>, &volume, None::<&str>, shared, None::<&str>).expect("root may");
        fs::create_dir_all(volume.join("data/disk")).expect("there is room");
        let pod = root.path().join("pods/uid");
        let target = pod.join(SUB_PATHS).join("v/c/0");
        super::super::sub_path::mount(&volume, Path::new("data"), &target).expect("root may");
        in_memory(&volume.join("data/disk"), None).expect("tmpfs is there");
        fs::write(target.join("disk/file"), "kept").expect("the mount shows here, too");
        clear_below(&pod).expect("it can go");
        assert!(!target.join("disk").exists());
        let kept = fs::read_to_string(volume.join("data/disk/file"));
        assert_eq!(kept.expect("the volume's own mount stays"), "kept");
        clear_below(root.path()).expect("it can go");
    });
}

#[test]
fn an_empty_dir_has_a_mode_and_a_group() {
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    let root = tempfile::tempdir().expect("the test has a temporary folder");
    let dir = root.path().join("v");
    empty_dir(&dir, None, None).expect("there is room");
    assert_eq!(mode(&dir), 0o777);
    fs::write(dir.join("own"), "").expect("there is room");
    Handle::open(&dir.join("own")).and_then(|held| held.set_mode(0o500)).expect("it is ours");
    let group = nix::unistd::getegid().as_raw();
    let pod = serde_json::json!({"spec": {"containers": [], "securityContext": {"fsGroup": group}}});
    let group = Group::of(&serde_json::from_value(pod).expect("the test's pod is one"), false);
    empty_dir(&dir, None, group).expect("there is room");
    assert_eq!((mode(&dir), mode(&dir.join("own"))), (0o2777, 0o760));
    with_own_mounts(|| {
        let root = tempfile::tempdir().expect("the test has a temporary folder");
        let dir = root.path().join("v");
        empty_dir(&dir, Some(None), None).expect("tmpfs is there");
        let metadata = fs::metadata(&dir).expect("it is there");
        assert_eq!(metadata.mode() & 0o7777, 0o1777, "as upstream's");
        clear_below(root.path()).expect("it can go");
    });
}
