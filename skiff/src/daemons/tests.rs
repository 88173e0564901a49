#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster::sample;
use crate::processes;

#[test]
fn a_cluster_of_two() {
    let names: Vec<String> = table(&sample(2)).into_iter().map(|daemon| daemon.name).collect();
    let expected = [
        "etcd",
        "apiserver",
        "scheduler",
        "controller-manager",
        "two-node-1/containerd",
        "two-node-1/kubelet",
        "two-node-1/proxy",
        "two-node-2/containerd",
        "two-node-2/kubelet",
        "two-node-2/proxy",
    ];
    assert_eq!(names, expected);
}

#[test]
fn etcd_is_reached_by_those_alone_who_may_enter_its_folder() {
    let cluster = sample(1);
    let daemons = table(&cluster);
    let (etcd, apiserver) = (&daemons[0], &daemons[1]);
    assert_eq!((etcd.name.as_str(), apiserver.name.as_str()), ("etcd", "apiserver"));
    assert_eq!(etcd.folder, cluster.control_plane_dir());
    assert_eq!(etcd.sockets[0], etcd_socket(&cluster));
    let listens = etcd.arguments.iter().filter(|argument| argument.contains("://"));
    assert!(listens.clone().count() > 3 && listens.clone().all(|url| url.contains("unix://")), "{etcd:?}");
    let socket = cluster.control_plane_dir().join("localhost:2379");
    assert!(apiserver.arguments.contains(&format!("etcd:unix://{}", socket.display())));
    assert_eq!(apiserver.after, [Awaited::Unix(socket)]);
}

#[test]
fn in_pods_etcd_asks_for_certificates_and_only_the_first_kubelet_does_not_wait() {
    let cluster = Cluster { control_plane: ControlPlane::Pods, ..sample(2) };
    let daemons = table(&cluster);
    let (etcd, apiserver) = (&daemons[0], &daemons[1]);
    assert!(etcd.sockets.is_empty());
    for flag in ["--client-cert-auth", "--peer-client-cert-auth"] {
        assert!(etcd.arguments.iter().any(|argument| argument == flag), "{etcd:?}");
    }
    let plain = etcd.arguments.iter().filter(|argument| argument.contains("http://"));
    assert_eq!(plain.collect::<Vec<_>>(), ["--listen-metrics-urls=http://127.0.0.1:2381"]);
    assert!(apiserver.arguments.contains(&"etcd:https://127.0.0.1:2379".to_owned()));
    assert_eq!(apiserver.command()[0], "/apiserver");
    let server = Awaited::Tcp(SocketAddrV4::new(cluster.ranges.control_plane(), 6443));
    let waits: Vec<_> = daemons.iter().filter(|daemon| daemon.name.ends_with("kubelet")).collect();
    assert_eq!(waits.iter().map(|d| d.after.contains(&server)).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn without_etcd_the_api_server_waits_for_nothing() {
    let mut cluster = sample(1);
    for (store, flag) in [
        (Store::Memory, "memory"),
        (Store::File(None), "file:/var/lib/skiff/two/control-plane/store.db"),
        (Store::ExternalEtcd(vec!["http://192.0.2.7:2379".into()]), "etcd:http://192.0.2.7:2379"),
    ] {
        cluster.store = store;
        let daemons = table(&cluster);
        assert_eq!(daemons[0].name, "apiserver");
        assert!(daemons[0].after.is_empty());
        let at = daemons[0].arguments.iter().position(|argument| argument == "--store").unwrap();
        assert_eq!(daemons[0].arguments[at + 1], flag);
    }
}

#[test]
fn every_daemon_is_found_by_its_command_line() {
    let cluster = sample(1);
    let in_pods = Cluster { control_plane: ControlPlane::Pods, ..sample(1) };
    for daemon in table(&cluster).into_iter().chain(table(&in_pods)) {
        let command = daemon.command();
        assert!(processes::is_ours(&command, &cluster.name, &cluster.dir), "{}", daemon.name);
        assert!(!processes::is_ours(&command, "other", "/elsewhere/two".as_ref()), "{}", daemon.name);
    }
}

#[test]
fn kubelets_certificates_are_signed_by_those_by_whom_they_are_checked() {
    let daemons = table(&sample(1));
    let value = |daemon: &str, flag: &str| {
        let daemon = daemons.iter().find(|known| known.name == daemon).unwrap();
        let at = daemon.arguments.iter().position(|argument| *argument == format!("--{flag}")).unwrap();
        daemon.arguments[at + 1].clone()
    };
    let signer = |name: &str| value("controller-manager", &format!("cluster-signing-{name}-cert-file"));
    assert_eq!(value("apiserver", "kubelet-certificate-authority"), signer("kubelet-serving"));
    for daemon in ["apiserver", "scheduler", "controller-manager", "two-node-1/kubelet"] {
        assert_eq!(value(daemon, "client-ca-file"), signer("kubelet-client"), "{daemon}");
    }
    assert_eq!(signer("kube-apiserver-client"), signer("kubelet-client"));
    let front = value("apiserver", "requestheader-client-ca-file");
    assert!(signer("kubelet-serving") != signer("kubelet-client"), "servers are no clients");
    assert!(![signer("kubelet-serving"), signer("kubelet-client")].contains(&front));
}

#[test]
fn daemons_have_what_the_user_gives_them_last() {
    let given = |program: &str, flag: &str| {
        std::collections::BTreeMap::from([(program.to_owned(), vec![flag.to_owned()])])
    };
    for control_plane in [ControlPlane::Processes, ControlPlane::Pods] {
        let cluster = Cluster { control_plane, arguments: given("apiserver", "--a=/b"), ..sample(2) };
        let with: Vec<_> =
            table(&cluster).into_iter().filter(|d| d.arguments.contains(&"--a=/b".into())).collect();
        assert_eq!(with.len(), 1);
        assert_eq!(
            (with[0].name.as_str(), with[0].arguments.last().unwrap().as_str()),
            ("apiserver", "--a=/b")
        );
    }
    let nodes = Cluster { arguments: given("kubelet", "--a=b"), ..sample(2) };
    assert_eq!(table(&nodes).iter().filter(|daemon| !daemon.given(&nodes).is_empty()).count(), 2);
}

#[test]
fn flags_are_refused_before_anything_runs() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("apiserver");
    let script = "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = --check-flags ] || exit 9\n\
                  case \"$*\" in *--odd*) printf 'error: unexpected --odd\\n\\nUsage: x\\n\\nFor more information, ask\\n' >&2; exit 2;; esac\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let check = |flag: &str| {
        let arguments = [("apiserver".to_owned(), vec![flag.to_owned()])].into();
        let told = check_given(&Cluster { arguments, bin_dir: dir.path().into(), ..sample(1) });
        told.map_err(|why| why.to_string())
    };
    assert_eq!(check("--fine=1"), Ok(()));
    let odd = "the apiserver does not take what it is given: error: unexpected --odd";
    assert_eq!(check("--odd=1"), Err(odd.to_owned()));
    let twice = check("--authorization-mode=AlwaysAllow").unwrap_err();
    assert!(twice.contains("has the flag --authorization-mode from skiff up itself"), "{twice}");
    assert!(check("--leader-elect=1").is_ok(), "it is another daemon's");
}
