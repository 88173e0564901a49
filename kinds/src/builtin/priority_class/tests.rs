use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn the_system_keeps_the_highest() {
    let class = |name: &str, value: i64| {
        made::<PriorityClass>(
            json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value}),
        )
    };
    assert_eq!(wrong::<PriorityClass>(&class("mine", 5)), Vec::<String>::new());
    assert_eq!(wrong::<PriorityClass>(&class("system-node-critical", 2_000_001_000)), Vec::<String>::new());
    assert_eq!(
        wrong::<PriorityClass>(&class("mine", 1_000_000_001)),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
    assert_eq!(
        changed::<PriorityClass>(&class("mine", 6), &class("mine", 5)),
        ["value: Forbidden: may not be changed in an update."]
    );
}
