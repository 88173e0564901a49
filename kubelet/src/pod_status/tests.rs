//! Situation → what people see of a pod.

use serde_json::{Value, json};

use super::*;
use crate::plan::Health;
use crate::runtime_state::{ContainerView, SandboxView, State};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number of seconds is a time")
}

fn pod(spec: &Value, status: &Value) -> Pod {
    let pod = json!({
        "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 1},
        "spec": spec,
        "status": status,
    });
    serde_json::from_value(pod).expect("the test's pod is well-formed")
}

fn made(name: &str, attempt: u32, state: State) -> ContainerView {
    ContainerView {
        id: format!("{name}{attempt}"),
        name: name.to_owned(),
        attempt,
        state,
        sandbox: "s".to_owned(),
        started: 10_000_000_000,
        image: "docker.io/library/busybox:1.35".to_owned(),
        image_ref: "sha256:1".to_owned(),
        ..ContainerView::default()
    }
}

fn runs(name: &str) -> ContainerView {
    made(name, 0, State::Running)
}

fn ended(name: &str, attempt: u32, exit_code: i32) -> ContainerView {
    ContainerView { exit_code, finished: 20_000_000_000, ..made(name, attempt, State::Exited) }
}

/// What else a case has.
#[derive(Default)]
struct Case {
    status: Value,
    waiting: Vec<(&'static str, &'static str, &'static str)>,
    health: HealthMap,
    ended: Option<Ended>,
    unresized: Option<Unresized>,
    over: bool,
}

fn view(ready: bool, containers: &[ContainerView]) -> PodView {
    let sandbox =
        SandboxView { id: "s".to_owned(), ready, ips: vec!["10.0.0.2".to_owned()], ..SandboxView::default() };
    let mut view = PodView { sandboxes: vec![sandbox], containers: containers.to_vec() };
    view.sort();
    view
}

fn rendered(spec: &Value, view: &PodView, case: &Case) -> PodStatus {
    let status = if case.status.is_null() { json!({}) } else { case.status.clone() };
    let waiting = case.waiting.iter().map(|(name, reason, message)| {
        ((*name).to_owned(), Waiting { reason: (*reason).to_owned(), message: (*message).to_owned() })
    });
    render(&Facts {
        pod: &pod(spec, &status),
        view,
        waiting: &waiting.collect(),
        health: &case.health,
        host_ips: &["192.0.2.1".to_owned()],
        runtime: "containerd",
        ended: case.ended.as_ref(),
        unresized: case.unresized.as_ref(),
        over: case.over,
        seen: at(5),
        now: at(30),
    })
}

/// A status in short words: phase, then each condition that does not hold, then each container.
fn short(status: &PodStatus) -> Vec<String> {
    let reason = status.reason.as_ref().map(|reason| format!(" {reason}")).unwrap_or_default();
    let mut lines = vec![format!("{}{reason}", status.phase.as_deref().unwrap_or_default())];
    for condition in status.conditions.iter().flatten().filter(|c| c.status != "True" || c.reason.is_some()) {
        let words = [
            Some(&condition.type_),
            Some(&condition.status),
            condition.reason.as_ref(),
            condition.message.as_ref(),
        ];
        lines.push(words.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "));
    }
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    for container in lists.into_iter().flatten().flatten() {
        let ready = if container.ready { " ready" } else { "" };
        let started = if container.started == Some(true) { " started" } else { "" };
        let state = state(container.state.as_ref());
        let last = match state_of(container.last_state.as_ref()) {
            Some(last) => format!(" after {last}"),
            None => String::new(),
        };
        lines.push(format!("{}{} {state}{ready}{started}{last}", container.name, container.restart_count));
    }
    lines
}

fn state(state: Option<&k8s_openapi::api::core::v1::ContainerState>) -> String {
    state_of(state).unwrap_or_else(|| "nothing".to_owned())
}

fn state_of(state: Option<&k8s_openapi::api::core::v1::ContainerState>) -> Option<String> {
    let state = state?;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default();
        return Some(format!("waits {}{message}", waiting.reason.as_deref().unwrap_or_default()));
    }
    if let Some(end) = &state.terminated {
        return Some(format!("{} {}", end.reason.as_deref().unwrap_or_default(), end.exit_code));
    }
    state.running.as_ref().map(|_| "runs".to_owned())
}

fn check(case: &str, spec: &Value, view: &PodView, around: &Case, expected: &[&str]) {
    assert_eq!(short(&rendered(spec, view, around)), expected, "{case}");
}

#[test]
fn a_resize_that_waits_is_told_and_shows_what_containers_have() {
    let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "9"}}}]});
    let before = json!({"requests": {"cpu": "1"}});
    let status = json!({
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "resources": before, "allocatedResources": {"cpu": "1"}}],
        "conditions": [{"type": "PodResizeInProgress", "status": "True"}],
    });
    let why = Unresized::Pending { reason: "Infeasible", message: "too small".to_owned() };
    for (unresized, told, has) in [(Some(why), true, "1"), (None, false, "9")] {
        let around = Case { status: status.clone(), unresized, ..Case::default() };
        let shown = rendered(&spec, &view(true, &[runs("c")]), &around);
        let conditions: Vec<_> = shown.conditions.iter().flatten().collect();
        let of_resize: Vec<_> = conditions.iter().filter(|c| c.type_.starts_with("PodResize")).collect();
        assert_eq!(of_resize.len(), usize::from(told), "{of_resize:?}");
        assert!(of_resize.iter().all(|c| c.type_ == "PodResizePending" && c.status == "True"));
        let container = &shown.container_statuses.as_ref().expect("there is one")[0];
        let amounts = [
            container.allocated_resources.as_ref(),
            container.resources.as_ref().and_then(|resources| resources.requests.as_ref()),
        ];
        assert!(amounts.iter().all(|a| a.is_some_and(|a| a["cpu"].0 == has)), "{container:?}");
    }
}

