use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn a_driver_says_what_it_can() {
    let driver = |spec: Value| {
        made::<CSIDriver>(
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "d"}, "spec": spec}),
        )
    };
    assert_eq!(wrong::<CSIDriver>(&driver(json!({}))), Vec::<String>::new());
    assert_eq!(
        wrong::<CSIDriver>(&driver(
            json!({"volumeLifecycleModes": ["Forever"], "tokenRequests": [{"audience": "a", "expirationSeconds": 1}]})
        )),
        [
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            "spec.volumeLifecycleModes: Unsupported value: \"Forever\": supported values: \"Persistent\", \"Ephemeral\"",
        ]
    );
    assert_eq!(
        changed::<CSIDriver>(&driver(json!({"attachRequired": false})), &driver(json!({}))),
        ["spec.attachedRequired: Invalid value: false: field is immutable"]
    );
}

#[test]
fn periods_and_tokens_make_sense() {
    let driver = |spec: Value| {
        made::<CSIDriver>(
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "d"}, "spec": spec}),
        )
    };
    assert_eq!(
        wrong::<CSIDriver>(&driver(
            json!({"nodeAllocatableUpdatePeriodSeconds": 9, "serviceAccountTokenInSecrets": false})
        )),
        [
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
            "spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
        ]
    );
    let warned = |new: &Value, old: Option<&Value>| {
        let read = |driver: &Value| serde_json::from_value::<CSIDriver>(driver.clone()).unwrap();
        read(new).warnings(old.map(read).as_ref()).len()
    };
    let unset = driver(json!({"tokenRequests": [{"audience": "a"}]}));
    let set = driver(json!({"tokenRequests": [{"audience": "a"}], "serviceAccountTokenInSecrets": false}));
    assert_eq!((warned(&unset, None), warned(&set, None), warned(&driver(json!({})), None)), (1, 0, 0));
    assert_eq!((warned(&unset, Some(&unset)), warned(&unset, Some(&driver(json!({}))))), (0, 1));
}
