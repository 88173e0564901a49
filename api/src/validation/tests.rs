use serde_json::json;

use super::*;

fn said(errors: &Errors) -> Vec<String> {
    errors.iter().map(|e| e.to_string().split(" (e.g.").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_finalizer_says_whose_it_is() {
    let object = |finalizers: &[&str]| json!({"metadata": {"finalizers": finalizers}});
    let new = object(&["kubernetes", "orphan", "example.com/a", "hold", "example.com"]);
    let mut errors = Errors::default();
    owned_finalizers(&new, &mut errors);
    assert_eq!(
        said(&errors),
        [
            "metadata.finalizers[3]: Invalid value: \"hold\": name is neither a standard finalizer name nor is it fully qualified",
            "metadata.finalizers[4]: Invalid value: \"example.com\": name is neither a standard finalizer name nor is it fully qualified",
        ]
    );
    assert_eq!(
        finalizer_warnings(&new, Some(&object(&["example.com"]))),
        [
            "metadata.finalizers: \"hold\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"
        ]
    );
    assert_eq!(finalizer_warnings(&new, None).len(), 2);
}

#[test]
fn names_follow_their_rule() {
    use NameRule::{Label, Label1035, PathSegment, Subdomain};
    for (rule, text, prefix, fine) in [
        (Subdomain, "a.b-c", false, true),
        (Subdomain, "a..b", false, false),
        (Subdomain, "-a", false, false),
        (Subdomain, "", false, false),
        (Subdomain, "web-", true, true),
        (Subdomain, "web-", false, false),
        (Subdomain, "web.-", true, true),
        (Subdomain, "é-", true, false),
        (Label, "a.b", false, false),
        (Label, "1a", false, true),
        (Label1035, "1a", false, false),
        (Label1035, "a1", false, true),
        (Label1035, "", false, false),
        (PathSegment, "system:node", false, true),
        (PathSegment, "a/b", false, false),
        (PathSegment, "..", false, false),
    ] {
        assert_eq!(name(rule, text, prefix).is_empty(), fine, "{rule:?} {text}");
    }
    assert_eq!(dns_label("a.b"), ["must not contain dots"]);
    assert_eq!(dns_label(&"x".repeat(64)), ["must be no more than 63 characters"]);
}

#[test]
fn keys_may_have_one_prefix() {
    for (key, count) in
        [("a", 0), ("example.com/a", 0), ("/a", 1), ("a/b/c", 1), ("", 2), ("UP/a", 1), ("a/", 2), ("a_", 1)]
    {
        assert_eq!(qualified_name(key).len(), count, "{key}");
    }
}

#[test]
fn ports_have_names_of_letters() {
    for (text, count) in [
        ("http", 0),
        ("p-1", 0),
        ("80", 1),
        ("a--b", 1),
        ("-a", 1),
        ("", 2),
        ("Http", 1),
        ("abcdefghijklmnop", 1),
    ] {
        assert_eq!(port_name(text).len(), count, "{text}");
    }
}

#[test]
fn metadata_is_checked_field_by_field() {
    let object = json!({"metadata": {
        "generateName": "Web-", "name": "web", "namespace": "n", "generation": -1,
        "labels": {"ok": "bad value"}, "annotations": {"Bad key": ""},
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1", "controller": true},
            {"apiVersion": "", "kind": "", "name": "b", "uid": "2", "controller": true}],
        "finalizers": ["x y"],
        "managedFields": [{"operation": "Guess"}]}});
    let fields: Vec<String> =
        object_meta(&object, NameRule::Subdomain, false).into_iter().map(|e| e.field).collect();
    assert_eq!(
        fields,
        [
            "metadata.generateName",
            "metadata.namespace",
            "metadata.generation",
            "metadata.labels",
            "metadata.annotations",
            "metadata.ownerReferences.apiVersion",
            "metadata.ownerReferences.kind",
            "metadata.ownerReferences",
            "metadata.finalizers",
            "metadata.managedFields[0].operation",
        ]
    );
    let nameless = json!({"metadata": {}});
    assert_eq!(
        said(&object_meta(&nameless, NameRule::Subdomain, true)),
        [
            "metadata.name: Required value: name or generateName is required",
            "metadata.namespace: Required value"
        ]
    );
}

#[test]
fn annotations_are_bounded() {
    let object = json!({"metadata": {"name": "x", "annotations": {"a": "y".repeat(256 * 1024)}}});
    assert_eq!(
        said(&object_meta(&object, NameRule::Subdomain, false)),
        ["metadata.annotations: Too long: may not be more than 262144 bytes"]
    );
}

#[test]
fn what_identifies_an_object_may_not_change() {
    let old = json!({"metadata": {"name": "x", "uid": "1", "generation": 4, "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let new = json!({"metadata": {"name": "x", "uid": "2", "generation": 3, "finalizers": ["a.b/c"]}});
    assert_eq!(
        said(&object_meta_update(&new, &old)),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/c\"}",
            "metadata.generation: Invalid value: 3: must not be decremented",
            "metadata.uid: Invalid value: \"2\": field is immutable",
            "metadata.deletionTimestamp: Invalid value: null: field is immutable",
        ]
    );
}

#[test]
fn selectors_need_operators_that_fit() {
    let selector: LabelSelector = serde_json::from_value(json!({
        "matchLabels": {"a": "b c"},
        "matchExpressions": [
            {"key": "k", "operator": "In"},
            {"key": "k", "operator": "Exists", "values": ["v"]},
            {"key": "!", "operator": "Like", "values": ["v"]}]}))
    .expect("a selector");
    let mut errors = Errors::default();
    label_selector(Some(&selector), &Path::new("spec.selector"), &mut errors);
    let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.selector.matchLabels",
            "spec.selector.matchExpressions[0].values",
            "spec.selector.matchExpressions[1].values",
            "spec.selector.matchExpressions[2].operator",
            "spec.selector.matchExpressions[2].key",
        ]
    );
}

#[test]
fn selecting_follows_labels_and_expressions() {
    let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    for (selector, hit) in [
        (json!({}), true),
        (json!({"matchLabels": {"a": "1"}}), true),
        (json!({"matchLabels": {"a": "2"}}), false),
        (json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["2"]}]}), true),
        (json!({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["2"]}]}), true),
        (json!({"matchExpressions": [{"key": "b", "operator": "Exists"}]}), false),
    ] {
        let parsed: LabelSelector = serde_json::from_value(selector.clone()).expect("a selector");
        assert_eq!(selects(&parsed, Some(&labels)), hit, "{selector}");
    }
}
