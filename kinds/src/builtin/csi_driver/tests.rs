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