#[test]
fn ephemeral_containers_are_shown_and_decide_nothing() {
    let spec = json!({"containers": [{"name": "c"}], "ephemeralContainers": [{"name": "e", "image": "i"}]});
    let around = Case::default();
    check(
        "it waits",
        &spec,
        &view(true, &[runs("c")]),
        &around,
        &["Running", "c0 runs ready started", "e0 waits ContainerCreating"],
    );
    check(
        "it runs",
        &spec,
        &view(true, &[runs("c"), runs("e")]),
        &around,
        &["Running", "c0 runs ready started", "e0 runs"],
    );
    check(
        "it failed",
        &spec,
        &view(true, &[runs("c"), ended("e", 0, 1)]),
        &around,
        &["Running", "c0 runs ready started", "e0 Error 1"],
    );
}

const UNREADY: [&str; 2] = [
    "Ready False ContainersNotReady containers with unready status: [c]",
    "ContainersReady False ContainersNotReady containers with unready status: [c]",
];
const COMPLETED: [&str; 4] = [
    "PodReadyToStartContainers False",
    "Initialized True PodCompleted",
    "Ready False PodCompleted",
    "ContainersReady False PodCompleted",
];
const FAILED: [&str; 3] =
    ["PodReadyToStartContainers False", "Ready False PodFailed", "ContainersReady False PodFailed"];

fn lines<'a>(phase: &'a str, conditions: &[&'a str], containers: &[&'a str]) -> Vec<&'a str> {
    [&[phase], conditions, containers].concat()
}

