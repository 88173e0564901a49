use super::*;
use crate::registry::Registry;

#[test]
fn versions_are_ordered_by_stability() {
    let mut versions = vec!["v1beta1", "v1", "v2", "v1alpha1", "v1beta2", "foo"];
    versions.sort_by_key(|v| std::cmp::Reverse(stability(v)));
    assert_eq!(versions, ["v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
}

#[test]
fn groups_are_ordered_by_priority() {
    let table = Registry::builtin().table();
    let names: Vec<&str> = group_versions(&table).into_iter().map(|(group, _)| group).collect();
    assert_eq!(names[..4], ["apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io"]);
    assert_eq!(names.last(), Some(&"flowcontrol.apiserver.k8s.io"));
    assert_eq!(names.len(), 20);
}

#[test]
fn both_forms_tell_of_the_same_resources() {
    let table = Registry::builtin().table();
    let plain = resources(&table, "", "v1").unwrap();
    let names: Vec<&str> =
        plain["resources"].as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert!(names.contains(&"configmaps"));
    let core = aggregated(&table, true);
    let all = core["items"][0]["versions"][0]["resources"].as_array().unwrap();
    assert!(all.iter().any(|r| r["resource"] == "configmaps" && r["scope"] == "Namespaced"));
    assert!(resources(&table, "", "v9").is_none());
    assert!(group(&table, "nope").is_none());
}
