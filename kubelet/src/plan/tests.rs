//! Situation → steps, in short words.

use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number of seconds is a time")
}

const NOW: i64 = 1000;

fn pod(spec: &Value) -> Pod {
    let mut spec = spec.clone();
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            container["image"] = json!("i");
        }
    }
    let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec});
    serde_json::from_value(pod).expect("the test's pod is well-formed")
}

fn hash(name: &str) -> String {
    let image = Some("i".to_owned());
    pod_spec::container_hash(&Container { name: name.to_owned(), image, ..Container::default() })
}

/// A sandbox with the id `s` and its number.
fn sandbox(attempt: u32, ready: bool) -> SandboxView {
    let ips = if ready { vec!["10.0.0.2".to_owned()] } else { Vec::new() };
    SandboxView { id: format!("s{attempt}"), attempt, ready, created: i64::from(attempt), ips }
}

/// A container of sandbox `s0` with its name and number as id.
fn made(name: &str, attempt: u32, state: State) -> ContainerView {
    ContainerView {
        id: format!("{name}{attempt}"),
        name: name.to_owned(),
        attempt,
        sandbox: "s0".to_owned(),
        hash: hash(name),
        state,
        ..ContainerView::default()
    }
}

fn runs(name: &str) -> ContainerView {
    made(name, 0, State::Running)
}

/// A container that ended now.
fn ended(name: &str, attempt: u32, exit_code: i32) -> ContainerView {
    let finished = NOW * 1_000_000_000;
    ContainerView { exit_code, finished, ..made(name, attempt, State::Exited) }
}

fn view(sandboxes: &[SandboxView], containers: &[ContainerView]) -> PodView {
    let mut view = PodView { sandboxes: sandboxes.to_vec(), containers: containers.to_vec() };
    view.sort();
    view
}

fn within(containers: &[ContainerView]) -> PodView {
    view(&[sandbox(0, true)], containers)
}

/// A plan in short words.
fn short(plan: &Plan) -> Vec<String> {
    let stop = |stop: &Stop| {
        let after =
            if stop.after.is_empty() { String::new() } else { format!(" after {}", stop.after.join("+")) };
        format!("{}{after} in {}s: {}", stop.id, stop.grace, stop.message)
    };
    let mut words: Vec<String> = plan
        .steps
        .iter()
        .map(|step| match step {
            Step::MakeSandbox { attempt } => format!("make sandbox {attempt}"),
            Step::Start { name, role, attempt, after_end } => {
                let again = if after_end.is_some() { " again" } else { "" };
                format!("start {role:?} {name}{attempt}{again}")
            }
            Step::Stop(stops) => format!("stop {}", stops.iter().map(stop).collect::<Vec<_>>().join(", ")),
            Step::StopSandbox { id } => format!("stop sandbox {id}"),
            Step::RemoveContainer { id } => format!("remove {id}"),
            Step::RemoveSandbox { id } => format!("remove sandbox {id}"),
            other => format!("{other:?}"),
        })
        .collect();
    for (name, waiting) in &plan.waiting {
        words.push(format!("{name} waits: {} {}", waiting.reason, waiting.message));
    }
    words.extend(plan.look_again.map(|when| format!("look again in {}s", when.as_second() - NOW)));
    words.extend(plan.done.then(|| "done".to_owned()));
    words
}

#[derive(Default)]
struct Around {
    backoffs: BTreeMap<String, Backoff>,
    holds: BTreeMap<String, Hold>,
    health: HealthMap,
}

fn planned(pod: &Pod, view: &PodView, around: &Around) -> Vec<String> {
    let Around { backoffs, holds, health } = around;
    short(&next_steps(&Situation { pod, view, backoffs, holds, health, now: at(NOW) }))
}

fn check(spec: &Value, cases: &[(&str, PodView, &[&str])]) {
    let pod = pod(spec);
    for (case, view, expected) in cases {
        assert_eq!(planned(&pod, view, &Around::default()), *expected, "{case}");
    }
}

