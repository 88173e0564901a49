use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn a_class_stays_what_it_is() {
    let class = |fields: Value| {
        let mut raw = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": "fast"}, "provisioner": "disk.example.org"});
        json_patch::merge(&mut raw, &fields);
        made::<StorageClass>(raw)
    };
    let old = class(json!({}));
    assert_eq!(wrong::<StorageClass>(&old), Vec::<String>::new());
    assert_eq!(wrong::<StorageClass>(&class(json!({"provisioner": "a b"}))).len(), 1);
    assert_eq!(
        changed::<StorageClass>(
            &class(json!({"parameters": {"a": "b"}, "volumeBindingMode": "WaitForFirstConsumer"})),
            &old
        ),
        [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
        ]
    );
}

#[test]
fn topologies_are_different_sets() {
    let term = |key: &str, values: Value| json!({"matchLabelExpressions": [{"key": key, "values": values}]});
    let at = "allowedTopologies";
    for (terms, expected) in [
        (json!([term("zone", json!(["a", "b"])), term("zone", json!(["c"]))]), None),
        (
            json!([term("zone", json!([]))]),
            Some(format!("{at}[0].matchLabelExpressions[0].values: Required value")),
        ),
        (
            json!([term("zone", json!(["a", "a"]))]),
            Some(format!("{at}[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"")),
        ),
        (
            json!([term("zone", json!(["a", "b"])), term("zone", json!(["b", "a"]))]),
            Some(format!("{at}[1].matchLabelExpressions: Duplicate value: \"\"")),
        ),
    ] {
        let raw = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
                "metadata": {"name": "fast"}, "provisioner": "disk.example.org", "allowedTopologies": terms});
        let said = wrong::<StorageClass>(&made::<StorageClass>(raw));
        assert_eq!(said, expected.into_iter().collect::<Vec<_>>(), "{terms}");
    }
}
