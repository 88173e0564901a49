#![allow(clippy::unwrap_used)]

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};

use super::*;
use crate::builtin::testing::{changed, made, wrong};

fn schema(name: &str, change: &Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": "global-default"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "bob"}}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}],
    });
    json_patch::merge(&mut spec, change);
    made::<FlowSchema>(json!({"metadata": {"name": name}, "spec": spec}))
}

fn level(name: &str, spec: Value) -> Value {
    made::<PriorityLevelConfiguration>(json!({"metadata": {"name": name}, "spec": spec}))
}

#[test]
fn what_every_cluster_begins_with_is_right_and_stays() {
    let (levels, schemas) = bootstrap();
    assert_eq!((levels.len(), schemas.len()), (8, 11));
    for raw in schemas {
        let object = made::<FlowSchema>(raw.clone());
        assert_eq!(object["spec"], raw["spec"]);
        assert_eq!(wrong::<FlowSchema>(&object), [""; 0], "{raw}");
    }
    for raw in levels {
        let object = made::<PriorityLevelConfiguration>(raw.clone());
        assert_eq!(object["spec"], raw["spec"]);
        assert_eq!(wrong::<PriorityLevelConfiguration>(&object), [""; 0], "{raw}");
    }
    let (levels, schemas) = bootstrap();
    let of = |objects: &[Value], name: &str| {
        objects.iter().find(|o| o["metadata"]["name"] == name).unwrap().clone()
    };
    let old = made::<FlowSchema>(of(&schemas, "catch-all"));
    let mut new = old.clone();
    new["spec"]["matchingPrecedence"] = json!(9);
    let said = changed::<FlowSchema>(&new, &old);
    assert!(said[0].ends_with("spec of 'catch-all' must equal the fixed value"), "{said:?}");
    let old = made::<PriorityLevelConfiguration>(of(&levels, "exempt"));
    let mut new = old.clone();
    new["spec"]["exempt"]["lendablePercent"] = json!(7);
    assert_eq!(changed::<PriorityLevelConfiguration>(&new, &old), [""; 0]);
    new["spec"] = json!({"type": "Limited", "exempt": {}});
    let said = changed::<PriorityLevelConfiguration>(&new, &old);
    assert_eq!(
        said[1..],
        [
            "spec.type: Invalid value: \"Limited\": type must be 'Exempt' if and only if name is 'exempt'",
            "spec.exempt: Forbidden: must be nil if the type is Limited",
            "spec.limited: Required value: must not be empty when type is Limited",
        ]
    );
}

#[test]
fn schemas_name_subjects_and_requests() {
    assert_eq!(schema("s", &json!({}))["spec"]["matchingPrecedence"], 1000);
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"matchingPrecedence": 1, "distinguisherMethod": {"type": "ByAge"}, "priorityLevelConfiguration": {"name": ""}}),
            vec![
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
                "spec.distinguisherMethod.type: Unsupported value: {\"Type\":\"ByAge\"}: supported values: \"ByNamespace\", \"ByUser\"",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ],
        ),
        (
            json!({"rules": [{"subjects": []}]}),
            vec![
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        ),
        (
            json!({"rules": [{"subjects": [{"kind": "Group", "user": {"name": "x"}}, {"kind": "ServiceAccount",
                "serviceAccount": {"name": "*", "namespace": ""}}, {"kind": "Role"}],
                "nonResourceRules": [{"verbs": ["look"], "nonResourceURLs": ["x", "/a*", "/a/*"]}],
                "resourceRules": [{"verbs": ["*", "get"], "apiGroups": [], "resources": ["pods"]}]}]}),
            vec![
                "spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'",
                "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
                "spec.rules[0].subjects[1].serviceAccount.namespace: Required value: must specify namespace for service account",
                "spec.rules[0].subjects[2].kind: Unsupported value: \"Role\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
                "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
                "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
                "spec.rules[0].nonResourceRules[0].verbs: Unsupported value: [\"look\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"x\": must start with slash",
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/a*\": wildcard can only do suffix matching",
            ],
        ),
    ] {
        assert_eq!(wrong::<FlowSchema>(&schema("s", &change)), expected, "{change}");
    }
}

#[test]
fn levels_reject_or_queue() {
    let queue = |queuing: Value| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}});
    let object = level("l", queue(json!({})));
    assert_eq!(
        object["spec"]["limited"]["limitResponse"]["queuing"],
        json!({"queues": 64, "handSize": 8, "queueLengthLimit": 50})
    );
    for (spec, expected) in [
        (queue(json!({})), vec![]),
        (
            queue(json!({"queues": 1024, "handSize": 7})),
            vec![
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 7: required entropy bits of deckSize 1024 and handSize 7 should not be greater than 60",
            ],
        ),
        (
            queue(json!({"queues": 4, "handSize": 5, "queueLengthLimit": -1})),
            vec![
                "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
                "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)",
            ],
        ),
        (
            json!({"type": "Limited", "limited": {"lendablePercent": 101, "borrowingLimitPercent": -1, "nominalConcurrencyShares": -1}}),
            vec![
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.limited.limitResponse.type: Unsupported value: \"\": supported values: \"Queue\", \"Reject\"",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
            ],
        ),
    ] {
        assert_eq!(wrong::<PriorityLevelConfiguration>(&level("l", spec.clone())), expected, "{spec}");
    }
}