#[test]
fn starts_containers_in_their_order() {
    let spec = json!({
        "initContainers": [
            {"name": "i"},
            {"name": "s", "restartPolicy": "Always"},
            {"name": "j"},
        ],
        "containers": [{"name": "a"}, {"name": "b"}],
    });
    let begun = [ended("i", 0, 0), runs("s"), ended("j", 0, 0)];
    let with = |more: &[ContainerView]| within(&[&begun[..], more].concat());
    check(
        &spec,
        &[
            ("nothing is there", view(&[], &[]), &["make sandbox 0"]),
            ("the sandbox stands", within(&[]), &["start Init i0"]),
            ("the first init container runs", within(&[runs("i")]), &[]),
            ("it failed", within(&[ended("i", 0, 1)]), &["start Init i1 again"]),
            ("it has done its work", within(&[ended("i", 0, 0)]), &["start Sidecar s0"]),
            ("the sidecar runs", within(&begun[..2]), &["start Init j0"]),
            ("the second init container runs", within(&[ended("i", 0, 0), runs("s"), runs("j")]), &[]),
            ("all is set up", with(&[]), &["start Main a0", "start Main b0"]),
            ("one has started", with(&[runs("a")]), &["start Main b0"]),
            ("all run", with(&[runs("a"), runs("b")]), &[]),
            (
                "the sidecar ended meanwhile",
                within(&[ended("i", 0, 0), ended("s", 0, 0), ended("j", 0, 0), runs("a"), runs("b")]),
                &["start Sidecar s1 again"],
            ),
            ("the runtime forgot init containers", within(&[runs("s"), runs("a"), runs("b")]), &[]),
        ],
    );
}

#[test]
fn a_resize_restarts_where_its_policy_demands_it() {
    let with = |cpu: &str, policy: &str| {
        pod(&json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}},
            "resizePolicy": [{"resourceName": "cpu", "restartPolicy": policy}]}]}))
    };
    for (policy, expected) in [
        ("NotRequired", vec![]),
        ("RestartContainer", vec!["stop a0 in 30s: Container a definition changed, will be restarted"]),
    ] {
        let before = pod_spec::container_hash(&pod_spec::spec(&with("1", policy)).containers[0]);
        let running = ContainerView { hash: before, ..runs("a") };
        assert!(
            planned(&with("1", policy), &within(std::slice::from_ref(&running)), &Around::default())
                .is_empty()
        );
        assert_eq!(
            planned(&with("2", policy), &within(&[running]), &Around::default()),
            expected,
            "{policy}"
        );
    }
}

#[test]
fn an_ephemeral_container_runs_once_and_waits_for_nobody() {
    let spec = json!({
        "initContainers": [{"name": "i"}],
        "containers": [{"name": "a"}],
        "ephemeralContainers": [{"name": "e", "image": "i"}],
    });
    let begun = [ended("i", 0, 0), runs("a")];
    let with = |more: ContainerView| within(&[&begun[..], &[more]].concat());
    check(
        &spec,
        &[
            ("there is no sandbox", view(&[], &[]), &["make sandbox 0"]),
            ("the pod hangs in its first init container", within(&[runs("i")]), &["start Ephemeral e0"]),
            ("the pod runs", within(&begun), &["start Ephemeral e0"]),
            ("it runs", with(runs("e")), &[]),
            ("it failed", with(ended("e", 0, 1)), &[]),
        ],
    );
    let over = json!({"ephemeralContainerStatuses": [{"name": "e", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}]});
    let mut forgotten = pod(&spec);
    forgotten.status = serde_json::from_value(over).expect("a status");
    assert!(planned(&forgotten, &within(&begun), &Around::default()).is_empty(), "the runtime forgot it");
}

#[test]
fn a_sidecar_with_a_startup_probe_lets_pass_once_it_has_started() {
    let pod = pod(&json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["x"]}}}],
        "containers": [{"name": "a"}],
    }));
    let view = within(&[runs("s")]);
    for (started, expected) in [(false, vec![]), (true, vec!["start Main a0"])] {
        let health = Health { started, ready: true, failed: None };
        let around = Around { health: [("s0".to_owned(), health)].into(), ..Around::default() };
        assert_eq!(planned(&pod, &view, &around), expected, "started: {started}");
    }
}

