//! Clusters as such: side by side, killed and brought back, and gone without a trace.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use e2e::{Cluster, busybox, eventually};

fn said(program: &str, arguments: &str) -> BTreeSet<String> {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}");
    String::from_utf8_lossy(&output.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

fn names(dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| format!("{dir}/{}", entry.file_name().to_string_lossy())).collect()
}

/// What the machine's CNI cache has about sandboxes below `root`.
fn remembered(root: &Path) -> BTreeSet<String> {
    let root = root.display().to_string();
    let mut files = names("/var/lib/cni/results");
    files.retain(|file| std::fs::read_to_string(file).is_ok_and(|content| content.contains(&root)));
    // The folder is in the text, so that `ours` finds it.
    files.into_iter().map(|file| format!("{file} about a sandbox in {root}")).collect()
}

/// Everything on this machine that a cluster of this name may leave behind.
fn traces(name: &str, root: &Path) -> BTreeSet<String> {
    let mut all = said("ip", "-o -4 route show");
    all.extend(names("/sys/class/net"));
    all.extend(names("/run/netns"));
    all.extend(said("iptables-save", "-t filter"));
    all.extend(said("iptables-save", "-t nat"));
    all.extend(std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(String::from));
    all.extend(names("/run/skiff"));
    all.extend(names("/run/containerd/s"));
    all.extend(remembered(root));
    for hierarchy in names("/sys/fs/cgroup") {
        all.extend(names(&format!("{hierarchy}/skiff")));
    }
    all.extend(names("/sys/fs/cgroup/skiff"));
    for process in names("/proc") {
        let text = std::fs::read(format!("{process}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace('\0', " ");
        if !text.contains("--test-threads")
            && (text.contains(name) || text.contains(&root.display().to_string()))
        {
            all.insert(text);
        }
    }
    // Counters and comments change without anybody's doing.
    all.retain(|line| !line.starts_with(['#', ':']));
    all
}

fn ours(all: &BTreeSet<String>, name: &str, root: &Path) -> Vec<String> {
    let root = root.display().to_string();
    all.iter().filter(|trace| trace.contains(name) || trace.contains(&root)).cloned().collect()
}

#[test]
fn two_clusters_side_by_side() {
    let one = Cluster::up("one", 1);
    let two = Cluster::up("two", 2);
    for cluster in [&one, &two] {
        cluster.kubectl(&format!("create configmap whose --from-literal=name={}", cluster.name())).ok();
    }
    for cluster in [&one, &two] {
        assert_eq!(cluster.json("get configmap whose")["data"]["name"], cluster.name());
    }
    assert_eq!((one.items("get nodes").len(), two.items("get nodes").len()), (1, 2));
    let (a, b) = (one.description().ranges, two.description().ranges);
    assert!(a.pods != b.pods && a.services != b.services && a.nodes != b.nodes);
    drop(one);
    assert_eq!(two.json("get configmap whose")["data"]["name"], two.name());
    assert!(two.kubectl("get nodes").ok().lines().skip(1).all(|line| line.contains(" Ready ")));
}

#[test]
fn down_leaves_nothing_also_after_a_kill_of_everything() {
    let cluster = Cluster::up("gone", 2);
    let (name, root) = (cluster.name().to_owned(), cluster.root().to_owned());
    cluster.load(&[busybox("busybox:test")]);
    cluster.kubectl("create configmap kept --from-literal=a=b").ok();
    for number in [1, 2] {
        cluster.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\nspec:\n  nodeName: {}\n  containers:\n  - \
             {{name: a, image: 'busybox:test', command: [sleep, '3600'], volumeMounts: [{{name: v, mountPath: /v}}]}}\n  \
             volumes: [{{name: v, emptyDir: {{medium: Memory}}}}]\n",
            cluster.node(number)
        ));
    }
    cluster.kubectl("wait --for=condition=Ready pod/p1 pod/p2 --timeout=60s").ok();
    let bridge = cluster.description().bridge();
    // Each pod has two: its own network and its loopback.
    assert_eq!(remembered(&root).len(), 4);
    assert!(!ours(&traces(&name, &root), &name, &root).is_empty());

    // Everything is killed; `up` finds the data and starts the pods again.
    let description = cluster.description();
    skiff::supervisor::stop(&description).unwrap();
    skiff::processes::kill_all(&description).unwrap();
    cluster.skiff(&["up"]);
    assert_eq!(cluster.json("get configmap kept")["data"]["a"], "b");
    eventually("the pods run again", 60, || {
        let pods = cluster.items("get pods");
        let again = pods.iter().all(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            status["restartCount"].as_u64() >= Some(1) && status["ready"] == true
        });
        again.then_some(()).ok_or_else(|| cluster.kubectl("get pods").out)
    });

    // The same after an orderly stop.
    cluster.skiff(&["stop"]);
    assert!(!Path::new("/sys/class/net").join(&bridge).exists());
    let loaded = || std::fs::metadata(root.join(&name).join("pause.tar")).unwrap().ino();
    let before = loaded();
    cluster.skiff(&["up"]);
    assert_eq!(cluster.json("get configmap kept")["data"]["a"], "b");

    // An image that all nodes have is not loaded again; one that is missing is.
    assert_eq!(loaded(), before);
    let description = cluster.description();
    let ctr = |verb: &str| {
        let socket = description.node(0).socket();
        said("ctr", &format!("--address {} --namespace k8s.io images {verb}", socket.display()))
    };
    let pause = ctr("list --quiet").into_iter().find(|name| name.contains("pause")).unwrap();
    ctr(&format!("remove --sync {pause}"));
    assert!(!ctr("list --quiet").contains(&pause));
    cluster.skiff(&["up"]);
    assert!(ctr("list --quiet").contains(&pause));
    assert_ne!(loaded(), before);

    skiff::supervisor::stop(&description).unwrap();
    skiff::processes::kill_all(&description).unwrap();
    cluster.skiff(&["down"]);
    let left: Vec<String> = ours(&traces(&name, &root), &name, &root)
        .into_iter()
        .chain(traces(&name, &root).into_iter().filter(|trace| trace.contains(&bridge)))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    assert!(!root.join(&name).exists());
    let kubeconfig = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    assert!(!kubeconfig.contains(&name), "{kubeconfig}");
    // Twice is fine.
    assert!(cluster.skiff(&["down"]).contains("no cluster"));
}

