use serde_json::{Value, json};

use super::*;
use crate::builtin::testing::{made, wrong};

#[test]
fn there_is_no_negative_room() {
    let capacity = |fields: Value| {
        let mut raw = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity", "metadata": {"name": "c"}, "storageClassName": "fast"});
        json_patch::merge(&mut raw, &fields);
        made::<CSIStorageCapacity>(raw)
    };
    assert_eq!(wrong::<CSIStorageCapacity>(&capacity(json!({"capacity": "1024Mi"}))), Vec::<String>::new());
    assert_eq!(
        wrong::<CSIStorageCapacity>(&capacity(json!({"capacity": "-1"}))),
        ["capacity: Invalid value: \"-1\": must be greater than or equal to 0"]
    );
}