#[test]
fn one_container_from_its_beginning_to_its_end() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "c"}]});
    let always = spec("Always");
    let none = Case::default();
    let no_sandbox = ["PodReadyToStartContainers False", UNREADY[0], UNREADY[1]];
    check(
        "new",
        &always,
        &PodView::default(),
        &none,
        &lines("Pending", &no_sandbox, &["c0 waits ContainerCreating"]),
    );
    check(
        "made",
        &always,
        &view(true, &[]),
        &none,
        &lines("Pending", &UNREADY, &["c0 waits ContainerCreating"]),
    );
    check("runs", &always, &view(true, &[runs("c")]), &none, &["Running", "c0 runs ready started"]);

    let refused = "Failed to create pod sandbox: no";
    let waits = Case { waiting: vec![("", "", refused)], ..Case::default() };
    let words = format!("c0 waits ContainerCreating ({refused})");
    let expected = lines("Pending", &no_sandbox, &[&words]);
    check("gets no sandbox", &always, &PodView::default(), &waits, &expected);

    let pulling =
        Case { waiting: vec![("c", "ImagePullBackOff", "Back-off pulling image \"x\"")], ..Case::default() };
    let words = "c0 waits ImagePullBackOff (Back-off pulling image \"x\")";
    check("no image", &always, &view(true, &[]), &pulling, &lines("Pending", &UNREADY, &[words]));

    let crashed = view(true, &[ended("c", 4, 3), ended("c", 3, 3)]);
    check("crashed", &always, &crashed, &none, &lines("Running", &UNREADY, &["c4 Error 3 after Error 3"]));
    let held = Case { waiting: vec![("c", "CrashLoopBackOff", "back-off 40s")], ..Case::default() };
    let words = "c4 waits CrashLoopBackOff (back-off 40s) after Error 3";
    check("waits to restart", &always, &crashed, &held, &lines("Running", &UNREADY, &[words]));

    let over = Case { over: true, ..Case::default() };
    let dead = |code| view(false, &[ended("c", 0, code)]);
    check("done", &spec("OnFailure"), &dead(0), &over, &lines("Succeeded", &COMPLETED, &["c0 Completed 0"]));
    check("failed", &spec("Never"), &dead(3), &over, &lines("Failed", &FAILED, &["c0 Error 3"]));
    let retried = lines("Running", &UNREADY, &["c0 Error 1"]);
    check("tried again", &spec("OnFailure"), &view(true, &[ended("c", 0, 1)]), &none, &retried);
    let killed = ContainerView { reason: "OOMKilled".to_owned(), ..ended("c", 0, 137) };
    check(
        "killed",
        &spec("Never"),
        &view(false, &[killed]),
        &over,
        &lines("Failed", &FAILED, &["c0 OOMKilled 137"]),
    );
}

#[test]
fn two_containers_one_of_which_failed() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]});
    let expected = [
        "Running",
        "Ready False ContainersNotReady containers with unready status: [b]",
        "ContainersReady False ContainersNotReady containers with unready status: [b]",
        "a0 runs ready started",
        "b0 Error 1",
    ];
    check("one runs on", &spec, &view(true, &[runs("a"), ended("b", 0, 1)]), &Case::default(), &expected);
    let both = rendered(&spec, &view(true, &[ended("a", 0, 0), ended("b", 0, 1)]), &Case::default());
    assert_eq!(both.phase.as_deref(), Some("Failed"));
}

#[test]
fn init_containers() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "c"}]});
    let incomplete = "Initialized False ContainersNotInitialized containers with incomplete status: [i j]";
    let second = "Initialized False ContainersNotInitialized containers with incomplete status: [j]";
    let none = Case::default();
    let waits = "c0 waits PodInitializing";
    let unstarted = "j0 waits PodInitializing";
    let expected = lines(
        "Pending",
        &[incomplete, UNREADY[0], UNREADY[1]],
        &["i0 waits PodInitializing", unstarted, waits],
    );
    check("nothing is made yet", &spec("Always"), &view(true, &[]), &none, &expected);
    let created = made("i", 0, State::Created);
    check("the first is made", &spec("Always"), &view(true, &[created]), &none, &expected);
    let expected = lines("Pending", &[incomplete, UNREADY[0], UNREADY[1]], &["i0 runs", unstarted, waits]);
    check("the first runs", &spec("Always"), &view(true, &[runs("i")]), &none, &expected);
    let expected =
        lines("Pending", &[second, UNREADY[0], UNREADY[1]], &["i0 Completed 0 ready", "j0 runs", waits]);
    check("the second runs", &spec("Always"), &view(true, &[ended("i", 0, 0), runs("j")]), &none, &expected);
    let done = [ended("i", 0, 0), ended("j", 0, 0), runs("c")];
    let expected = ["Running", "i0 Completed 0 ready", "j0 Completed 0 ready", "c0 runs ready started"];
    check("both are done", &spec("Always"), &view(true, &done), &none, &expected);
    let expected = lines(
        "Pending",
        &[incomplete, UNREADY[0], UNREADY[1]],
        &["i4 Error 1 after Error 1", unstarted, waits],
    );
    let again = view(true, &[ended("i", 4, 1), ended("i", 3, 1)]);
    check("the first fails again and again", &spec("Always"), &again, &none, &expected);
    let conditions = [FAILED[0], incomplete, FAILED[1], FAILED[2]];
    let expected = lines("Failed", &conditions, &["i0 Error 1", unstarted, waits]);
    let over = Case { over: true, ..Case::default() };
    check("the first may not fail", &spec("Never"), &view(false, &[ended("i", 0, 1)]), &over, &expected);
}

