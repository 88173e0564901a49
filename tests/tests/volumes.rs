//! Volumes on a node: whose files are, and that nothing which a container puts there leads out of them.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually};
use serde_json::Value;

/// A pod in which containers share a volume, and try to get out of it.
const SHARED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, runAsGroup: 1000}
  volumes: [{name: v, emptyDir: {}}]
  initContainers:
  - name: prepare
    image: busybox:v1
    command: [sh, -c, 'cd /v; mkdir -p real/sub; busybox ln -s real/sub inside; busybox ln -s /etc out; busybox touch words;
      p=$(busybox printf "d/%.0s" $(busybox seq 1500)); for n in 1 2 3 4; do busybox mkdir -p $p && cd -P $p; done']
    volumeMounts: [{name: v, mountPath: /v}]
  containers:
  - name: inside
    image: busybox:v1
    command: [sh, -c, 'echo here > /m/file; busybox mv /v/real /v/gone; busybox ln -s / /v/real; ls /m; busybox sleep 1000']
    volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /m, subPath: inside}]
  - name: outside
    image: busybox:v1
    command: [cat, /m/hostname]
    volumeMounts: [{name: v, mountPath: /m, subPath: out}]
  - name: words
    image: busybox:v1
    command: [sh, -c, 'echo -n hello > /dev/termination-log; busybox rm /v/words; busybox ln -s /etc/passwd /v/words']
    volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /dev/termination-log, subPath: words}]
  - name: fifo
    image: busybox:v1
    command: [sh, -c, 'busybox rm /v/fifo 2>/dev/null; busybox mkfifo /v/fifo 2>/dev/null; echo -n DONE; false']
    terminationMessagePath: /v/fifo
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts: [{name: v, mountPath: /v}]
"#;

/// A pod that tells what its files look like.
const FILES: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: CONTEXT
  volumes:
  - {name: empty, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory}}
  - {name: map, configMap: {name: settings}}
  - {name: secret, secret: {secretName: login, defaultMode: 0400}}
  - name: token
    projected: {sources: [{serviceAccountToken: {path: token}}]}
  containers:
  - name: c
    image: busybox:v1
    command: [sh, -c, 'busybox stat -L -c "%a %u %g" /empty /empty/sub /memory /map /map/a /secret/user /token/token; echo kept > /empty/own; busybox chmod 700 /empty/own; busybox sleep 1000']
    volumeMounts:
    - {name: empty, mountPath: /empty}
    - {name: empty, mountPath: /unused, subPath: sub}
    - {name: memory, mountPath: /memory}
    - {name: map, mountPath: /map}
    - {name: memory, mountPath: /map/nested}
    - {name: secret, mountPath: /secret}
    - {name: token, mountPath: /token}
"#;

fn log(cluster: &Cluster, line: &str, lines: usize) -> Vec<String> {
    eventually(line, 60, || {
        let log = cluster.kubectl(line);
        let found: Vec<String> = log.out.lines().map(str::to_owned).collect();
        if found.len() >= lines { Ok(found) } else { Err(format!("{}{}", log.out, log.err)) }
    })
}

fn state(pod: &Value, container: &str) -> Value {
    let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    statuses.iter().find(|status| status["name"] == container).map_or(Value::Null, |s| s["state"].clone())
}

fn nothing_leads_out(cluster: &Cluster) {
    cluster.apply(SHARED);
    let pod = eventually("containers end or are refused", 60, || {
        let pod = cluster.json("get pod shared");
        let ended = ["words", "fifo"].map(|name| state(&pod, name)["terminated"].is_object());
        let refused = state(&pod, "outside")["waiting"]["reason"] == "CreateContainerConfigError";
        if ended == [true, true] && refused { Ok(pod) } else { Err(pod["status"].to_string()) }
    });
    let refusal = r#"failed to prepare subPath for volumeMount "v" of container "outside""#;
    assert_eq!(state(&pod, "outside")["waiting"]["message"], refusal);
    assert_eq!(state(&pod, "words")["terminated"]["message"], "hello");
    assert_eq!(state(&pod, "fifo")["terminated"]["message"], "DONE");
    assert_eq!(log(cluster, "logs shared -c inside", 1), ["file"]);
}

fn files_have_upstreams_modes_and_owners(cluster: &Cluster) {
    cluster.kubectl("create configmap settings --from-literal=a=1").ok();
    cluster.kubectl("create secret generic login --from-literal=user=me").ok();
    let files = |name: &str, context: &str| {
        cluster.apply(&FILES.replace("NAME", name).replace("CONTEXT", context));
        log(cluster, &format!("logs {name}"), 7)
    };
    let plain = ["777 0 0", "777 0 0", "1777 0 0", "777 0 0", "644 0 0", "400 0 0", "644 0 0"];
    assert_eq!(files("plain", "{}"), plain);
    let user = ["777 0 0", "777 0 0", "1777 0 0", "777 0 0", "644 0 0", "400 0 0", "600 1000 0"];
    assert_eq!(files("user", "{runAsUser: 1000}"), user);
    let group = [
        "2777 0 2000",
        "2777 0 2000",
        "3777 0 2000",
        "2777 0 2000",
        "644 0 2000",
        "440 0 2000",
        "640 1000 2000",
    ];
    assert_eq!(files("group", "{runAsUser: 1000, fsGroup: 2000}"), group);
}

/// What containers made of their files is theirs, whatever becomes of the kubelet.
fn a_kubelet_that_starts_again_leaves_files_alone(cluster: &Cluster) {
    let daemon = format!("{}/kubelet", cluster.node(1));
    cluster.kill(&daemon);
    let exec = |words: &str| cluster.kubectl(&format!("exec group -- {words}"));
    eventually("the kubelet answers", 60, || {
        let answer = exec("cat /empty/own");
        if answer.out == "kept\n" { Ok(()) } else { Err(answer.err) }
    });
    cluster.kubectl("run later --image=busybox:v1 --restart=Never -- true").ok();
    cluster.kubectl("wait pod/later --for=jsonpath={.status.phase}=Succeeded --timeout=60s").ok();
    assert_eq!(exec("busybox stat -c %a-%g /empty/own").ok().trim(), "700-2000");
}

fn nothing_stays(cluster: &Cluster) {
    let pods = cluster.description().dir.join("nodes").join(cluster.node(1)).join("kubelet/pods");
    let uids: Vec<String> = cluster
        .items("get pods")
        .iter()
        .map(|pod| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert!(uids.len() == 5 && uids.iter().all(|uid| pods.join(uid).is_dir()));
    let mounted = || {
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = cluster.root().display().to_string();
        all.lines().filter(|line| line.contains(&root) && line.contains("/pods/")).count()
    };
    assert!(mounted() > 0);
    cluster.kubectl("delete pod shared plain user group later").ok();
    eventually("all is unmounted and removed", 60, || {
        let left = uids.iter().filter(|uid| pods.join(uid).exists()).count();
        let mounted = mounted();
        if left + mounted == 0 {
            Ok(())
        } else {
            Err(format!("{left} folders and {mounted} mounts are left"))
        }
    });
}

#[test]
fn volumes() {
    let cluster = Cluster::up("volumes", 1);
    cluster.load(&[busybox("busybox:v1")]);
    nothing_leads_out(&cluster);
    files_have_upstreams_modes_and_owners(&cluster);
    a_kubelet_that_starts_again_leaves_files_alone(&cluster);
    nothing_stays(&cluster);
}
