//! What keeps a pod in its place: what a node does not enforce it refuses, and pods together leave it alive.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually};
use serde_json::{Value, json};

fn pod(name: &str, spec: Value) -> String {
    let mut spec = spec;
    if spec.get("containers").is_none() {
        spec["containers"] =
            json!([{"name": "c", "image": "skiff.test/busybox:1", "command": ["sleep", "3600"]}]);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

/// The reasons and messages of a pod's events.
fn events(cluster: &Cluster, pod: &str) -> String {
    let events = cluster.items(&format!("get events --field-selector=involvedObject.name={pod}"));
    let line = |event: &Value| format!("{}: {}\n", event["reason"], event["message"]);
    events.iter().map(line).collect()
}

#[test]
fn a_node_refuses_what_it_does_not_enforce_and_keeps_what_it_needs() {
    let cluster = Cluster::up("node", 2);
    cluster.load(&[busybox("skiff.test/busybox:1")]);
    let of_pod = |context: Value| json!({"securityContext": context});

    let node = cluster.json(&format!("get node {}", cluster.node(1)));
    let old_runtime = node["status"]["nodeInfo"]["containerRuntimeVersion"]
        .as_str()
        .unwrap()
        .starts_with("containerd://1.");
    let app_armor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    // What this machine can do is not refused.
    let can = |name: &str| match name {
        "apparmor" => app_armor.as_ref().is_ok_and(|text| text.starts_with('Y')),
        "selinux" => std::path::Path::new("/sys/fs/selinux/enforce").exists(),
        "groups" | "recursive" => !old_runtime,
        _ => false,
    };

    // Refused for good, with a reason in the status and an event.
    let sysctls = json!({"sysctls": [{"name": "kernel.msgmax", "value": "65536"}]});
    for (name, spec, reason) in [
        ("sysctl", of_pod(sysctls), "SysctlForbidden"),
        (
            "groups",
            of_pod(json!({"supplementalGroupsPolicy": "Strict"})),
            "SupplementalGroupsPolicyNotSupported",
        ),
        ("selinux", of_pod(json!({"seLinuxOptions": {"type": "my_t"}})), "SELinux"),
        ("apparmor", of_pod(json!({"appArmorProfile": {"type": "RuntimeDefault"}})), "AppArmor"),
        (
            "huge",
            json!({"nodeName": cluster.node(1), "containers": [{"name": "c", "image": "skiff.test/busybox:1",
            "resources": {"requests": {"memory": "9223372036854775807"}}}]}),
            "OutOfmemory",
        ),
    ] {
        if can(name) {
            continue;
        }
        cluster.apply(&pod(name, spec));
        eventually(&format!("pod {name} is refused"), 60, || {
            let status = cluster.json(&format!("get pod {name}"))["status"].clone();
            let refused = status["phase"] == "Failed" && status["reason"] == reason;
            let told = events(&cluster, name).contains(reason);
            if refused && told { Ok(()) } else { Err(status.to_string()) }
        });
    }

    // Refused until somebody changes it.
    let mount = json!([{"name": "c", "image": "skiff.test/busybox:1", "command": ["sleep", "3600"],
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Enabled"}]}]);
    let doubling: Vec<Value> = (0..20)
        .map(|n| {
            let value = if n == 0 { "x".repeat(4096) } else { format!("$(E{0})$(E{0})", n - 1) };
            json!({"name": format!("E{n}"), "value": value})
        })
        .collect();
    let doubling = json!([{"name": "c", "image": "skiff.test/busybox:1", "env": doubling}]);
    for (name, spec, words) in [
        ("users", json!({"hostUsers": false}), "does not support user namespaces"),
        ("class", json!({"runtimeClassName": "sandboxed"}), "no runtime for \"nothing\" is configured"),
        (
            "recursive",
            json!({"containers": mount, "volumes": [{"name": "v", "emptyDir": {}}]}),
            "not supported by the runtime",
        ),
        ("doubling", json!({"containers": doubling}), "is too long"),
    ] {
        if can(name) {
            continue;
        }
        if name == "class" {
            cluster.apply(
                r#"{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "sandboxed"}, "handler": "nothing"}"#,
            );
        }
        cluster.apply(&pod(name, spec));
        eventually(&format!("pod {name} waits and says why"), 60, || {
            let status = cluster.json(&format!("get pod {name}"))["status"].clone();
            let message =
                status["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap_or("");
            let shown = status["phase"] == "Pending" && message.contains(words);
            let told = events(&cluster, name).replace("\\\"", "\"").contains(words);
            if shown && told { Ok(()) } else { Err(status.to_string()) }
        });
    }

    // What asks for nothing special runs; on a node's network with the node's name, which it can resolve.
    let commands = json!([{"name": "c", "image": "skiff.test/busybox:1", "command": ["sh", "-c",
        "hostname; cat /etc/hostname; grep -c \"$(hostname)\" /etc/hosts; sleep 3600"]}]);
    let harmless = json!({"seLinuxOptions": {"level": "s0:c1,c2"}, "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]});
    cluster.apply(&pod("plain", of_pod(harmless)));
    for number in [1, 2] {
        let spec = json!({"hostNetwork": true, "nodeName": cluster.node(number), "containers": commands});
        cluster.apply(&pod(&format!("on-node-{number}"), spec));
    }
    cluster.kubectl("wait --for=condition=Ready pod/plain pod/on-node-1 pod/on-node-2 --timeout=60s").ok();
    for number in [1, 2] {
        let node = cluster.node(number);
        eventually("the pod has the node's name", 30, || {
            let said = cluster.kubectl(&format!("logs on-node-{number}")).ok();
            let lines: Vec<&str> = said.lines().collect();
            if lines == [node.as_str(), node.as_str(), "1"] { Ok(()) } else { Err(said) }
        });
    }

    // Later containers wait for init containers.
    let init =
        |name: &str| json!({"name": name, "image": "skiff.test/busybox:1", "command": ["sleep", "3600"]});
    cluster.apply(&pod("init", json!({"initContainers": [init("one"), init("two")]})));
    eventually("the first init container runs", 60, || {
        let status = cluster.json("get pod init")["status"].clone();
        let reason = |list: &str, index: usize| status[list][index]["state"]["waiting"]["reason"].clone();
        let waits = [reason("initContainerStatuses", 1), reason("containerStatuses", 0)];
        let runs = status["initContainerStatuses"][0]["state"]["running"].is_object();
        if runs && waits == ["PodInitializing", "PodInitializing"] { Ok(()) } else { Err(status.to_string()) }
    });

    // All pods of a node are bounded together.
    let group = cluster.description().node(0).cgroup;
    let read = |v1: &str, v2: &str| {
        let group = group.trim_start_matches('/');
        let files = [
            format!(
                "/sys/fs/cgroup/{}/{group}/kubepods/{}",
                v1.split('/').next().unwrap(),
                v1.split('/').nth(1).unwrap()
            ),
            format!("/sys/fs/cgroup/{group}/kubepods/{v2}"),
        ];
        let text =
            files.iter().find_map(|file| std::fs::read_to_string(file).ok()).expect("pods have a cgroup");
        text.trim().parse::<u64>().ok()
    };
    let memory = read("memory/memory.limit_in_bytes", "memory.max").expect("memory has a bound");
    let allocatable =
        cluster.json(&format!("get node {}", cluster.node(1)))["status"]["allocatable"]["memory"].clone();
    let kib: u64 = allocatable.as_str().unwrap().trim_end_matches("Ki").parse().unwrap();
    assert_eq!(memory / 4096, kib / 4);
    assert!(read("pids/pids.max", "pids.max").is_some_and(|most| most > 0));

    // A Node that claims what is not its own changes no route of the host.
    let routes = || {
        String::from_utf8(std::process::Command::new("ip").args(["route"]).output().unwrap().stdout).unwrap()
    };
    let before = routes();
    let stranger = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "stranger"},
        "spec": {"podCIDR": "203.0.113.0/24", "podCIDRs": ["203.0.113.0/24"]},
        "status": {"addresses": [{"type": "InternalIP", "address": cluster.node_address(1).to_string()}]}});
    cluster.apply(&stranger.to_string());
    eventually("the supervisor says what is wrong", 30, || {
        let said = cluster.skiff(&["logs", "supervisor"]);
        if said.contains("node stranger gets no route") { Ok(()) } else { Err(said) }
    });
    assert_eq!(routes(), before);
}

#[test]
fn a_node_whose_disk_is_full_ends_who_filled_it() {
    let cluster = Cluster::up_on_disk("full", 400 << 20);
    cluster.load(&[busybox("skiff.test/busybox:1")]);
    cluster.apply(&pod("bystander", json!({})));
    cluster.kubectl("wait --for=condition=Ready pod/bystander --timeout=60s").ok();
    // Into its own layer: what is in volumes is given back with them.
    let eats = json!({"name": "c", "image": "skiff.test/busybox:1",
        "command": ["sh", "-c", "dd if=/dev/zero of=/all bs=1M; sleep 3600"]});
    cluster.apply(&pod("eater", json!({"containers": [eats]})));
    eventually("it is evicted", 90, || {
        let status = cluster.json("get pod eater")["status"].clone();
        if status["reason"] == "Evicted" { Ok(()) } else { Err(status.to_string()) }
    });
    let status = cluster.json("get pod eater")["status"].clone();
    let words = "The node was low on resource: ephemeral-storage. Threshold quantity: 20Mi, available: ";
    assert!(status["message"].as_str().unwrap().starts_with(words), "{status}");
    let conditions = status["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!(target["reason"], "TerminationByKubelet");
    assert!(events(&cluster, "eater").contains("\"Evicted\": \"The node was low"));

    eventually("there is room again", 30, || {
        let left = nix::sys::statvfs::statvfs(cluster.root()).unwrap();
        let free = left.blocks_available() * left.fragment_size();
        if free > 200 << 20 { Ok(()) } else { Err(free.to_string()) }
    });
    let ended = cluster.json("get pod eater")["status"]["containerStatuses"][0]["state"].clone();
    assert_eq!(ended["terminated"]["exitCode"], 137, "{ended}");

    // But for some minutes the node takes nothing that could fill it.
    eventually("the node says what it is short of", 30, || {
        let node = cluster.json(&format!("get node {}", cluster.node(1)));
        let taints = node["spec"]["taints"].to_string();
        if taints.contains("node.kubernetes.io/disk-pressure") { Ok(()) } else { Err(taints) }
    });
    cluster.apply(&pod("next", json!({"nodeName": cluster.node(1)})));
    eventually("the next pod is refused", 30, || {
        let status = cluster.json("get pod next")["status"].clone();
        let is_refused =
            status["reason"] == "Evicted" && status["message"] == "The node had condition: [DiskPressure]. ";
        if is_refused { Ok(()) } else { Err(status.to_string()) }
    });
    let bystander = cluster.json("get pod bystander")["status"].clone();
    assert_eq!(
        (&bystander["phase"], &bystander["containerStatuses"][0]["restartCount"]),
        (&json!("Running"), &json!(0))
    );
}
