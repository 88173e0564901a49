#![allow(clippy::unwrap_used)]

use super::*;
use crate::kind::{Rules, Typed};

#[test]
fn a_new_namespace_is_active_named_and_held() {
    let mut value = Typed::<Namespace>::RULES
        .default(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}))
        .unwrap();
    Typed::<Namespace>::RULES.prepare_create(&mut value);
    assert_eq!(value["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "n"}));
    assert_eq!(value["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(value["status"], json!({"phase": "Active"}));
    assert!(Namespace::holds_deletion(&value));
    Namespace::begin_deletion(&mut value);
    assert_eq!(value["status"]["phase"], "Terminating");
}
