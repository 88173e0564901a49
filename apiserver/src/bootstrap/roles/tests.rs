use kinds::kind::Kind;

use super::*;
use crate::{args::RuntimeConfig, registry::Registry};

#[test]
fn all_are_good_objects() {
    let table = Registry::builtin().table();
    let all = objects(&table).unwrap();
    assert!(all.len() > 135, "{}", all.len());
    for (resource, object) in &all {
        let kind: &Arc<Kind> = resource.row(&table).unwrap();
        let read = crate::body::read_as(kind, object.clone()).unwrap();
        let errors = kind.rules.validate(&read).errors;
        assert!(errors.is_empty(), "{object}: {errors:?}");
        let rules = object["rules"].as_array();
        assert!(
            rules.is_none_or(|rules| !rules.is_empty()) || object["aggregationRule"].is_object(),
            "{object}"
        );
    }
    let bound = |name: &str| {
        let binding = all.iter().find(|(_, object)| object.get("roleRef").is_some() && object.name() == name);
        binding.map(|(_, binding)| binding["subjects"].clone())
    };
    let account = json!([{"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}]);
    assert_eq!(bound("system:controller:job-controller"), Some(account));
    let masters = json!([{"apiGroup": GROUP, "kind": "Group", "name": "system:masters"}]);
    assert_eq!(bound("cluster-admin"), Some(masters));
    assert_eq!(bound("system:node"), Some(Value::Null));
    assert_eq!(bound("admin"), None);
    assert_eq!(bound("system:cluster-trust-bundle-discovery"), None);
}

#[test]
fn bundles_are_everybodys_where_there_are_some() {
    let on = RuntimeConfig::read(&["certificates.k8s.io/v1beta1=true".to_owned()]).unwrap();
    let tables = [Registry::builtin(), Registry::new(&on)].map(|registry| registry.table());
    let named = tables.each_ref().map(|table| {
        let all = objects(table).unwrap().into_iter();
        all.map(|(resource, object)| (resource, object.name().to_owned())).collect::<Vec<_>>()
    });
    let new: Vec<_> = named[1].iter().filter(|object| !named[0].contains(object)).collect();
    let name = "system:cluster-trust-bundle-discovery".to_owned();
    assert_eq!(new, [&(CLUSTER_ROLES, name.clone()), &(CLUSTER_ROLE_BINDINGS, name)]);
    let of_nodes = tables.map(|table| rules(&table, "system:node").unwrap().len());
    assert_eq!(of_nodes[0] + 1, of_nodes[1]);
}

#[test]
fn what_is_missing_is_added_and_nothing_taken_away() {
    let rule =
        |resource: &str, verbs: &[&str]| json!({"apiGroups": [""], "resources": [resource], "verbs": verbs});
    let selector = |label: &str| json!({"matchLabels": {label: "true"}});
    let merged = |object: Value, wanted: Value| {
        let mut object = object;
        object["metadata"] = json!({"annotations": {"a": "mine"}, "labels": {"l": "1"}});
        let mut wanted = wanted;
        wanted["metadata"] = json!({"annotations": {"a": "b", AUTO_UPDATE: "true"}});
        merge(&mut object, &wanted);
        assert_eq!(object["metadata"]["annotations"], json!({"a": "mine", AUTO_UPDATE: "true"}));
        assert_eq!(object["metadata"]["labels"], json!({"l": "1"}));
        object.as_object_mut().unwrap().remove("metadata");
        object
    };
    let wanted = json!({"rules": [rule("pods", &["get", "list"]), rule("secrets", &["get"])]});
    for (object, expected) in [
        (wanted.clone(), wanted.clone()),
        (
            json!({"rules": null}),
            json!({"rules": [rule("pods", &["get"]), rule("pods", &["list"]), rule("secrets", &["get"])]}),
        ),
        (
            json!({"rules": [rule("pods", &["*"]), rule("nodes", &["get"])]}),
            json!({"rules": [rule("pods", &["*"]), rule("nodes", &["get"]), rule("secrets", &["get"])]}),
        ),
        (
            json!({"rules": [rule("*", &["*"])], "aggregationRule": {"clusterRoleSelectors": [selector("x")]}}),
            json!({"rules": [rule("*", &["*"])]}),
        ),
    ] {
        assert_eq!(merged(object.clone(), wanted.clone()), expected, "{object}");
    }
    let aggregated = |labels: &[&str]| {
        let selectors: Vec<Value> = labels.iter().map(|label| selector(label)).collect();
        json!({"rules": null, "aggregationRule": {"clusterRoleSelectors": selectors}})
    };
    assert_eq!(merged(aggregated(&["x"]), aggregated(&["y", "x"])), aggregated(&["x", "y"]));
    let to = |names: &[&str]| json!({"subjects": names, "aggregationRule": null});
    let mut expected = to(&["a", "b"]);
    expected.as_object_mut().unwrap().remove("aggregationRule");
    assert_eq!(merged(to(&["a"]), to(&["b", "a"])), expected);
}
