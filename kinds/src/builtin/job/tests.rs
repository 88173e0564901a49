use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

fn job(change: &Value) -> Value {
    let mut spec = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}});
    json_patch::merge(&mut spec, change);
    made::<Job>(
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "uid": "u"}, "spec": spec}),
    )
}

#[test]
fn a_job_owns_its_pods() {
    let job = job(&json!({}));
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {UID_LABEL: "u"}}));
    assert_eq!(job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(job["metadata"]["labels"][NAME_LABEL], "j");
    assert_eq!((&job["spec"]["completions"], &job["spec"]["backoffLimit"]), (&json!(1), &json!(6)));
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"completionMode": "Indexed", "completions": null, "parallelism": 2}),
            vec!["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            json!({"maxFailedIndexes": 1}),
            vec![
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            json!({"podFailurePolicy": {"rules": [{"action": "Ignore"}]}, "template": {"spec": {"restartPolicy": "OnFailure"}}}),
            vec![
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
            ],
        ),
        (
            json!({"selector": {"matchLabels": {"a": "b"}}}),
            vec![
                "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u\"}}: `selector` not auto-generated",
                "spec.template.metadata.labels: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"u\",\"job-name\":\"j\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({"template": {"metadata": {"labels": {"job-name": "other"}}}}),
            vec![
                "spec.template.metadata.labels[job-name]: Invalid value: {\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"j\",\"controller-uid\":\"u\",\"job-name\":\"other\"}: must be 'j'",
            ],
        ),
        (
            json!({"template": {"spec": {"restartPolicy": "Sometimes"}}}),
            vec![
                "spec.template.spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                "spec.template.spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"OnFailure\", \"Never\"",
            ],
        ),
    ] {
        assert_eq!(wrong::<Job>(&job(&change)), expected, "{change}");
    }
    let mut dotted = job(&json!({"completionMode": "Indexed", "completions": 3}));
    dotted["metadata"]["name"] = "a.b".into();
    for label in ["job-name", NAME_LABEL] {
        dotted["spec"]["template"]["metadata"]["labels"][label] = "a.b".into();
    }
    assert_eq!(
        wrong::<Job>(&dotted),
        ["metadata.name: Invalid value: \"a.b\": will not able to create pod with invalid DNS label: a.b-2"]
    );
}

#[test]
fn what_runs_stays_as_it_is() {
    let old = job(&json!({}));
    assert_eq!(
        changed::<Job>(&job(&json!({"parallelism": 4, "completions": 1})), &old),
        Vec::<String>::new()
    );
    let other = job(&json!({"template": {"spec": {"hostNetwork": true}}}));
    assert!(changed::<Job>(&other, &old)[0].ends_with("field is immutable"));
    let waiting = job(&json!({"suspend": true}));
    let moved = job(&json!({"suspend": true, "template": {"spec": {"nodeSelector": {"a": "b"}}}}));
    assert_eq!(changed::<Job>(&moved, &waiting), Vec::<String>::new());
}

#[test]
fn while_a_job_waits_its_pods_may_be_placed_and_measured_otherwise() {
    let waiting = job(&json!({"suspend": true, "template": {"spec": {"affinity": {"podAffinity": {}}}}}));
    let mut stopping = waiting.clone();
    stopping["status"] = json!({"startTime": "2026-01-01T00:00:00Z", "active": 1});
    let mut stopped = waiting.clone();
    stopped["status"] = json!({"startTime": "2026-01-01T00:00:00Z",
        "conditions": [{"type": "Suspended", "status": "True"}]});
    let resources = json!([{"name": "c", "image": "i:1", "resources": {"requests": {"cpu": "1"}}}]);
    let node = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}});
    for (spec, refused_at) in [
        (json!({"containers": resources}), None),
        (json!({"nodeSelector": {"a": "b"}, "schedulingGates": [{"name": "g"}]}), None),
        (json!({"affinity": node}), None),
        (json!({"affinity": {"podAffinity": null}}), Some("spec.template.spec")),
        (json!({"containers": [{"name": "c", "image": "i:2"}]}), Some("spec.template.spec")),
        (json!({"hostNetwork": true}), Some("spec.template.spec")),
    ] {
        let template = json!({"spec": {"affinity": {"podAffinity": {}}}});
        let mut change = json!({"suspend": true, "template": template});
        json_patch::merge(&mut change["template"]["spec"], &spec);
        let new = job(&change);
        for old in [&waiting, &stopped] {
            let said = changed::<Job>(&new, old);
            let at: Vec<_> = said.iter().filter_map(|text| text.split(": ").next()).collect();
            assert_eq!(at, refused_at.into_iter().collect::<Vec<_>>(), "{spec} {said:?}");
        }
        // While pods of it run, nothing may change.
        assert_eq!(changed::<Job>(&new, &stopping).len(), 1, "{spec}");
    }
}

