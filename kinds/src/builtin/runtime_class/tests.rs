use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn the_handler_is_a_label_and_stays() {
    let class = |handler: &str| {
        made::<RuntimeClass>(
            json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "r"}, "handler": handler}),
        )
    };
    assert_eq!(wrong::<RuntimeClass>(&class("runc")), Vec::<String>::new());
    assert_eq!(
        wrong::<RuntimeClass>(&class("a.b")),
        ["handler: Invalid value: \"a.b\": must not contain dots"]
    );
    assert_eq!(
        changed::<RuntimeClass>(&class("kata"), &class("runc")),
        ["handler: Invalid value: \"kata\": field is immutable"]
    );
}

#[test]
fn tolerations_differ_in_more_than_their_time() {
    let one = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
    let other = json!({"key": "a", "operator": "Exists", "effect": "NoExecute"});
    let class = made::<RuntimeClass>(json!({
        "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "r"}, "handler": "h",
        "scheduling": {"tolerations": [one, other]},
    }));
    assert_eq!(
        wrong::<RuntimeClass>(&class),
        [
            "scheduling.tolerations[1]: Duplicate value: {\"Key\":\"a\",\"Operator\":\"Exists\",\"Value\":\"\",\"Effect\":\"NoExecute\",\"TolerationSeconds\":null}"
        ]
    );
}
