use serde_json::json;

use super::*;
use crate::builtin::testing::wrong;

#[test]
fn questions_name_somebody_and_something() {
    let pods = json!({"verb": "get", "resource": "pods", "namespace": "a"});
    let path = json!({"verb": "get", "path": "/healthz"});
    let ask = |spec| json!({"metadata": {}, "spec": spec});
    assert_eq!(
        wrong::<SubjectAccessReview>(&ask(json!({"user": "bob", "resourceAttributes": pods}))),
        [""; 0]
    );
    assert_eq!(
        wrong::<SubjectAccessReview>(&ask(json!({}))),
        [
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ]
    );
    let both = ask(json!({"resourceAttributes": pods, "nonResourceAttributes": path}));
    assert_eq!(
        wrong::<SelfSubjectAccessReview>(&both),
        [
            "spec.nonResourceAttributes: Invalid value: {\"path\":\"/healthz\",\"verb\":\"get\"}: cannot be specified in combination with resourceAttributes",
        ]
    );
    let local = json!({"metadata": {"namespace": "b", "name": "x"}, "spec": {"groups": ["g"], "resourceAttributes": pods}});
    assert_eq!(
        wrong::<LocalSubjectAccessReview>(&local),
        [
            "metadata: Invalid value: {\"name\":\"x\",\"namespace\":\"b\"}: must be empty except for namespace",
            "spec.resourceAttributes.namespace: Invalid value: \"a\": must match metadata.namespace",
        ]
    );
}
