use serde_json::json;

use super::*;
use crate::builtin::testing::{made, wrong};

#[test]
fn drivers_are_named_once() {
    let node = |drivers: Value| {
        made::<CSINode>(
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode", "metadata": {"name": "n"}, "spec": {"drivers": drivers}}),
        )
    };
    assert_eq!(node(json!([]))["spec"], json!({"drivers": null}));
    assert_eq!(
        wrong::<CSINode>(&node(json!([{"name": "a", "nodeID": "1"}, {"name": "a", "nodeID": ""}]))),
        ["spec.drivers[1].name: Duplicate value: \"a\"", "spec.drivers[1].nodeID: Required value"]
    );
}