#[test]
fn restarts_by_policy() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "a"}]});
    for (policy, exit_code, expected) in [
        ("Always", 0, &["start Main a1 again"][..]),
        ("Always", 1, &["start Main a1 again"]),
        ("OnFailure", 0, &["stop sandbox s0"]),
        ("OnFailure", 1, &["start Main a1 again"]),
        ("Never", 0, &["stop sandbox s0"]),
        ("Never", 1, &["stop sandbox s0"]),
    ] {
        check(&spec(policy), &[(policy, within(&[ended("a", 0, exit_code)]), expected)]);
    }
    let over = view(&[sandbox(0, false)], &[ended("a", 0, 1)]);
    check(&spec("Never"), &[("all is over", over, &["done"])]);
    let two = json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]});
    check(&two, &[("the other runs on", within(&[ended("a", 0, 1), runs("b")]), &[])]);
}

#[test]
fn an_init_container_that_may_not_fail_ends_the_pod() {
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}],
        "containers": [{"name": "a"}],
    });
    let failed = ended("i", 0, 1);
    check(
        &spec,
        &[
            (
                "the sidecar goes",
                within(&[runs("s"), failed.clone()]),
                &["stop s0 in 30s: Stopping container s"],
            ),
            ("then the sandbox", within(&[ended("s", 0, 137), failed.clone()]), &["stop sandbox s0"]),
            ("then nothing", view(&[sandbox(0, false)], &[ended("s", 0, 137), failed]), &["done"]),
        ],
    );
}

#[test]
fn sidecars_end_when_the_work_is_done() {
    let spec = json!({
        "restartPolicy": "OnFailure",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}],
    });
    let cases: [(&str, PodView, &[&str]); 2] = [
        ("work goes on", within(&[runs("s"), runs("a")]), &[]),
        ("work is done", within(&[runs("s"), ended("a", 0, 0)]), &["stop s0 in 30s: Stopping container s"]),
    ];
    check(&spec, &cases);
}

#[test]
fn a_crashing_container_waits_longer_each_time() {
    let pod = pod(&json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let first = Backoff::after(None, at(NOW - 60), at(NOW - 60));
    let second = Backoff::after(Some(first), at(NOW - 30), at(NOW - 30));
    let crashed = within(&[ended("a", 3, 1), runs("b")]);
    let waits = |delay: &str| {
        format!("a waits: CrashLoopBackOff back-off {delay} restarting failed container=a pod=p_d(u)")
    };
    for (backoff, expected) in [
        (None, vec!["start Main a4 again".to_owned()]),
        (Some(first), vec![waits("10s"), "look again in 10s".to_owned()]),
        (Some(second), vec![waits("20s"), "look again in 20s".to_owned()]),
    ] {
        let backoffs = backoff.map(|backoff| ("a".to_owned(), backoff)).into_iter().collect();
        assert_eq!(planned(&pod, &crashed, &Around { backoffs, ..Around::default() }), expected);
    }
    let long_ago = ContainerView { finished: (NOW - 11) * 1_000_000_000, ..ended("a", 3, 1) };
    let around = Around { backoffs: [("a".to_owned(), first)].into(), ..Around::default() };
    assert_eq!(planned(&pod, &within(&[long_ago, runs("b")]), &around), ["start Main a4 again"]);
}

#[test]
fn a_failed_start_is_tried_again_when_its_time_has_come() {
    let pod = pod(&json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let waiting = Waiting { reason: "ImagePullBackOff".to_owned(), message: "no such image".to_owned() };
    let shown = "a waits: ImagePullBackOff no such image";
    for (until, expected) in [
        (NOW + 7, vec!["start Main b0", shown, "look again in 7s"]),
        (NOW, vec!["start Main a0", "start Main b0", shown]),
    ] {
        let hash = pod_spec::container_hash(&pod_spec::spec(&pod).containers[0]);
        let hold = Hold { waiting: waiting.clone(), until: at(until), hash };
        let around = Around { holds: [("a".to_owned(), hold)].into(), ..Around::default() };
        assert_eq!(planned(&pod, &within(&[]), &around), expected);
        let mut corrected = pod.clone();
        corrected.spec.as_mut().expect("it has one").containers[0].image = Some("other".to_owned());
        assert_eq!(planned(&corrected, &within(&[]), &around), ["start Main a0", "start Main b0"]);
    }
    let hold = Hold { waiting: Waiting::default(), until: at(NOW + 4), hash: String::new() };
    let around = Around { holds: [(String::new(), hold)].into(), ..Around::default() };
    assert_eq!(planned(&pod, &view(&[], &[]), &around), ["look again in 4s"]);
}

#[test]
fn a_lost_sandbox_is_replaced_with_all_in_it() {
    let lost = || sandbox(0, false);
    let anew = || sandbox(1, true);
    let changed = "Pod sandbox changed, it will be killed and re-created.";
    let always = json!({"containers": [{"name": "a"}]});
    let stop = format!("stop a0 in 30s: {changed}");
    check(
        &always,
        &[
            ("its containers go first", view(&[lost()], &[runs("a")]), &[&stop]),
            (
                "then it is replaced",
                view(&[lost()], &[ended("a", 0, 137)]),
                &["stop sandbox s0", "make sandbox 1"],
            ),
            ("everything starts again", view(&[lost(), anew()], &[ended("a", 0, 137)]), &["start Main a1"]),
            (
                "what is empty is forgotten",
                view(&[lost(), anew()], &[]),
                &["start Main a0", "remove sandbox s0"],
            ),
        ],
    );
    let init = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let before = [ended("i", 0, 0), ended("a", 0, 137)];
    check(&init, &[("from the beginning", view(&[lost(), anew()], &before), &["start Init i1"])]);
    let never = json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]});
    let died = [ended("a", 0, 137)];
    check(&never, &[("a pod that never restarts is over", view(&[lost()], &died), &["done"])]);
    let on_failure = json!({"restartPolicy": "OnFailure", "containers": [{"name": "a"}, {"name": "b"}]});
    let half = [ended("a", 0, 0), ended("b", 0, 137)];
    let in_new = |c: ContainerView| ContainerView { sandbox: "s1".to_owned(), ..c };
    check(
        &on_failure,
        &[
            ("some work is left", view(&[lost()], &half), &["stop sandbox s0", "make sandbox 1"]),
            ("only that is done", view(&[lost(), anew()], &half), &["start Main b1"]),
            (
                "now all is done",
                view(&[lost(), anew()], &[half[0].clone(), in_new(ended("b", 1, 0))]),
                &["stop sandbox s1"],
            ),
        ],
    );
}

