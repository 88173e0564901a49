use serde_json::{Value, json};

use super::super::Job;
use crate::{
    builtin::testing::{changed_in, made},
    kind::Part,
};

const START: &str = "2024-05-01T00:00:00Z";
const END: &str = "2024-05-01T00:01:00Z";

fn said(spec: &Value, old: &Value, new: &Value) -> Vec<String> {
    let mut whole = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}});
    json_patch::merge(&mut whole, spec);
    let raw = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "uid": "u"}, "spec": whole});
    let mut before = made::<Job>(raw);
    let mut after = before.clone();
    before["status"] = old.clone();
    after["status"] = new.clone();
    changed_in::<Job>(Part::Status, &after, &before)
}

fn with(conditions: &[&str], rest: Value) -> Value {
    let conditions: Vec<Value> = conditions.iter().map(|c| json!({"type": c, "status": "True"})).collect();
    let mut status = json!({"conditions": conditions, "startTime": START});
    json_patch::merge(&mut status, &rest);
    status
}

#[test]
fn an_end_is_said_in_full() {
    let running = json!({"startTime": START, "active": 1});
    for (new, expected) in [
        (with(&["SuccessCriteriaMet", "Complete"], json!({"completionTime": END, "succeeded": 1})), vec![]),
        (with(&["FailureTarget", "Failed"], json!({"failed": 1})), vec![]),
        (
            with(&["SuccessCriteriaMet", "Complete"], json!({})),
            vec!["status.completionTime: Required value: completionTime is required for Complete jobs"],
        ),
        (
            with(&["Failed"], json!({})),
            vec![
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
            ],
        ),
        (
            with(&["Complete"], json!({"completionTime": END})),
            vec![
                "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            ],
        ),
        (
            with(&[], json!({"completionTime": END})),
            vec![
                "status.completionTime: Invalid value: 2024-05-01 00:01:00 +0000 UTC: cannot set completionTime when there is no Complete=True condition",
            ],
        ),
        (
            with(
                &["FailureTarget", "Failed"],
                json!({"active": 1, "terminating": 1, "uncountedTerminatedPods": {"failed": ["u"]}}),
            ),
            vec![
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
                "status.uncountedTerminatedPods: Invalid value: {\"Succeeded\":null,\"Failed\":[\"u\"]}: uncountedTerminatedPods needs to be empty for finished job",
                "status.terminating: Invalid value: 1: terminating>0 is invalid for finished job",
            ],
        ),
        (
            with(&["SuccessCriteriaMet", "FailureTarget"], json!({})),
            vec![
                "status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            ],
        ),
        (
            json!({"startTime": START, "active": -1, "uncountedTerminatedPods": {"succeeded": ["a", ""], "failed": ["a"]}}),
            vec![
                "status.active: Invalid value: -1: must be greater than or equal to 0",
                "status.uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
                "status.ready: Invalid value: 0: cannot set more ready pods than active",
            ],
        ),
    ] {
        assert_eq!(said(&json!({}), &running, &new), expected, "{new}");
    }
}

#[test]
fn what_was_said_stays() {
    let failed = with(&["FailureTarget", "Failed"], json!({"failed": 2}));
    assert_eq!(
        said(&json!({}), &failed, &with(&["FailureTarget"], json!({"failed": 1}))),
        [
            "status.conditions: Invalid value: cannot disable the terminal Failed=True condition",
            "status.failed: Invalid value: 1: cannot decrease the failed counter",
        ]
    );
    let running = json!({"startTime": START, "succeeded": 1});
    let again = json!({"startTime": END, "succeeded": 1});
    let why = "status.startTime: Required value: startTime cannot be removed for unsuspended job";
    assert_eq!(said(&json!({}), &running, &again), [why]);
    assert_eq!(said(&json!({"suspend": true}), &running, &again), Vec::<String>::new());
    let done =
        |end: &str| with(&["SuccessCriteriaMet", "Complete"], json!({"completionTime": end, "succeeded": 1}));
    assert_eq!(
        said(&json!({}), &done(END), &done("2024-05-01T00:02:00Z")),
        [
            "status.completionTime: Invalid value: 2024-05-01 00:02:00 +0000 UTC: completionTime cannot be mutated"
        ]
    );
}

#[test]
fn indexes_are_intervals_in_order() {
    let spec =
        json!({"completionMode": "Indexed", "completions": 10, "parallelism": 2, "backoffLimitPerIndex": 1});
    for (status, expected) in [
        (json!({"completedIndexes": "0,2-4", "failedIndexes": "5"}), None),
        (
            json!({"completedIndexes": "0,10"}),
            Some(
                "completedIndexes: Invalid value: \"0,10\": error parsing completedIndexes: too large index: \"10\"",
            ),
        ),
        (
            json!({"completedIndexes": "3-1"}),
            Some(
                "completedIndexes: Invalid value: \"3-1\": error parsing completedIndexes: non-increasing order, previous: 3, current: 1",
            ),
        ),
        (
            json!({"completedIndexes": "2,2"}),
            Some(
                "completedIndexes: Invalid value: \"2,2\": error parsing completedIndexes: non-increasing order, previous: 2, current: 2",
            ),
        ),
        (
            json!({"completedIndexes": "x"}),
            Some(
                "completedIndexes: Invalid value: \"x\": error parsing completedIndexes: cannot convert string to integer for index: \"x\"",
            ),
        ),
        (
            json!({"completedIndexes": "1-5", "failedIndexes": "4"}),
            Some(
                "failedIndexes: Invalid value: \"4\": failedIndexes and completedIndexes overlap at index: 4",
            ),
        ),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|text| format!("status.{text}")).collect();
        assert_eq!(said(&spec, &json!({}), &status), expected, "{status}");
    }
    assert_eq!(
        said(&json!({}), &json!({}), &json!({"completedIndexes": "0", "failedIndexes": "0"})).len(),
        3,
        "not indexed, no limit for each, and both"
    );
}
