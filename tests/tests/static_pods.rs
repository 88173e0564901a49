//! A manifest in the node's folder: its pod runs, shows in the API, and needs neither the API server nor the kubelet to
//! go on. So the control plane itself may run.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, eventually, http_go};
use nix::sys::signal::Signal;
use serde_json::Value;

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web}
spec:
  terminationGracePeriodSeconds: 1
  priorityClassName: system-node-critical
  containers:
  - {name: web, image: 'http-go:v1'}
";

fn put(cluster: &Cluster, file: &str, text: &str) {
    let folder = cluster.description().node(0).manifests_dir();
    let (hidden, shown) = (folder.join(format!(".{file}")), folder.join(file));
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(hidden, shown).unwrap();
}

/// The processes of the test's program.
fn programs(cluster: &Cluster) -> Vec<i32> {
    let members = skiff::processes::of(&cluster.description()).unwrap();
    let ours = |pid: i32| skiff::processes::command_line(pid).first().is_some_and(|name| name == "/http-go");
    members.iter().map(|process| process.pid).filter(|pid| ours(*pid)).collect()
}

/// The mirror, once it says Ready and is not the one with that uid.
fn mirror(cluster: &Cluster, name: &str, not: &str) -> Value {
    eventually("the mirror shows a ready pod", 60, || {
        let seen = cluster.kubectl(&format!("get pod {name} -o json --request-timeout=5s"));
        let pod: Value = serde_json::from_str(&seen.out).map_err(|_| seen.err)?;
        let conditions = pod["status"]["conditions"].as_array();
        let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
        if ready && pod["metadata"]["uid"] != not { Ok(pod) } else { Err(pod["status"].to_string()) }
    })
}

#[test]
fn a_manifest_in_the_folder_is_a_pod() {
    let cluster = Cluster::up("static", 1);
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    put(&cluster, "broken.yaml", "kind: Nothing\n");
    put(&cluster, "web.yaml", MANIFEST);
    let name = format!("web-{}", cluster.node(1));
    let first = mirror(&cluster, &name, "");
    assert_eq!(first["metadata"]["ownerReferences"][0]["kind"], "Node");
    assert_eq!(first["spec"]["priority"], 2_000_001_000);
    let uid = first["metadata"]["uid"].as_str().unwrap();
    let running = programs(&cluster);
    assert_eq!(running.len(), 1);
    let log = cluster.kubectl(&format!("logs {name}"));
    assert_eq!(log.code, 0, "{}", log.err);

    // Nobody makes it another's mirror, and who deletes it gets it back.
    let refused = cluster.kubectl(&format!("annotate pod {name} kubernetes.io/config.mirror-")).refused();
    assert!(refused.contains("may not remove or update mirror pod annotation"), "{refused}");
    cluster.kubectl(&format!("delete pod {name} --wait=false")).ok();
    mirror(&cluster, &name, uid);
    assert_eq!(programs(&cluster), running, "the pod itself ran on");

    // Neither the API server nor the kubelet has to be there.
    cluster.signal("apiserver", Signal::SIGSTOP);
    cluster.kill(&format!("{}/kubelet", cluster.node(1)));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running[0]), Signal::SIGKILL).unwrap();
    eventually("it is started again without an API server", 60, || match programs(&cluster).as_slice() {
        [again] if *again != running[0] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    cluster.signal("apiserver", Signal::SIGCONT);
    eventually("the API hears of it", 60, || {
        let status = &mirror(&cluster, &name, "")["status"];
        match &status["containerStatuses"][0]["restartCount"] {
            count if *count == 1 => Ok(()),
            other => Err(other.to_string()),
        }
    });

    // A manifest that is gone ends its pod.
    std::fs::remove_file(cluster.description().node(0).manifests_dir().join("web.yaml")).unwrap();
    eventually("pod and mirror are gone", 60, || {
        let left = cluster.kubectl(&format!("get pod {name} --ignore-not-found")).ok();
        if left.is_empty() && programs(&cluster).is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn the_control_plane_may_be_pods_of_the_first_node() {
    let cluster = Cluster::up_with("cp-pods", 2, &["--control-plane", "pods"]);
    let node = cluster.node(1);
    let pods = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    let named = |pod: &str| format!("-n kube-system {pod}-{node}");
    for pod in pods {
        let seen = mirror(&cluster, &named(pod), "");
        assert_eq!(seen["metadata"]["labels"]["component"], pod);
        assert_eq!(
            (&seen["spec"]["hostNetwork"], &seen["spec"]["nodeName"]),
            (&true.into(), &node.clone().into())
        );
        assert_eq!(seen["spec"]["priorityClassName"], "system-node-critical");
    }
    let listed = cluster.items("get pods -n kube-system -l tier=control-plane");
    assert_eq!(listed.len(), pods.len());
    let roles = cluster.kubectl(&format!("get node {node} --no-headers")).ok();
    assert_eq!(roles.split_whitespace().nth(2), Some("control-plane"), "{roles}");
    for name in ["kube-scheduler", &format!("kube-scheduler-{node}")] {
        assert_eq!(cluster.skiff(&["logs", name]), cluster.skiff(&["logs", "scheduler"]), "{name}");
    }

    // They do their work, on the other node, too.
    cluster.load(&[http_go("http-go:v1", "v1", 0)]);
    cluster.kubectl("create deployment web --image http-go:v1 --replicas 4").ok();
    cluster.kubectl("rollout status deployment web --timeout 60s").ok();
    let places = cluster.kubectl("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}").ok();
    assert!(places.contains(&cluster.node(2)), "{places}");
    for web in cluster.kubectl("get pods -l app=web -o name").ok().lines() {
        cluster.kubectl(&format!("logs {web}")).ok();
    }

    // The kubelet starts what was killed; `skiff` knows.
    cluster.kill("apiserver");
    let restarts = |seen: &Value| seen["status"]["containerStatuses"][0]["restartCount"].clone();
    eventually("the API server tells of its end", 60, || {
        match restarts(&mirror(&cluster, &named(pods[1]), "")) {
            count if count == 1 => Ok(()),
            other => Err(other.to_string()),
        }
    });
    let status = cluster.skiff(&["status"]);
    let line = status.lines().find(|line| line.starts_with("apiserver")).unwrap();
    assert!(line.contains("running") && line.ends_with(" 1"), "{status}");
    let (ours, theirs) =
        (cluster.skiff(&["logs", "apiserver"]), cluster.kubectl(&format!("logs {}", named(pods[1]))));
    assert!(theirs.ok().lines().next().is_some_and(|line| ours.contains(line)), "{ours}");

    // It cannot be changed under way, and outlives a stop with its data.
    let refused = cluster.try_skiff(&["up", "--control-plane", "processes"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("runs in another way"), "{refused:?}");
    cluster.skiff(&["stop"]);
    cluster.skiff(&["up", "--no-outbound"]);
    cluster.kubectl("rollout status deployment web --timeout 60s").ok();
}
