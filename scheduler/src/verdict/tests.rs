use serde_json::json;

use super::*;
use crate::plugins::{Filter, Refusal, Rejection};

fn unfit(reasons: &[&[&str]]) -> Unfit {
    let rejection = |reasons: &&[&str]| {
        let reasons = reasons.iter().map(ToString::to_string).collect();
        (String::new(), Rejection { filter: Filter::Resources, reasons, for_good: false })
    };
    Unfit { rejections: reasons.iter().map(rejection).collect(), refusal: None, nodes: reasons.len() }
}

#[test]
fn sentences() {
    let cpu = "Insufficient cpu";
    let no_help = |reasons: &[&str]| {
        Some(Hopeless::NoHelp(reasons.iter().map(|reason| vec![(*reason).to_owned()]).collect()))
    };
    let (nobody, useless) =
        ("No preemption victims found for incoming pod", "Preemption is not helpful for scheduling");
    let refused = Unfit {
        refusal: Some(Refusal {
            filter: Filter::Volumes,
            reason: "persistentvolumeclaim \"c\" not found".to_owned(),
        }),
        nodes: 2,
        ..Unfit::default()
    };
    for (unfit, hopeless, expected) in [
        (unfit(&[]), no_help(&[]), "no nodes available to schedule pods"),
        (
            unfit(&[&[cpu], &[cpu]]),
            no_help(&[nobody, nobody]),
            "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: \
                 0/2 nodes are available: 2 No preemption victims found for incoming pod.",
        ),
        (
            unfit(&[&["node(s) were unschedulable"], &["Insufficient memory", cpu], &[cpu]]),
            no_help(&[useless, nobody, useless]),
            "0/3 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu. \
                 no new claims to deallocate, preemption: 0/3 nodes are available: \
                 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
        ),
        (
            unfit(&[&["Too many pods"]]),
            Some(Hopeless::NotEligible("not eligible due to preemptionPolicy=Never.")),
            "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: \
                 not eligible due to preemptionPolicy=Never.",
        ),
        (unfit(&[&[cpu]]), None, "0/1 nodes are available: 1 Insufficient cpu."),
        (
            refused,
            no_help(&[useless, useless]),
            "0/2 nodes are available: persistentvolumeclaim \"c\" not found. no new claims to deallocate, \
                 preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
        ),
    ] {
        assert_eq!(sentence(&unfit, hopeless.as_ref()), expected);
    }
}

#[test]
fn the_status_says_what_is_new_of_it() {
    let now = Timestamp::from_second(1000).unwrap();
    let mut pod = Pod::default();
    let first = status(&pod, "Unschedulable", "no", "node-1", now).unwrap();
    assert_eq!(
        (first["conditions"][0]["message"].as_str(), first["nominatedNodeName"].as_str()),
        (Some("no"), Some("node-1"))
    );
    pod.status = Some(serde_json::from_value(first).unwrap());
    assert_eq!(status(&pod, "Unschedulable", "no", "node-1", now), None);
    assert_eq!(status(&pod, "Unschedulable", "no", "", now), Some(json!({"nominatedNodeName": null})));
}

#[test]
fn a_condition_is_written_once_and_keeps_its_time() {
    let now = Timestamp::from_second(1000).unwrap();
    let mut pod: Pod =
        serde_json::from_value(json!({"metadata": {"generation": 1}, "spec": {"containers": []}})).unwrap();
    let first = condition(&pod, "Unschedulable", "no", now).unwrap();
    assert_eq!((first.status.as_str(), first.observed_generation), ("False", Some(1)));
    pod.status.get_or_insert_default().conditions = Some(vec![first.clone()]);
    let later = Timestamp::from_second(2000).unwrap();
    assert_eq!(condition(&pod, "Unschedulable", "no", later), None);
    let other = condition(&pod, "Unschedulable", "still no", later).unwrap();
    assert_eq!(other.last_transition_time, first.last_transition_time);
}
