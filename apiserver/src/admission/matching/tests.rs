#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::registry::Registry;

/// Whether a rule is about an operation, and in which version: verb, group/version/resource[/subresource], namespace, name.
fn about(
    rule: Value,
    equivalent: bool,
    verb: Verb,
    path: &str,
    namespace: Option<&str>,
    name: &str,
) -> Option<String> {
    let rule = Rule::of_named(&serde_json::from_value(rule).unwrap());
    let parts: Vec<&str> = path.split('/').collect();
    let table = Registry::builtin().table();
    let own = table.find(parts[0], parts[1], parts[2]).unwrap();
    let target = Target { verb, subresource: parts.get(3).unwrap_or(&""), namespace, name };
    row(&[rule], equivalent, &target, own, &table.versions(own)).map(|row| row.api_version())
}

#[test]
fn rules_match_as_upstreams_do() {
    use Verb::*;
    let rule = |operations: &[&str], group: &str, version: &str, resources: &[&str], scope: &str| {
        json!({
            "operations": operations, "apiGroups": [group], "apiVersions": [version],
            "resources": resources, "scope": scope,
        })
    };
    let all = |resources: &[&str]| rule(&["*"], "*", "*", resources, "*");
    let ns = Some("n");
    for (rule, verb, path, namespace, expected) in [
        (rule(&["CREATE"], "", "v1", &["pods"], "*"), Create, "/v1/pods", ns, true),
        (rule(&["CREATE"], "", "v1", &["pods"], "*"), Update, "/v1/pods", ns, false),
        (rule(&["UPDATE", "DELETE"], "", "v1", &["pods"], "*"), Delete, "/v1/pods", ns, true),
        (rule(&["*"], "apps", "v1", &["pods"], "*"), Create, "/v1/pods", ns, false),
        (rule(&["*"], "*", "v2", &["pods"], "*"), Create, "/v1/pods", ns, false),
        (all(&["pods"]), Update, "/v1/pods/status", ns, false),
        (all(&["pods/status"]), Update, "/v1/pods/status", ns, true),
        (all(&["pods/*"]), Update, "/v1/pods/status", ns, true),
        (all(&["pods/*"]), Connect, "/v1/pods/exec", ns, true),
        // `*` is any subresource, and none.
        (all(&["pods/*"]), Create, "/v1/pods", ns, true),
        (all(&["*"]), Create, "/v1/pods", ns, true),
        (all(&["*"]), Update, "/v1/pods/status", ns, false),
        (all(&["*/*"]), Update, "/v1/pods/status", ns, true),
        (all(&["*/*"]), Create, "/v1/nodes", None, true),
        (all(&["*/scale"]), Update, "apps/v1/deployments/scale", ns, true),
        (all(&["*/scale"]), Update, "apps/v1/deployments", ns, false),
        (rule(&["*"], "*", "*", &["*/*"], "Namespaced"), Create, "/v1/pods", ns, true),
        (rule(&["*"], "*", "*", &["*/*"], "Namespaced"), Create, "/v1/nodes", None, false),
        (rule(&["*"], "*", "*", &["*/*"], "Cluster"), Create, "/v1/nodes", None, true),
        (rule(&["*"], "*", "*", &["*/*"], "Cluster"), Create, "/v1/pods", ns, false),
        // Requests to a namespace are in it, but it is in none.
        (rule(&["*"], "*", "*", &["*/*"], "Cluster"), Create, "/v1/namespaces", ns, true),
        (rule(&["*"], "*", "*", &["*/*"], "Namespaced"), Create, "/v1/namespaces", ns, false),
    ] {
        assert_eq!(
            about(rule.clone(), true, verb, path, namespace, "o").is_some(),
            expected,
            "{rule} {path}"
        );
    }
}

#[test]
fn rules_may_name_objects() {
    let rule = json!({
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"],
        "resourceNames": ["a", "b"],
    });
    for (name, expected) in [("a", true), ("b", true), ("c", false), ("", false)] {
        assert_eq!(about(rule.clone(), true, Verb::Update, "/v1/pods", Some("n"), name).is_some(), expected);
    }
}

#[test]
fn rules_for_one_version_are_about_the_others_unless_they_are_exact() {
    let rule = |group: &str, version: &str, resource: &str| {
        json!({
            "operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource],
        })
    };
    let scaler = rule("autoscaling", "v1", "horizontalpodautoscalers");
    let status = rule("autoscaling", "v1", "horizontalpodautoscalers/status");
    let events = rule("", "v1", "events");
    for (rule, equivalent, path, expected) in [
        (&scaler, true, "autoscaling/v2/horizontalpodautoscalers", Some("autoscaling/v1")),
        (&scaler, true, "autoscaling/v1/horizontalpodautoscalers", Some("autoscaling/v1")),
        (&scaler, false, "autoscaling/v2/horizontalpodautoscalers", None),
        (&status, true, "autoscaling/v2/horizontalpodautoscalers/status", Some("autoscaling/v1")),
        (&events, true, "events.k8s.io/v1/events", Some("v1")),
        (&events, true, "/v1/pods", None),
    ] {
        let found = about(rule.clone(), equivalent, Verb::Update, path, Some("n"), "o");
        assert_eq!(found.as_deref(), expected, "{rule} {path}");
    }
}
