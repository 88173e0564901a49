use serde_json::json;

use super::*;
use crate::builtin::testing::{cells, made, wrong};

#[test]
fn every_group_of_the_table_has_its_place() {
    for kind in crate::builtin::all() {
        assert!(GROUPS.iter().any(|(group, _)| *group == kind.group), "{}", kind.group);
    }
}

#[test]
fn names_follow_from_group_and_version() {
    let service = |name: &str, change: Value| {
        let mut spec =
            json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1});
        json_patch::merge(&mut spec, &change);
        made::<APIService>(json!({"metadata": {"name": name}, "spec": spec}))
    };
    for (name, change, expected) in [
        ("v1.a.b", json!({}), vec![]),
        ("v1.", json!({"group": null}), vec![]),
        (
            "x",
            json!({}),
            vec!["metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\""],
        ),
        (
            "v2.",
            json!({"group": null, "version": "v2", "versionPriority": 1001, "insecureSkipTLSVerify": true}),
            vec![
                "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ],
        ),
        ("v1.a.b", json!({"service": {"name": "s"}}), vec!["spec.service.namespace: Required value"]),
    ] {
        assert_eq!(wrong::<APIService>(&service(name, change.clone())), expected, "{name} {change}");
    }
    let remote = service("v1.a.b", json!({"service": {"name": "s", "namespace": "n"}}));
    assert_eq!(remote["spec"]["service"]["port"], 443);
    assert_eq!(cells::<APIService>(&remote)[1..3], [json!("n/s"), json!("Unknown")]);
}
