//! Workers against the real API server on its memory store and the scripted runtime, on a clock that the test moves: a
//! pod comes to the same end whenever the kubelet or the runtime dies.

mod node;

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::Api;
use kube::api::{ListParams, PostParams};
use node::{Lab, Node};
use serde_json::{Value, json};

use crate::cri::scripted::{Fault, State, Trap};

/// A pod that does its work and is done: an init container, a sidecar, a program that ends.
fn work() -> Value {
    json!({
        "restartPolicy": "Never",
        "initContainers": [
            {"name": "init", "image": "i:1", "command": ["exit", "0"]},
            {"name": "side", "image": "i:1", "command": ["run"], "restartPolicy": "Always"},
        ],
        "containers": [{"name": "main", "image": "i:1", "command": ["exit", "0"]}],
    })
}

/// A pod that runs until it is deleted, with hooks and a probe.
fn service() -> Value {
    let does = |what: &str| json!({"exec": {"command": [what, "0"]}});
    json!({
        "terminationGracePeriodSeconds": 5,
        "initContainers": [{"name": "init", "image": "i:1", "command": ["exit", "0"]}],
        "containers": [
            {"name": "main", "image": "i:1", "command": ["run"],
             "readinessProbe": {"exec": {"command": ["exit", "0"]}, "periodSeconds": 1},
             "lifecycle": {"postStart": does("welcome"), "preStop": does("farewell")}},
            {"name": "deaf", "image": "i:1", "command": ["deaf"]},
        ],
    })
}

/// What of a status does not depend on when things happened.
fn shown(status: &Value) -> Value {
    let containers = |list: &str| -> Vec<Value> {
        let list = status[list].as_array().cloned().unwrap_or_default();
        let end = |c: &Value| c["state"]["terminated"]["exitCode"].clone();
        list.iter().map(|c| json!([c["name"], c["restartCount"], c["ready"], end(c)])).collect()
    };
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let conditions: Vec<Value> =
        conditions.iter().map(|c| json!([c["type"], c["status"], c["reason"]])).collect();
    json!([status["phase"], conditions, containers("initContainerStatuses"), containers("containerStatuses")])
}

/// What stops in the middle of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    Kubelet,
    Runtime,
    /// Nothing does: the runtime refuses.
    Nobody,
}