#[test]
fn a_probe_that_failed_ends_its_container() {
    let pod = |policy: &str| {
        pod(&json!({
            "restartPolicy": policy,
            "terminationGracePeriodSeconds": 20,
            "containers": [
                {"name": "a", "livenessProbe": {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 5},
                 "startupProbe": {"exec": {"command": ["x"]}}},
                {"name": "b"},
            ],
        }))
    };
    let (liveness, startup) = (Some("liveness"), Some("startup"));
    for (failed, policy, expected) in [
        (None, "Always", vec![]),
        (liveness, "Always", vec!["stop a0 in 5s: Container a failed liveness probe, will be restarted"]),
        (liveness, "OnFailure", vec!["stop a0 in 5s: Container a failed liveness probe, will be restarted"]),
        (liveness, "Never", vec!["stop a0 in 5s: Container a failed liveness probe"]),
        (startup, "Always", vec!["stop a0 in 20s: Container a failed startup probe, will be restarted"]),
        (startup, "Never", vec!["stop a0 in 20s: Container a failed startup probe"]),
    ] {
        let health = Health { started: true, ready: true, failed };
        let around = Around { health: [("a0".to_owned(), health)].into(), ..Around::default() };
        assert_eq!(planned(&pod(policy), &within(&[runs("a"), runs("b")]), &around), expected, "{policy}");
    }
}

#[test]
fn odd_containers_are_set_right() {
    let other = ContainerView { hash: "other".to_owned(), ..runs("a") };
    let unknown = "stop a0 in 30s: Container a is in unknown state, try killing it before restart";
    let changed = "stop a0 in 30s: Container a definition changed, will be restarted";
    let dead = |attempt| ContainerView { attempt, ..ended("a", attempt, 1) };
    let spec = json!({"containers": [{"name": "a"}]});
    check(
        &spec,
        &[
            ("made, never started", within(&[made("a", 0, State::Created)]), &["remove a0", "start Main a0"]),
            ("lost track of", within(&[made("a", 0, State::Unknown)]), &[unknown]),
            ("of another spec", within(&[other]), &[changed]),
            (
                "the last two are kept",
                within(&[made("a", 3, State::Running), dead(2), dead(1), dead(0)]),
                &["remove a1", "remove a0"],
            ),
            (
                "a second sandbox goes",
                view(&[sandbox(0, true), sandbox(1, true)], &[]),
                &["stop sandbox s0", "start Main a0"],
            ),
        ],
    );
    let never = json!({"restartPolicy": "Never", "containers": [{"name": "a"}]});
    let ended_of_another = ContainerView { hash: "other".to_owned(), ..ended("a", 0, 0) };
    check(&never, &[("a changed spec runs even so", within(&[ended_of_another]), &["start Main a1 again"])]);
}

