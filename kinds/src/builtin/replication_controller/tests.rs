use serde_json::json;

use super::*;
use crate::builtin::testing::{changed_in, made, wrong};

#[test]
fn counts_of_a_status_fit_together() {
    let old =
        json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r"}, "spec": {}});
    for (status, expected) in [
        (json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1}), vec![]),
        (
            json!({"replicas": 1, "readyReplicas": -1}),
            vec![
                "status.readyReplicas: Invalid value: -1: must be greater than or equal to 0",
                "status.availableReplicas: Invalid value: 0: cannot be greater than readyReplicas",
            ],
        ),
        (
            json!({"replicas": 1, "fullyLabeledReplicas": 2}),
            vec!["status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas"],
        ),
        (
            json!({"replicas": 0, "observedGeneration": -1}),
            vec!["status.observedGeneration: Invalid value: -1: must be greater than or equal to 0"],
        ),
    ] {
        let mut new = old.clone();
        new["status"] = status.clone();
        assert_eq!(changed_in::<ReplicationController>(Part::Status, &new, &old), expected, "{status}");
    }
}

#[test]
fn labels_and_selector_come_from_the_template() {
    let spec = json!({"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}});
    let raw =
        json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r"}, "spec": spec});
    let made = made::<ReplicationController>(raw);
    assert_eq!(made["spec"]["selector"], json!({"a": "b"}));
    assert_eq!(made["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(wrong::<ReplicationController>(&made), Vec::<String>::new());
    let mut other = made;
    other["spec"]["selector"] = json!({"a": "c"});
    assert_eq!(
        wrong::<ReplicationController>(&other),
        [
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
        ]
    );
}
