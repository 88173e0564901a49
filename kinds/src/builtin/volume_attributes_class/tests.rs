use serde_json::{Value, json};

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn a_class_has_parameters_that_stay() {
    let class = |parameters: Value| {
        made::<VolumeAttributesClass>(
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass",
            "metadata": {"name": "c"}, "driverName": "d.example", "parameters": parameters}),
        )
    };
    assert_eq!(
        wrong::<VolumeAttributesClass>(&class(json!({}))),
        ["parameters: Required value: must contain at least one key/value pair"]
    );
    assert_eq!(
        changed::<VolumeAttributesClass>(&class(json!({"a": "1"})), &class(json!({"a": "2"}))),
        ["parameters: Forbidden: updates to parameters are forbidden."]
    );
}