#[test]
fn sidecars_count_for_readiness_and_hold_back_the_end() {
    let spec = json!({
        "restartPolicy": "OnFailure",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "c"}],
    });
    let none = Case::default();
    let both = ["Running", "s0 runs ready started", "c0 runs ready started"];
    check("both run", &spec, &view(true, &[runs("s"), runs("c")]), &none, &both);
    let down = rendered(&spec, &view(true, &[ended("s", 0, 1), runs("c")]), &none);
    let ready =
        down.conditions.iter().flatten().find(|c| c.type_ == "Ready").and_then(|c| c.message.as_deref());
    assert_eq!(ready, Some("containers with unready status: [s]"));
    let running = Case { status: json!({"phase": "Running"}), ..Case::default() };
    let ending = rendered(&spec, &view(true, &[runs("s"), ended("c", 0, 0)]), &running);
    assert_eq!(ending.phase.as_deref(), Some("Running"), "the sidecar still runs");
    let over = Case { over: true, ..Case::default() };
    let expected = lines("Succeeded", &COMPLETED, &["s0 Error 137", "c0 Completed 0"]);
    check("all has ended", &spec, &view(false, &[ended("s", 0, 137), ended("c", 0, 0)]), &over, &expected);
}

#[test]
fn probes_decide_readiness() {
    let probe = json!({"exec": {"command": ["x"]}});
    let readiness = json!({"containers": [{"name": "c", "readinessProbe": probe}]});
    let startup = json!({"containers": [{"name": "c", "startupProbe": probe}]});
    let up = view(true, &[runs("c")]);
    let health = |started, ready| Case {
        health: [("c0".to_owned(), Health { started, ready, failed: None })].into(),
        ..Case::default()
    };
    check(
        "not asked yet",
        &readiness,
        &up,
        &Case::default(),
        &lines("Running", &UNREADY, &["c0 runs started"]),
    );
    check(
        "not ready",
        &readiness,
        &up,
        &health(true, false),
        &lines("Running", &UNREADY, &["c0 runs started"]),
    );
    check("ready", &readiness, &up, &health(true, true), &["Running", "c0 runs ready started"]);
    check("starting", &startup, &up, &health(false, true), &lines("Running", &UNREADY, &["c0 runs"]));
    check("started", &startup, &up, &health(true, true), &["Running", "c0 runs ready started"]);
}

#[test]
fn readiness_gates_wait_for_others() {
    let spec = json!({"readinessGates": [{"conditionType": "example.com/g"}], "containers": [{"name": "c"}]});
    let up = view(true, &[runs("c")]);
    let with = |status: &str| {
        let gate = json!({"type": "example.com/g", "status": status});
        Case { status: json!({"conditions": [gate]}), ..Case::default() }
    };
    let message = "corresponding condition of pod readiness gate \"example.com/g\" does not exist.";
    let missing = format!("Ready False ReadinessGatesNotReady {message}");
    check("missing", &spec, &up, &Case::default(), &["Running", &missing, "c0 runs ready started"]);
    let message = "the status of pod readiness gate \"example.com/g\" is not \"True\", but False";
    let closed = format!("Ready False ReadinessGatesNotReady {message}");
    let expected = ["Running", &closed, "example.com/g False", "c0 runs ready started"];
    check("closed", &spec, &up, &with("False"), &expected);
    check("open", &spec, &up, &with("True"), &["Running", "c0 runs ready started"]);
}

#[test]
fn the_node_ends_or_refuses_a_pod() {
    let spec = json!({"containers": [{"name": "c"}]});
    let deadline = |over| Case {
        ended: Some(Ended::new("DeadlineExceeded", "too long".to_owned())),
        over,
        ..Case::default()
    };
    check(
        "it still runs",
        &spec,
        &view(true, &[runs("c")]),
        &deadline(false),
        &["Running", "c0 runs ready started"],
    );
    let expected = lines("Failed DeadlineExceeded", &FAILED, &["c0 Error 137"]);
    check("it has ended", &spec, &view(false, &[ended("c", 0, 137)]), &deadline(true), &expected);
    let refused = rendered(&spec, &PodView::default(), &deadline(true));
    assert_eq!(refused.message.as_deref(), Some("too long"));
    assert_eq!(refused.container_statuses, None, "it never got containers");
    check("refused", &spec, &PodView::default(), &deadline(true), &["Failed DeadlineExceeded"]);
    let status = serde_json::to_value(&refused).expect("a status is JSON");
    let restarted = rendered(&spec, &PodView::default(), &Case { status, over: true, ..Case::default() });
    assert_eq!(restarted, refused, "also for a kubelet that was restarted");
}