fn expect(cases: Vec<(Value, Vec<&str>)>) {
    for (change, expected) in cases {
        assert_eq!(wrong::<Job>(&job(&change)), expected, "{change}");
    }
}

#[test]
fn failures_are_told_apart_by_rules_that_make_sense() {
    let rule = |rule: Value| json!({"podFailurePolicy": {"rules": [rule]}});
    let codes = |codes: Value| rule(json!({"action": "Ignore", "onExitCodes": codes}));
    expect(vec![
        (codes(json!({"operator": "In", "values": [1, 2], "containerName": "c"})), vec![]),
        (
            rule(json!({"action": "FailIndex", "onPodConditions": [{"type": "DisruptionTarget"}]})),
            vec![
                "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
            ],
        ),
        (
            codes(json!({"operator": "In", "values": [2, 1], "containerName": "other"})),
            vec![
                "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"other\": must be one of the container or initContainer names in the pod template",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered",
            ],
        ),
        (
            rule(json!({"action": "Count", "onPodConditions": [{"type": "A", "status": "Yes"}]})),
            vec![
                "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"Yes\": supported values: \"False\", \"True\", \"Unknown\"",
            ],
        ),
        (
            json!({"podReplacementPolicy": "", "completionMode": ""}),
            vec![
                "spec.completionMode: Unsupported value: \"\": supported values: \"NonIndexed\", \"Indexed\"",
                "spec.podReplacementPolicy: Unsupported value: \"\": supported values: \"Failed\", \"TerminatingOrFailed\"",
            ],
        ),
        (json!({"managedBy": ""}), vec!["spec.managedBy: Required value"]),
        (
            json!({"managedBy": "acme.io/".to_owned() + &"x".repeat(64)}),
            vec!["spec.managedBy: Too long: may not be more than 63 bytes"],
        ),
        (
            json!({"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": []}}),
            vec![
                "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: \"Failed\"",
            ],
        ),
    ]);
}

#[test]
fn success_needs_indexes_or_a_count() {
    let policy = |rule: Value| json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [rule]}});
    let indexes = |text: &str| policy(json!({"succeededIndexes": text}));
    expect(vec![
        (policy(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})), vec![]),
        (
            policy(json!({})),
            vec![
                "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
            ],
        ),
        (
            json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}),
            vec![
                "spec.successPolicy: Invalid value: {\"Rules\":[{\"SucceededIndexes\":null,\"SucceededCount\":1}]}: requires indexed completion mode",
            ],
        ),
        (
            policy(json!({"succeededIndexes": "0-1", "succeededCount": 6})),
            vec![
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)",
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)",
            ],
        ),
        (
            indexes("1,b"),
            vec![
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,b\": error parsing succeededIndexes: cannot convert string to integer for index: \"b\"",
            ],
        ),
        (
            indexes("3,1"),
            vec![
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"3,1\": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1",
            ],
        ),
        (
            indexes("4-5"),
            vec![
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"4-5\": error parsing succeededIndexes: too large index: \"5\"",
            ],
        ),
        (
            indexes("1-2-3"),
            vec![
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1-2-3\": error parsing succeededIndexes: the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ],
        ),
    ]);
}

#[test]
fn no_more_indexes_may_fail_than_there_are() {
    expect(vec![
        (
            json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1, "maxFailedIndexes": 3}),
            vec!["spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions"],
        ),
        (
            json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 1}),
            vec![
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            json!({"completionMode": "Indexed", "completions": 100_001, "parallelism": 10_001, "backoffLimitPerIndex": 1}),
            vec![
                "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
                "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index",
            ],
        ),
    ]);
}
