use serde_json::json;

use super::*;
use crate::filters::{Filter, Rejection};

fn rejection(for_good: bool, reasons: &[&str]) -> Rejection {
    let reasons = reasons.iter().map(ToString::to_string).collect();
    Rejection { filter: Filter::Resources, reasons, for_good }
}

#[test]
fn sentences() {
    let cpu = "Insufficient cpu";
    let cases = [
        (vec![], false, "no nodes available to schedule pods"),
        (
            vec![rejection(false, &[cpu]), rejection(false, &[cpu])],
            false,
            "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: \
                 0/2 nodes are available: 2 No preemption victims found for incoming pod.",
        ),
        (
            vec![
                rejection(true, &["node(s) were unschedulable"]),
                rejection(false, &["Insufficient memory", cpu]),
                rejection(true, &[cpu]),
            ],
            false,
            "0/3 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu. \
                 no new claims to deallocate, preemption: 0/3 nodes are available: \
                 1 No preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling.",
        ),
        (
            vec![rejection(false, &["Too many pods"])],
            true,
            "0/1 nodes are available: 1 Too many pods. no new claims to deallocate, preemption: \
                 not eligible due to preemptionPolicy=Never.",
        ),
    ];
    for (rejections, never_preempts, expected) in cases {
        let needs = Needs { never_preempts, ..Needs::default() };
        assert_eq!(sentence(&needs, &Unfit { rejections }), expected);
    }
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