#[test]
fn keeps_what_the_runtime_forgot() {
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "c"}]});
    let old = |state: Value| {
        let container = json!({"name": "c", "ready": false, "restartCount": 2, "image": "", "imageID": "",
            "containerID": "containerd://x", "state": state});
        json!({"phase": "Running", "containerStatuses": [container]})
    };
    let over = |state: Value| Case { status: old(state), over: true, ..Case::default() };
    let end = json!({"terminated": {"exitCode": 4, "reason": "Error"}});
    let expected = rendered(&spec, &PodView::default(), &over(end));
    assert_eq!(short(&expected).last().map(String::as_str), Some("c2 Error 4"));
    let expected = lines("Failed", &FAILED, &["c2 ContainerStatusUnknown 137"]);
    check("it ran", &spec, &PodView::default(), &over(json!({"running": {}})), &expected);
    let finished = Case { status: json!({"phase": "Succeeded"}), ..Case::default() };
    let again = rendered(&spec, &view(true, &[runs("c")]), &finished);
    assert_eq!(again.phase.as_deref(), Some("Succeeded"), "a finished pod never goes back");
}

#[test]
fn what_never_began_has_failed_when_its_pod_is_over() {
    let spec = json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}]});
    let plain = json!({"containers": [{"name": "c"}]});
    let waits = |name: &str| {
        json!({"name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"waiting": {"reason": "PodInitializing"}}})
    };
    let ended = |name: &str, code: i32| {
        json!({"name": name, "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": code, "reason": "Completed"}}})
    };
    let containers = |spec: &Value, init: &[Value]| {
        let status =
            json!({"phase": "Pending", "initContainerStatuses": init, "containerStatuses": [waits("c")]});
        let status = rendered(spec, &PodView::default(), &Case { status, over: true, ..Case::default() });
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        short(&status).into_iter().filter(|line| line.contains("0 ")).collect::<Vec<_>>()
    };
    let lost = |name: &str| format!("{name}0 ContainerStatusUnknown 137");
    assert_eq!(containers(&plain, &[]), [lost("c")]);
    // The first is taken for begun, and nothing behind the last that was.
    let none = [waits("a"), waits("b")];
    assert_eq!(
        containers(&spec, &none),
        [lost("a"), "b0 waits PodInitializing".into(), "c0 waits PodInitializing".into()]
    );
    let one = [ended("a", 0), waits("b")];
    let a = "a0 Completed 0".to_owned();
    assert_eq!(
        containers(&spec, &one),
        [a.clone(), "b0 waits PodInitializing".into(), "c0 waits PodInitializing".into()]
    );
    let sidecar = json!({"initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
        "containers": [{"name": "c"}]});
    let begun = [ended("a", 0), ended("b", 143)];
    assert_eq!(containers(&sidecar, &begun), [a.clone(), "b0 Completed 143".into(), lost("c")]);
    assert_eq!(containers(&spec, &begun)[2], "c0 waits PodInitializing");
    let both = [ended("a", 0), ended("b", 0)];
    assert_eq!(containers(&spec, &both), [a, "b0 Completed 0".into(), lost("c")]);
}

