//! What is seen → the stage, and the stage → steps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::runtime_state::{ContainerView, PodView, SandboxView, State};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number of seconds is a time")
}

fn pod(metadata: Value, phase: &str) -> Pod {
    let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c"}], "activeDeadlineSeconds": 100,
        "terminationGracePeriodSeconds": 20}, "status": {"phase": phase}});
    serde_json::from_value(pod).expect("the test's pod is well-formed")
}

fn deleted(grace: i64) -> Pod {
    let time = "2026-01-01T00:00:00Z";
    pod(json!({"deletionTimestamp": time, "deletionGracePeriodSeconds": grace}), "Running")
}

fn of_folder() -> Pod {
    pod(json!({"annotations": {"kubernetes.io/config.source": "file"}}), "Running")
}

fn ending(since: i64, grace: i64) -> Life {
    Life::Ending { since: at(since), grace, why: None, released: false, cleared: false }
}

#[test]
fn a_life_goes_on_in_one_direction() {
    let runs = pod(json!({}), "Running");
    let done = pod(json!({}), "Succeeded");
    let finished = || Life::Finished { why: None, swept: true };
    for (case, life, pod, known, now, next) in [
        ("nobody has judged it", Life::New, Some(&runs), &runs, 50, Life::New),
        ("it runs", Life::Running, Some(&runs), &runs, 50, Life::Running),
        ("it did its work", Life::New, Some(&done), &done, 50, Life::Finished { why: None, swept: false }),
        ("it stays finished", finished(), Some(&done), &done, 500, finished()),
        ("it is deleted", Life::Running, Some(&deleted(7)), &runs, 50, ending(50, 7)),
        ("it vanished", Life::Running, None, &runs, 50, ending(50, 1)),
        ("its manifest vanished", Life::Running, None, &of_folder(), 50, ending(50, 20)),
        ("time passes", ending(40, 7), Some(&deleted(7)), &runs, 45, ending(40, 7)),
        ("it is hurried", ending(40, 7), Some(&deleted(2)), &runs, 45, ending(45, 2)),
        ("it is not given more time", ending(40, 7), Some(&deleted(9)), &runs, 45, ending(40, 7)),
        ("it is removed by force", ending(40, 7), None, &runs, 45, ending(45, 1)),
        ("another of its kind has come", ending(40, 1), Some(&runs), &runs, 45, ending(40, 1)),
    ] {
        let sight = Sight { pod, known: Some(known), began: at(0), evicted: None, now: at(now) };
        assert_eq!(life.next(&sight), next, "{case}");
    }
    let sight = Sight { pod: Some(&runs), known: Some(&runs), began: at(0), evicted: None, now: at(100) };
    let late = Life::Running.next(&sight);
    assert_eq!(late.why().map(|why| why.reason.as_str()), Some("DeadlineExceeded"));
    let (deleted, now) = (deleted(7), at(101));
    let late = late.next(&Sight { pod: Some(&deleted), now, ..sight });
    assert_eq!(late.why().map(|why| why.reason.as_str()), Some("DeadlineExceeded"), "it is not forgotten");
    let evicted = Ended::new("Evicted", "too large".to_owned());
    let ends = Life::Running.next(&Sight { evicted: Some(&evicted), now: at(50), ..sight });
    assert_eq!(ends, Life::Finished { why: Some(evicted), swept: false });
}

#[test]
fn what_ends_is_stopped_told_and_taken_away() {
    let container = |state| ContainerView {
        id: "c0".to_owned(),
        name: "c".to_owned(),
        state,
        ..ContainerView::default()
    };
    let sandbox = |ready| SandboxView { id: "s0".to_owned(), ready, ..SandboxView::default() };
    let view = |ready, state| PodView { sandboxes: vec![sandbox(ready)], containers: vec![container(state)] };
    let nothing = BTreeMap::new();
    let (nobody, health) = (BTreeMap::new(), BTreeMap::new());
    let words = |life: &Life, pod: &Pod, view: &PodView| -> Vec<String> {
        let situation =
            Situation { pod, view, backoffs: &nothing, holds: &nobody, health: &health, now: at(45) };
        let word = |step: &Step| match step {
            Step::Stop(stops) => format!("Stop in {}", stops[0].grace),
            step => format!("{step:?}").split(' ').next().unwrap_or_default().to_owned(),
        };
        life.plan(&situation).steps.iter().map(word).collect()
    };
    let (runs, gone) = (view(true, State::Running), PodView::default());
    let released = Life::Ending { since: at(40), grace: 7, why: None, released: true, cleared: false };
    let cleared = Life::Ending { since: at(40), grace: 7, why: None, released: true, cleared: true };
    let api = deleted(7);
    let evicted = Ended::new("Evicted", String::new());
    let disrupted = Ended { disrupted: true, ..evicted.clone() };
    for (life, pod, view, steps) in [
        (&ending(40, 7), &api, &runs, vec!["Stop in 2"]),
        (&ending(30, 7), &api, &runs, vec!["Stop in 0"]),
        (&ending(40, 7), &api, &view(true, State::Exited), vec!["StopSandbox"]),
        (
            &ending(40, 7),
            &api,
            &view(false, State::Exited),
            vec!["TellEnd", "Sweep", "Release", "RemoveContainer", "RemoveSandbox", "RemoveFiles"],
        ),
        (&ending(40, 7), &of_folder(), &gone, vec!["Sweep", "Release", "RemoveFiles"]),
        (&released, &api, &gone, vec!["RemoveFiles"]),
        (&Life::Finished { why: None, swept: false }, &api, &runs, vec!["Stop in 7"]),
        (&Life::Finished { why: Some(evicted), swept: false }, &api, &runs, vec!["Stop in 1"]),
        (&cleared, &api, &view(false, State::Exited), vec!["RemoveContainer", "RemoveSandbox"]),
        (&cleared, &api, &gone, vec![]),
        (&Life::Finished { why: None, swept: false }, &api, &view(false, State::Exited), vec!["Sweep"]),
        (&Life::Finished { why: None, swept: true }, &api, &view(false, State::Exited), vec![]),
        (
            &Life::Finished { why: Some(disrupted), swept: true },
            &api,
            &view(false, State::Exited),
            vec!["RemoveContainer"],
        ),
    ] {
        assert_eq!(words(life, pod, view), steps, "{life:?}");
    }
}
