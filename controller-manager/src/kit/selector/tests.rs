use super::*;
use serde_json::json;

#[test]
fn terms_select_as_kubernetes_does() {
    let labels: BTreeMap<String, String> = [("app".into(), "web".into()), ("tier".into(), "a".into())].into();
    let cases = [
        (json!({}), true),
        (json!({"matchLabels": {"app": "web"}}), true),
        (json!({"matchLabels": {"app": "db"}}), false),
        (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}), true),
        (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}), false),
        (json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["a"]}]}), true),
        (json!({"matchExpressions": [{"key": "none", "operator": "Exists"}]}), false),
        (json!({"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}), true),
    ];
    for (text, expected) in cases {
        let selector: LabelSelector = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(matches(&selector, Some(&labels)), expected, "{text}");
    }
}