#[test]
fn all_fields_of_a_running_pod() {
    let amounts = json!({"cpu": "100m", "memory": "32Mi"});
    let spec = json!({"containers": [{
        "name": "c",
        "resources": {"limits": amounts, "requests": amounts},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": true}, {"name": "w", "mountPath": "/w"}],
    }]});
    let transition = json!({"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:07Z"});
    let case = Case { status: json!({"conditions": [transition]}), ..Case::default() };
    let status =
        serde_json::to_value(rendered(&spec, &view(true, &[runs("c")]), &case)).expect("a status is JSON");
    let condition = |kind: &str, since: &str| json!({"type": kind, "status": "True", "lastTransitionTime": since, "observedGeneration": 1});
    let now = "1970-01-01T00:00:30Z";
    let expected = json!({
        "allocatedResources": amounts,
        "conditions": [
            condition("PodReadyToStartContainers", now),
            condition("Initialized", now),
            condition("Ready", "1970-01-01T00:00:07Z"),
            condition("ContainersReady", now),
            condition("PodScheduled", now),
        ],
        "containerStatuses": [{
            "allocatedResources": amounts,
            "containerID": "containerd://c0",
            "image": "docker.io/library/busybox:1.35",
            "imageID": "sha256:1",
            "lastState": {},
            "name": "c",
            "ready": true,
            "resources": {"limits": amounts, "requests": amounts},
            "restartCount": 0,
            "started": true,
            "state": {"running": {"startedAt": "1970-01-01T00:00:10Z"}},
            "volumeMounts": [
                {"name": "v", "mountPath": "/v", "readOnly": true, "recursiveReadOnly": "Disabled"},
                {"name": "w", "mountPath": "/w"},
            ],
        }],
        "hostIP": "192.0.2.1",
        "hostIPs": [{"ip": "192.0.2.1"}],
        "observedGeneration": 1,
        "phase": "Running",
        "podIP": "10.0.0.2",
        "podIPs": [{"ip": "10.0.0.2"}],
        "qosClass": "Guaranteed",
        "resources": {"limits": amounts, "requests": amounts},
        "startTime": "1970-01-01T00:00:05Z",
    });
    assert_eq!(status, expected);
}

#[test]
fn a_patch_takes_away_what_is_no_longer_so_of_resizing_and_leaves_what_others_say() {
    let with = |kinds: &[&str]| {
        let conditions: Vec<Value> =
            kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        serde_json::from_value(json!({"conditions": conditions})).expect("it is well-formed")
    };
    let all = ["Ready", "PodResizePending", "PodResizeInProgress", "example.com/other"];
    let patch = patch::between("u", &with(&all), &with(&["Ready"])).expect("something changed");
    let gone =
        ["PodResizePending", "PodResizeInProgress"].map(|kind| json!({"type": kind, "$patch": "delete"}));
    assert_eq!(patch["status"]["conditions"], json!(gone));
}

#[test]
fn patches_only_what_changed() {
    let spec = json!({"containers": [{"name": "c"}]});
    let up = rendered(&spec, &view(true, &[runs("c")]), &Case::default());
    assert_eq!(patch::between("u", &up, &up), None);
    let mut down = up.clone();
    let ready =
        down.conditions.iter_mut().flatten().find(|c| c.type_ == "Ready").expect("there is such a condition");
    ready.status = "False".to_owned();
    ready.reason = Some("ContainersNotReady".to_owned());
    down.pod_ips = Some(vec![PodIP { ip: "10.0.0.3".to_owned() }]);
    let order: Vec<Value> =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .map(|kind| json!({"type": kind}))
            .into();
    let condition = json!({"type": "Ready", "status": "False", "reason": "ContainersNotReady",
        "lastTransitionTime": "1970-01-01T00:00:30Z", "observedGeneration": 1});
    let expected = json!({"metadata": {"uid": "u"}, "status": {
        "$setElementOrder/conditions": order,
        "conditions": [condition],
        "podIPs": [{"ip": "10.0.0.3"}, {"$patch": "replace"}],
    }});
    assert_eq!(patch::between("u", &up, &down), Some(expected));
    let back = patch::between("u", &down, &up).expect("something changed");
    assert_eq!(back["status"]["conditions"][0]["reason"], Value::Null, "what is gone is taken away");
}

#[test]
fn the_last_words_of_all_containers_are_bounded() {
    for (containers, most) in [(1, 12 * 1024 - 1), (3, 4 * 1024 - 1), (5, 2457)] {
        let names: Vec<String> = (0..containers).map(|number| format!("c{number}")).collect();
        let specs: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        // A letter of two bytes does not fit the end evenly.
        let message = format!("x{}", "\u{e9}".repeat(10_000));
        let ended = |name: &String| ContainerView { message: message.clone(), ..ended(name, 0, 1) };
        let view = view(true, &names.iter().map(ended).collect::<Vec<_>>());
        let status = rendered(&json!({"containers": specs}), &view, &Case::default());
        for container in status.container_statuses.iter().flatten() {
            let state = container.state.clone().and_then(|state| state.terminated);
            let words = state.and_then(|ended| ended.message).expect("it left some");
            assert_eq!(words.len(), most, "{containers}");
        }
    }
}