#[test]
fn clusters_without_etcd() {
    for store in ["file", "memory"] {
        let cluster = Cluster::up_with(store, 1, &["--store", store]);
        assert!(!cluster.daemons().contains(&"etcd".to_owned()));
        cluster.kubectl("create configmap kept --from-literal=a=b").ok();
        cluster.kill("apiserver");
        eventually("the API server answers again", 20, || {
            let seen = cluster.kubectl("get configmaps --request-timeout=2s");
            if seen.code == 0 { Ok(()) } else { Err(seen.err) }
        });
        let found = cluster.kubectl("get configmap kept");
        assert_eq!(found.code == 0, store == "file", "{found:?}");
    }
}

#[test]
fn refusals_are_clear_sentences() {
    let skiff = e2e::bin_dir().join("skiff");
    let refused = |arguments: &[&str]| {
        let output =
            Command::new(&skiff).args(arguments).env("SKIFF_BIN_DIR", e2e::bin_dir()).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    std::fs::write(&text, "no image").unwrap();
    let (root, text) = (dir.path().to_str().unwrap(), text.to_str().unwrap());
    let cases: [(&[&str], &str); 9] = [
        (&["up", "--root", root, "--name", "Not_A_Name"], "cannot be the name of a cluster"),
        (&["up", "--root", root, "--name", "bad", "--nodes", "0"], "0 is not in 1..="),
        (&["up", "--root", root, "--name", "bad", "--store", "mysql"], "expected etcd"),
        (&["up", "--root", root, "--name", "bad", "--etcd", "http://127.0.0.1:2379"], "loopback"),
        (&["up", "--root", root, "--name", "bad", "--etcd", "http://0.0.0.0:1"], "no etcd answers"),
        (&["up", "--root", root, "--name", "bad", "--image", text], "is no image archive"),
        (&["up", "--root", root, "--name", "bad", "--kubeconfig", text], "is not a kubeconfig"),
        (
            &[
                "up",
                "--root",
                "/tmp/a-very-long-folder-name-that-nobody-would-ever-choose-for-clusters/but/still",
                "--name",
                "bad",
            ],
            "too long",
        ),
        (&["load", text, "--root", root, "--name", "bad"], "no cluster called bad"),
    ];
    for (arguments, part) in cases {
        let refusal = refused(arguments);
        assert!(refusal.contains(part), "{arguments:?}: {refusal}");
        assert!(!Path::new(root).join("bad").exists(), "{arguments:?} left something");
    }

    let cluster = Cluster::up_with("load", 1, &["--store", "memory"]);
    let output = cluster.try_skiff(&["load", text]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no image archive"), "{output:?}");
    let output = cluster.try_skiff(&["up", "--nodes", "2"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("has 1 node(s), not 2"), "{output:?}");
    let other = tempfile::tempdir().unwrap();
    let taken =
        refused(&["up", "--name", cluster.name(), "--root", other.path().to_str().unwrap(), "--no-outbound"]);
    assert!(taken.contains("lives in"), "{taken}");
    assert!(cluster.try_skiff(&["logs", "nobody"]).stderr.starts_with(b"skiff: \"nobody\" is no daemon"));
    assert!(cluster.skiff(&["logs", "apiserver"]).contains(']'));
}
