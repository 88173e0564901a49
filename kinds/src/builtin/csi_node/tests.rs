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
        ["spec.drivers[1].nodeID: Required value", "spec.drivers[1].name: Duplicate value: \"a\""]
    );
    let form = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
    assert_eq!(
        wrong::<CSINode>(&node(json!([
            {"name": "a_", "nodeID": "1"}, {"name": "b", "nodeID": "1", "topologyKeys": ["k", "k"]}]))),
        [
            format!("spec.drivers[0].name: Invalid value: \"a_\": {form}"),
            "spec.drivers[1]: Duplicate value: \"k\"".to_owned(),
        ]
    );
}
