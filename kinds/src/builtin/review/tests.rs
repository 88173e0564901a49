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
            "spec.nonResourceAttributes: Invalid value: {\"Path\":\"/healthz\",\"Verb\":\"get\"}: cannot be specified in combination with resourceAttributes",
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

#[test]
fn selectors_are_a_text_or_sound_requirements() {
    let one = |key: &str, operator: &str, values: Value| json!({"requirements": [{"key": key, "operator": operator, "values": values}]});
    let both = json!({"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]});
    for (selector, of_labels, of_fields) in [
        (json!({"rawSelector": "!!"}), vec![], vec![]),
        (json!({}), vec!["requirements"], vec!["requirements"]),
        (both, vec!["rawSelector"], vec!["rawSelector"]),
        (one("a", "Newer", json!(["b"])), vec![], vec![]),
        (one("a", "In", json!([])), vec!["requirements[0].values"], vec!["requirements[0].values"]),
        (one("a", "Exists", json!(["b"])), vec!["requirements[0].values"], vec!["requirements[0].values"]),
        (one("a b", "In", json!(["b!"])), vec!["requirements[0].key", "requirements[0].values[0]"], vec![]),
    ] {
        for (field, expected) in [("labelSelector", &of_labels), ("fieldSelector", &of_fields)] {
            let asked = json!({"verb": "get", "resource": "pods", field: selector});
            let said = wrong::<SubjectAccessReview>(
                &json!({"metadata": {}, "spec": {"user": "u", "resourceAttributes": asked}}),
            );
            let at = format!("spec.resourceAttributes.{field}.");
            let places: Vec<&str> =
                said.iter().map(|why| why.split(": ").next().unwrap().strip_prefix(&at).unwrap()).collect();
            assert_eq!(places, *expected, "{field} {selector}");
        }
    }
}