/// Whether a pod has come as far as it goes by itself, or is to end already.
fn settled(pod: &Value) -> bool {
    let is = |kind: &str, status: &str| {
        let conditions = pod["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == status))
    };
    let finished = finished(pod) && is("PodReadyToStartContainers", "False");
    finished || is("Ready", "True") || !pod["metadata"]["deletionTimestamp"].is_null()
}

fn finished(pod: &Value) -> bool {
    pod["status"]["phase"] == "Succeeded" || pod["status"]["phase"] == "Failed"
}

/// Runs a pod through its life, with something that dies in one of the runtime's calls; answers what is shown of it in
/// the end, what its programs did, and the calls.
async fn life(lab: &Lab, spec: &Value, case: Option<(Dies, Trap)>) -> (Value, Vec<String>, Vec<String>) {
    let mut node = Node::new(lab).await;
    let dies = case.as_ref().map_or(Dies::Nobody, |(dies, _)| *dies);
    node.runtime.state().trap = case.map(|(_, trap)| trap);
    node.boot().await;
    // It is kept in the API until somebody has seen how it ended.
    node.create("p", spec, &["test/seen"]).await;
    let to_its_end = async |node: &Node| {
        node.until("p", |pod| settled(pod).then_some(())).await;
        node.delete("p").await;
        node.until("p", |pod| finished(pod).then_some(())).await;
        node.until_clean().await;
    };
    if dies != Dies::Nobody {
        tokio::select! {
            () = to_its_end(&node) => panic!("nobody died"),
            () = node.runtime.sprung() => {}
        }
    }
    match dies {
        Dies::Kubelet => {
            node.kill();
            node.boot().await;
        }
        Dies::Runtime => {
            node.runtime.die();
            node.runtime.serve();
        }
        Dies::Nobody => {}
    }
    to_its_end(&node).await;
    let status = node.release("p").await;
    node.until("p", |pod| pod.is_null().then_some(())).await;
    let state = node.runtime.state();
    let deeds = state.ran.iter().filter(|what| !what.contains("does exit")).cloned().collect();
    (shown(&status), deeds, state.calls.clone())
}

/// Lets something die at every call of a pod's life.
async fn dies_everywhere(spec: &Value) {
    let lab = &Lab::new().await;
    let (end, deeds, calls) = &life(lab, spec, None).await;
    assert!(calls.len() > 10, "{calls:?}");
    let mut cases = Vec::new();
    for call in calls.iter().filter(|what| !what.contains("does exit")) {
        for dies in [Dies::Kubelet, Dies::Runtime, Dies::Nobody] {
            // A hook that fails ends its container: another end than this.
            if call.contains(" does ") && dies != Dies::Kubelet {
                continue;
            }
            let fault = if dies == Dies::Nobody { Fault::Refuse } else { Fault::Hang };
            // To have its effect and be refused is what a runtime that dies does.
            let effects: &[bool] = if dies == Dies::Nobody { &[false] } else { &[false, true] };
            cases.extend(
                effects.iter().map(|after| (dies, Trap { call: call.clone(), after: *after, fault })),
            );
        }
    }
    let programs = |deeds: &[String]| {
        let mut all: Vec<_> = deeds.iter().filter(|what| what.contains(':')).cloned().collect();
        all.sort();
        all
    };
    let one = async |(dies, trap): (Dies, Trap)| {
        let case = format!("{dies:?} dies, {trap:?}");
        let (found, did, _) = life(lab, spec, Some((dies, trap))).await;
        assert_eq!(found, *end, "{case}");
        assert_eq!(programs(&did), programs(deeds), "{case}");
    };
    stream::iter(cases).for_each_concurrent(8, one).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_its_work_ends_the_same_whatever_dies() {
    dies_everywhere(&work()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_deleted_ends_the_same_whatever_dies() {
    dies_everywhere(&service()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pods_life_in_order() {
    let lab = Lab::new().await;
    let (_, _, calls) = life(&lab, &work(), None).await;
    let expected = "run sandbox 0, pull docker.io/library/i:1, create init, start init, create side, \
        start side, create main, start main, stop side, stop sandbox, remove main, remove side, remove init, \
        remove sandbox";
    assert_eq!(calls.join(", "), expected);
    let (_, deeds, _) = life(&lab, &service(), None).await;
    let expected = "init: exit 0, main: run, main does welcome 0, deaf: deaf, main does farewell 0";
    assert_eq!(deeds.join(", "), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_sidecars_run_when_the_end_begins_and_their_signals_come_after_the_work() {
    let lab = Lab::new().await;
    let sidecar = |name: &str| {
        json!({"name": name, "image": "i:1", "command": ["run"], "restartPolicy": "Always",
            "lifecycle": {"preStop": {"exec": {"command": ["farewell", "0"]}}}})
    };
    let spec = json!({
        "terminationGracePeriodSeconds": 9000,
        "initContainers": [sidecar("first"), sidecar("second")],
        "containers": [{"name": "main", "image": "i:1", "command": ["run"]}],
    });
    let stops = |calls: &[String]| -> Vec<String> {
        calls.iter().filter(|call| call.starts_with("stop ")).cloned().collect()
    };
    let (_, _, calls) = life(&lab, &spec, None).await;
    assert_eq!(stops(&calls), ["stop main", "stop second", "stop first", "stop sandbox"]);

    let mut node = Node::new(&lab).await;
    let never_ends = Trap { call: "stop main".to_owned(), after: false, fault: Fault::Hang };
    node.runtime.state().trap = Some(never_ends);
    node.boot().await;
    node.create("p", &spec, &[]).await;
    node.until("p", |pod| settled(pod).then_some(())).await;
    node.delete("p").await;
    let farewells = |state: &State| state.ran.iter().filter(|what| what.contains("farewell")).count();
    node.until_runtime(|state| farewells(state) == 2).await;
    let stops = stops(&node.runtime.state().calls);
    assert!(stops.iter().all(|stop| stop == "stop main"), "{stops:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_more_of_the_disk_than_it_may_is_ended() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let spec = |limits: Value, dir: Value| {
        json!({"containers": [{"name": "main", "image": "i:1", "command": ["deaf"], "resources": {"limits": limits}}],
            "volumes": [{"name": "scratch", "emptyDir": dir}]})
    };
    node.create("volume", &spec(json!({}), json!({"sizeLimit": "1Mi"})), &[]).await;
    node.create("layer", &spec(json!({"ephemeral-storage": "1Mi"}), json!({})), &[]).await;
    for (pod, expected) in [
        ("volume", "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". "),
        ("layer", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
    ] {
        let uid = node
            .until(pod, |pod| settled(pod).then(|| pod["metadata"]["uid"].as_str().map(str::to_owned)))
            .await
            .expect("it has one");
        if pod == "volume" {
            node.scribble(pod, "file", &vec![1; 2 << 20]).await;
        } else {
            node.runtime.state().layers.insert(format!("{uid}-0-main-0"), 2 << 20);
        }
        let status = node.until(pod, |pod| finished(pod).then(|| pod["status"].clone())).await;
        assert_eq!(json!([status["phase"], status["reason"]]), json!(["Failed", "Evicted"]));
        assert_eq!(status["message"], expected);
        node.delete(pod).await;
    }
    node.until_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_comes_from_a_file_that_is_there_by_then() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let from = json!({"fileKeyRef": {"volumeName": "scratch", "path": "env", "key": "A"}});
    let main = json!({"name": "main", "image": "i:1", "command": ["run"], "env": [{"name": "A", "valueFrom": from}]});
    node.create("p", &json!({"containers": [main]}), &[]).await;
    let waits = |pod: &Value| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "CreateContainerConfigError").then(|| waiting["message"].clone())
    };
    assert_eq!(node.until("p", waits).await, "couldn't parse env file");
    node.scribble("p", "env", b"A='of the file'\n").await;
    node.until("p", |pod| settled(pod).then_some(())).await;
    let state = node.runtime.state();
    let mut variables = state.containers.values().flat_map(|made| &made.config.envs);
    assert!(variables.any(|variable| variable.key == "A" && variable.value == "of the file"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_are_had_as_the_pod_says() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let login = json!({"auths": {"registry.test": {"username": "somebody", "password": "word"}}}).to_string();
    let login = json!({"metadata": {"name": "login"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": login}});
    let login: Secret = serde_json::from_value(login).expect("it is well-formed");
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), "default");
    secrets.create(&PostParams::default(), &login).await.expect("nobody else makes it");
    let spec = |image: &str, policy: &str, secrets: Value| {
        json!({"imagePullSecrets": secrets, "containers": [
            {"name": "main", "image": image, "imagePullPolicy": policy, "command": ["run"]}]})
    };
    let (image, login) = ("registry.test/i:1", json!([{"name": "login"}]));
    let pulls = |node: &Node| -> Vec<String> {
        node.runtime.state().calls.iter().filter(|call| call.starts_with("pull")).cloned().collect()
    };
    let (by_somebody, by_nobody) = ("pull registry.test/i:1 as somebody", "pull registry.test/i:1");
    for (pod, policy, secrets, expected) in [
        ("first", "IfNotPresent", &login, vec![by_somebody]),
        ("second", "IfNotPresent", &login, vec![by_somebody]),
        ("third", "Never", &login, vec![by_somebody]),
        ("fourth", "Always", &json!([]), vec![by_somebody, by_nobody]),
    ] {
        node.create(pod, &spec(image, policy, secrets.clone()), &[]).await;
        node.until(pod, |pod| settled(pod).then_some(())).await;
        assert_eq!(pulls(&node), expected, "{pod}");
    }
    node.create("never", &spec("registry.test/other:1", "Never", json!([])), &[]).await;
    let waits = |pod: &Value| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        (waiting["reason"] == "ErrImageNeverPull").then_some(())
    };
    node.until("never", waits).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_wait_and_tell_servers() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = server.local_addr().expect("it is bound").port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("somebody comes");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("he says something");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("he listens");
        line
    });
    let hooks = json!({"postStart": {"sleep": {"seconds": 7}},
        "preStop": {"httpGet": {"host": "127.0.0.1", "port": port, "path": "/farewell"}}});
    let main = json!({"name": "main", "image": "i:1", "command": ["run"], "lifecycle": hooks});
    let began = node.runtime.clock.now();
    node.create("p", &json!({"hostNetwork": true, "containers": [main]}), &[]).await;
    node.until("p", |pod| settled(pod).then_some(())).await;
    let took = node.runtime.clock.now().duration_since(began).as_secs();
    assert!(took >= 7, "{took}");
    node.delete("p").await;
    node.until("p", |pod| pod.is_null().then_some(())).await;
    assert_eq!(heard.join().expect("it does not panic").trim_end(), "GET /farewell HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_whose_first_hook_fails_has_its_last_one_before_it_is_stopped() {
    let lab = Lab::new().await;
    let does = |command: [&str; 2]| json!({"exec": {"command": command}});
    for (grace, expected) in
        [(30, "main: run, main does exit 3, main does farewell 0"), (0, "main: run, main does exit 3")]
    {
        let mut node = Node::new(&lab).await;
        node.boot().await;
        let hooks = json!({"postStart": does(["exit", "3"]), "preStop": does(["farewell", "0"])});
        let main = json!({"name": "main", "image": "i:1", "command": ["run"], "lifecycle": hooks});
        let spec =
            json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": grace, "containers": [main]});
        node.create("p", &spec, &[]).await;
        node.until_runtime(|state| state.calls.iter().any(|call| call == "stop main")).await;
        assert_eq!(node.runtime.state().ran.join(", "), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_goes_by_the_size_that_was_granted_last() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let size = |cpu: &str, memory: &str| json!({"limits": {"cpu": cpu, "memory": memory}, "requests": {"cpu": cpu, "memory": memory}});
    let main = json!({"name": "main", "image": "i:1", "command": ["run"], "resources": size("1", "64Mi"),
        "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]});
    node.create("p", &json!({"containers": [main]}), &[]).await;
    node.until("p", |pod| settled(pod).then_some(())).await;
    let made = |state: &State| {
        let resources = |attempt: &str| {
            let made = state.containers.iter().find(|(id, _)| id.ends_with(attempt))?.1;
            let linux = made.config.linux.as_ref()?.resources.as_ref()?;
            Some((linux.cpu_quota, linux.memory_limit_in_bytes >> 20))
        };
        (resources("main-0"), resources("main-1"))
    };
    // The restart for more memory does not come off until the node was asked for more than it has.
    node.runtime.state().stubborn = vec!["create main".to_owned()];
    node.resize("p", "main", size("1", "128Mi")).await;
    node.until_runtime(|state| state.calls.iter().filter(|call| *call == "create main").count() > 1).await;
    node.resize("p", "main", size("900", "128Mi")).await;
    let infeasible = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let pending =
            conditions.iter().find(|c| c["type"] == "PodResizePending" && c["reason"] == "Infeasible");
        pending.map(|pending| pending["message"].clone())
    };
    let words = "Node didn't have enough capacity: cpu, requested: 900000, capacity: 4000";
    assert_eq!(node.until("p", infeasible).await, words);
    node.runtime.state().stubborn.clear();
    node.until_runtime(|state| made(state).1.is_some()).await;
    assert_eq!(made(&node.runtime.state()), (Some((100_000, 64)), Some((100_000, 128))));
    node.until("p", |pod| settled(pod).then_some(())).await;

    // The next kubelet does not take what was refused for granted.
    node.kill();
    node.boot().await;
    let later = node.runtime.clock.now() + SignedDuration::from_secs(20);
    node.until_runtime(|_| node.runtime.clock.now() > later).await;
    assert_eq!(node.until("p", infeasible).await, words);
    assert!(!node.runtime.state().calls.contains(&"update".to_owned()));

    // What fits is granted without a restart.
    node.resize("p", "main", size("2", "128Mi")).await;
    node.until_runtime(|state| state.calls.contains(&"update".to_owned())).await;
    node.until("p", |pod| infeasible(pod).is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_volume_that_cannot_be_mounted_is_told_and_after_a_while_all_together() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let missing = |name: &str| json!({"name": name, "hostPath": {"path": format!("/none/{name}"), "type": "Directory"}});
    let spec = json!({"containers": [{"name": "main", "image": "i:1", "command": ["run"]}],
        "volumes": [missing("b"), {"name": "scratch", "emptyDir": {}}, missing("a")]});
    node.create("p", &spec, &[]).await;
    let later = node.runtime.clock.now() + SignedDuration::from_secs(126);
    node.until_runtime(|_| node.runtime.clock.now() > later).await;
    let failed = |name: &str| {
        format!(
            "MountVolume.SetUp failed for volume {name:?} : hostPath type check failed: /none/{name} is not a directory"
        )
    };
    let late = "Unable to attach or mount volumes: unmounted volumes=[a b], unattached volumes=[], \
        failed to process volumes=[]: context deadline exceeded";
    let expected = [failed("a"), failed("b"), late.to_owned()];
    let events: Api<Event> = Api::namespaced(lab.client.clone(), "default");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
    loop {
        let all = events.list(&ListParams::default()).await.expect("the API answers").items;
        let told = all.into_iter().filter(|event| event.reason.as_deref() == Some("FailedMount"));
        let mut told: Vec<String> = told.filter_map(|event| event.message).collect();
        told.sort();
        told.dedup();
        if told == expected {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{told:#?}");
        node.hold().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crashes_waits_longer_each_time() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    let crash = json!({"containers": [{"name": "main", "image": "i:1", "command": ["exit", "3"]}]});
    node.create("p", &crash, &[]).await;
    let began = node.runtime.clock.now();
    node.until("p", |pod| (pod["status"]["containerStatuses"][0]["restartCount"] == 3).then_some(())).await;
    let took = node.runtime.clock.now().duration_since(began).as_secs();
    assert!(took >= 30, "at once, after 10 s, after 20 s: {took}");
    node.delete("p").await;
    node.until("p", |pod| pod.is_null().then_some(())).await;
    node.until_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_runtime_refuses_again_and_again_is_asked_for_once_a_second() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    node.boot().await;
    node.create("p", &work(), &[]).await;
    node.until("p", |pod| finished(pod).then_some(())).await;
    let refused = ["remove init", "remove main"];
    node.runtime.state().stubborn = refused.map(str::to_owned).into();
    node.delete("p").await;
    let asked = |state: &State| state.calls.iter().filter(|call| refused.contains(&call.as_str())).count();
    node.until_runtime(|state| asked(state) >= 2).await;
    // Nobody moves the clock, so there is nothing to do again: only what was under way may still come.
    node.hold().await;
    let before = asked(&node.runtime.state());
    node.hold().await;
    assert_eq!(asked(&node.runtime.state()), before);
    node.runtime.state().stubborn.clear();
    node.until_clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_pods_need_no_api_and_show_in_it() {
    let lab = Lab::new().await;
    let mut node = Node::new(&lab).await;
    let manifest = |command: &str| {
        let spec = format!("{{containers: [{{name: main, image: \"i:1\", command: [{command}]}}]}}");
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n")
    };
    let ran = |count: usize| move |state: &State| state.ran.len() == count && state.containers.len() == 1;
    node.put("p.yaml", &manifest("run"));
    node.put("q.yaml", "not: a pod");
    node.boot_alone().await;
    node.until_runtime(ran(1)).await;

    // One that has done its work is free of the node without anybody being told.
    let once = manifest("exit, '0'")
        .replace("name: p", "name: once")
        .replace("{containers", "{restartPolicy: Never, containers");
    node.put("once.yaml", &once);
    node.until_runtime(|state| state.ran.len() == 2).await;
    node.until_cgroups(1).await;
    std::fs::remove_file(node.manifest("once.yaml")).expect("it is there");
    node.until_runtime(ran(2)).await;

    // Another manifest is another pod, which waits for the end of the one before it.
    node.put("p.yaml", &manifest("run, twice"));
    node.until_runtime(ran(3)).await;
    assert_eq!(node.runtime.state().ran, ["main: run", "main: exit 0", "main: run twice"]);

    // It goes on under the next kubelet, which has an API server.
    node.kill();
    let folder = node.manifest("");
    let aside = folder.with_file_name("aside");
    std::fs::rename(&folder, &aside).expect("it is there");
    let circle = folder.with_file_name("manifests");
    std::os::unix::fs::symlink("manifests", &circle).expect("there is room");
    let (before, later) =
        (node.runtime.state().calls.len(), node.runtime.clock.now() + SignedDuration::from_secs(20));
    node.boot().await;
    node.until_runtime(|_| node.runtime.clock.now() > later).await;
    assert_eq!(node.runtime.state().calls.len(), before, "nothing ends while the folder cannot be read");
    std::fs::remove_file(&circle).and_then(|()| std::fs::rename(&aside, &folder)).expect("it is there");
    let running = |pod: &Value| (pod["status"]["phase"] == "Running").then(|| pod["metadata"].clone());
    let first = node.until("p", running).await;
    assert_eq!(first["ownerReferences"][0]["uid"], "of-the-node");
    assert_eq!(
        first["annotations"]["kubernetes.io/config.mirror"],
        first["annotations"]["kubernetes.io/config.hash"]
    );
    assert_eq!(first["annotations"]["kubernetes.io/config.source"], "file");

    // Who deletes the mirror gets another.
    node.delete("p").await;
    node.until("p", |pod| running(pod).filter(|again| again["uid"] != first["uid"])).await;
    assert_eq!(node.runtime.state().ran.len(), 3, "nothing was started again");

    // One that is taken out and put back while it ends runs again.
    let kept = node.manifest("kept.yaml");
    let aside = node.manifest(".kept.yaml");
    let slow = "[deaf], lifecycle: {preStop: {exec: {command: [farewell]}}}";
    node.put("kept.yaml", &manifest("deaf").replace("name: p", "name: back").replace("[deaf]", slow));
    node.until("back", running).await;
    std::fs::rename(&kept, &aside).expect("it is there");
    node.until_runtime(|state| state.ran.last().is_some_and(|what| what.contains("farewell"))).await;
    std::fs::rename(&aside, &kept).expect("it is there");
    node.until_runtime(|state| state.ran.last().is_some_and(|what| what == "main: deaf")).await;
    node.until("back", running).await;
    std::fs::remove_file(kept).expect("it is there");
    node.until("back", |pod| pod.is_null().then_some(())).await;

    // Who deletes the manifest while nobody looks has it ended.
    node.kill();
    std::fs::remove_file(node.manifest("p.yaml")).expect("it is there");
    node.boot().await;
    node.until("p", |pod| pod.is_null().then_some(())).await;
    node.until_clean().await;
}
