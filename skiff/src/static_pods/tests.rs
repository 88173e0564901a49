#![allow(clippy::unwrap_used)]
use super::*;
use crate::cluster::{ControlPlane, sample};

fn in_pods(store: Store) -> Cluster {
    Cluster { control_plane: ControlPlane::Pods, store, ..sample(2) }
}

#[test]
fn manifests_are_pods_that_the_kubelet_takes() {
    let cluster = in_pods(Store::Etcd);
    let mut names = Vec::new();
    for daemon in daemons::table(&cluster) {
        let Some(pod) = &daemon.pod else {
            assert!(daemon.name.contains("-node-"), "{} runs beside the pods", daemon.name);
            continue;
        };
        let manifest = manifest(&cluster, &daemon, pod, "i:1");
        let typed: k8s_openapi::api::core::v1::Pod = serde_json::from_value(manifest.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), manifest, "all of it is understood");
        let container = &manifest["spec"]["containers"][0];
        // Whatever it is told of lies in a folder that it has.
        let mounts = container["volumeMounts"].as_array().unwrap();
        let has =
            |path: &str| mounts.iter().any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap()));
        for mount in mounts.iter().filter_map(|mount| mount["mountPath"].as_str()) {
            assert_ne!(Path::new(mount), cluster.pki_dir(), "{} has no secrets of others", daemon.name);
        }
        let root = cluster.dir.to_str().unwrap();
        for argument in &daemon.arguments {
            let path = argument.find(root).map(|at| &argument[at..]);
            assert!(path.is_none_or(has), "{}: {argument}", daemon.name);
        }
        names.push(pod.clone());
    }
    assert_eq!(names, ["etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager"]);
}

#[test]
fn a_store_in_a_file_lies_in_a_folder_of_the_api_server() {
    for (store, folder) in [
        (Store::File(None), "/var/lib/skiff/two/control-plane"),
        (Store::File(Some("/data/store.db".into())), "/data"),
    ] {
        let cluster = in_pods(store);
        let data: Vec<_> = daemons::table(&cluster)
            .iter()
            .flat_map(|daemon| paths(&cluster, daemon))
            .filter(|(name, ..)| name == "data")
            .collect();
        assert_eq!(data, [("data".to_owned(), PathBuf::from(folder), "DirectoryOrCreate", false)]);
    }
}

#[test]
fn the_log_is_that_of_the_latest_container() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster { dir: dir.path().into(), ..in_pods(Store::Memory) };
    let daemon = daemons::table(&cluster).remove(0);
    assert_eq!((daemon.name.as_str(), log(&cluster, &daemon)), ("apiserver", None));
    let pods = cluster.log_dir(Some(&cluster.node(0))).join("pods");
    let made = |pod: &str, file: &str, age: u64| {
        let folder = pods.join(pod).join("kube-apiserver");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(file);
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        fs::File::create(&path).unwrap().set_modified(time).unwrap();
        path
    };
    made("kube-system_kube-apiserver-two-node-1_a", "7.log", 9);
    let latest = made("kube-system_kube-apiserver-two-node-1_b", "2.log", 5);
    made("kube-system_kube-apiserver-two-node-1_b", "2.log.20260101-000000", 1);
    made("default_kube-apiserver-two-node-1_c", "3.log", 1);
    assert_eq!(log(&cluster, &daemon), Some(latest.clone()));
    assert_eq!(attempt(&latest), Some(2));
}

#[test]
fn what_the_user_names_to_a_daemon_is_in_its_pod() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("Policy.yaml");
    fs::write(&policy, "one").unwrap();
    let given = [
        format!("--audit-policy-file={}", policy.display()),
        "--audit-log-path=/var/log/skiff/audit.log".to_owned(),
        "--oidc-issuer-url=https://a.test".to_owned(),
    ];
    let arguments = [("apiserver".to_owned(), given.to_vec())].into();
    let cluster = Cluster { arguments, ..in_pods(Store::Memory) };
    let daemon = daemons::table(&cluster).remove(0);
    let found: Vec<_> =
        paths(&cluster, &daemon).into_iter().filter(|(name, ..)| name.starts_with("given-")).collect();
    let expected = [
        ("given-0".to_owned(), policy.clone(), "File", true),
        ("given-1".to_owned(), PathBuf::from("/var/log/skiff"), "DirectoryOrCreate", false),
    ];
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 2);
    assert!(
        expected.iter().all(|(_, path, kind, read_only)| {
            found.iter().any(|(_, p, k, r)| (p, k, r) == (path, kind, read_only))
        }),
        "{found:?}"
    );
    let made = || manifest(&cluster, &daemon, "kube-apiserver", "i:1");
    let before = made();
    assert_eq!(made(), before);
    fs::write(&policy, "two").unwrap();
    assert_ne!(made(), before, "a file that changes makes the pod anew");
}

#[test]
fn only_up_takes_changed_files_to_pods_and_nobody_those_of_a_store_in_memory() {
    for (store, in_memory) in [(Store::Etcd, false), (Store::Memory, true)] {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.yaml");
        fs::write(&policy, "one").unwrap();
        let arguments = [("apiserver".to_owned(), vec![format!("--audit-policy-file={}", policy.display())])];
        let cluster = Cluster { dir: dir.path().join("two"), arguments: arguments.into(), ..in_pods(store) };
        files::make_dir(&cluster.node(0).manifests_dir()).unwrap();
        files::make_dir(&cluster.pki_dir()).unwrap();
        let read =
            || fs::read_to_string(cluster.node(0).manifests_dir().join("kube-apiserver.yaml")).unwrap();
        let up = |runs| write_manifests(&cluster, runs, |_, _| true).unwrap();
        assert!(!up(true));
        let first = read();
        fs::write(&policy, "two").unwrap();
        renew_manifests(&cluster).unwrap();
        assert_eq!(read(), first, "the hour brings no file of the user's");
        assert_eq!((up(true), read() == first), (in_memory, in_memory));
        assert!(!up(false));
        let second = read();
        assert_ne!(second, first);
        fs::write(cluster.pki_dir().join("ca.crt"), "new").unwrap();
        renew_manifests(&cluster).unwrap();
        assert_eq!(read() == second, in_memory, "certificates are taken at once");
    }
}