#[test]
fn counts_on_from_what_the_api_remembers() {
    let status = json!({"containerStatuses": [{"name": "a", "restartCount": 4, "ready": false, "image": "",
        "imageID": "", "containerID": "containerd://x"}]});
    let mut pod = pod(&json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    pod.status = serde_json::from_value(status).expect("the test's status is well-formed");
    assert_eq!(planned(&pod, &within(&[]), &Around::default()), ["start Main a5", "start Main b0"]);
}

#[test]
fn a_pod_ends_in_order() {
    let pod = pod(&json!({
        "initContainers": [
            {"name": "s", "restartPolicy": "Always"},
            {"name": "i"},
            {"name": "t", "restartPolicy": "Always"},
        ],
        "containers": [{"name": "a"}, {"name": "b"}],
    }));
    let sidecars = || [runs("s"), runs("t")];
    let all = within(&[runs("a"), runs("b"), sidecars()[0].clone(), sidecars()[1].clone()]);
    let ends_after = |name: &str, after: &str| format!("{name}0{after} in 9s: Stopping container {name}");
    let ends = |name: &str| ends_after(name, "");
    let [a, b, s, t] = ["a", "b", "s", "t"].map(ends);
    let (s_after_t, t_after_main) = (ends_after("s", " after t0"), ends_after("t", " after a0+b0"));
    let init_too = within(&[runs("s"), runs("i")]);
    for (case, view, expected) in [
        (
            "main containers side by side, sidecars from the last to the first after them",
            all,
            vec![format!("stop {a}, {b}, {t_after_main}, {s_after_t}")],
        ),
        ("the sidecars alone", within(&sidecars()), vec![format!("stop {t}, {s_after_t}")]),
        ("the one before", within(&[runs("s"), ended("t", 0, 0)]), vec![format!("stop {s}")]),
        ("nobody waits for an init container", init_too, vec![format!("stop {}, {s}", ends("i"))]),
        (
            "the sandbox",
            within(&[ended("s", 0, 0), made("a", 0, State::Created)]),
            vec!["stop sandbox s0".to_owned()],
        ),
        ("nothing", view(&[sandbox(0, false)], &[ended("a", 0, 0)]), vec!["done".to_owned()]),
    ] {
        assert_eq!(short(&stop_steps(&pod, &view, 9)), expected, "{case}");
    }
    let unknown = short(&stop_steps(&Pod::default(), &within(&[runs("s"), runs("a")]), 9));
    assert_eq!(unknown, [format!("stop {s}, {a}")], "of a pod that nobody knows all end at once");
}

#[test]
fn a_rule_of_its_own_starts_a_container_again_that_its_policy_would_not() {
    let rule = |operator: &str, values: &[i32]| json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": values}}]);
    let one_of = json!({"restartPolicy": "Never", "containers": [
        {"name": "a", "restartPolicy": "Never", "restartPolicyRules": rule("In", &[42])},
    ]});
    check(
        &one_of,
        &[
            ("an exit that is named", within(&[ended("a", 0, 42)]), &["start Main a1 again"]),
            ("another", within(&[ended("a", 0, 1)]), &["stop sandbox s0"]),
        ],
    );
    let none_of = json!({"restartPolicy": "Never", "initContainers": [
        {"name": "i", "restartPolicy": "Never", "restartPolicyRules": rule("NotIn", &[3])},
    ], "containers": [{"name": "a"}]});
    check(
        &none_of,
        &[
            ("an exit that is not named", within(&[ended("i", 0, 1)]), &["start Init i1 again"]),
            ("the one that is", within(&[ended("i", 0, 3)]), &["stop sandbox s0"]),
        ],
    );
}
