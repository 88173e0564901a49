#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn only_our_own_programs_are_ours() {
    let dir = Path::new("/var/lib/skiff/two");
    let cases = [
        ("/usr/local/bin/apiserver --cluster two --store file:/var/lib/skiff/two/x", true),
        ("/usr/local/bin/kubelet --cluster=two --root-dir /var/lib/skiff/two/nodes/two-node-1/kubelet", true),
        ("/usr/local/bin/kubelet --cluster two --root-dir /tmp/other/two/nodes/two-node-1/kubelet", false),
        ("/usr/local/bin/kubelet --cluster two-x --root-dir /var/lib/skiff/two-x/nodes/n/kubelet", false),
        ("containerd --config /var/lib/skiff/two/nodes/two-node-1/containerd/config.toml", true),
        (
            "/usr/bin/containerd-shim-runc-v2 -address /var/lib/skiff/two/nodes/two-node-1/run/containerd.sock",
            true,
        ),
        ("/usr/bin/containerd-shim-runc-v2 -address /run/containerd/containerd.sock", false),
        ("skiff supervise --cluster two --dir /var/lib/skiff/two/", true),
        ("skiff logs --name two kubelet", false),
        ("tail -f /var/lib/skiff/two/nodes/two-node-1/logs/kubelet.log", false),
        ("vim /var/lib/skiff/two/cluster.json", false),
        ("etcd --data-dir /var/lib/skiff/two/etcd", true),
        ("etcd --data-dir /var/lib/etcd", false),
        ("", false),
    ];
    for (line, ours) in cases {
        let command: Vec<String> = line.split_whitespace().map(String::from).collect();
        assert_eq!(is_ours(&command, "two", dir), ours, "{line}");
    }
}

#[test]
fn what_is_mounted_elsewhere_stays_there() {
    use nix::mount::{MsFlags, mount};
    if !machinery::testing::may_run_as_root() {
        return;
    }
    let work = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let change = |path: &Path, flags| mount(None::<&str>, path, None::<&str>, flags, None::<&str>);
        change(Path::new("/"), MsFlags::MS_PRIVATE | MsFlags::MS_REC).unwrap();
        let root = tempfile::tempdir().unwrap();
        let (host, cluster) = (root.path().join("host"), root.path().join("cluster"));
        let tmpfs = |path: &Path| {
            fs::create_dir_all(path).unwrap();
            mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        };
        tmpfs(&host);
        change(&host, MsFlags::MS_SHARED).unwrap();
        fs::create_dir_all(&cluster).unwrap();
        mount(Some(&host), &cluster, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        tmpfs(&host.join("disk"));
        fs::write(cluster.join("disk/file"), "kept").unwrap();
        unmount_below(&cluster).unwrap();
        assert!(fs::read_dir(&cluster).unwrap().next().is_none());
        assert_eq!(fs::read_to_string(host.join("disk/file")).unwrap(), "kept");
        unmount_below(root.path()).unwrap();
    };
    std::thread::spawn(work).join().unwrap();
}

#[test]
fn names_with_parentheses_do_not_confuse() {
    let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200";
    assert_eq!(state_and_start(stat), Some(('S', 987654)));
    assert_eq!(state_and_start("42 (x"), None);
}

#[test]
fn a_process_is_itself() {
    let me = identity(i32::try_from(std::process::id()).unwrap()).unwrap();
    assert!(runs(me));
    assert!(!runs(Identity { start: me.start + 1, ..me }));
}

#[test]
fn mount_points_are_unescaped() {
    assert_eq!(unescape("/a\\040b/\\134c"), PathBuf::from("/a b/\\c"));
    assert_eq!(unescape("/plain\\"), PathBuf::from("/plain\\"));
}
