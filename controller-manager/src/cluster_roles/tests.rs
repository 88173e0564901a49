use serde_json::{Value, json};

use super::*;

fn role(name: &str, fields: Value) -> Arc<ClusterRole> {
    let mut role = json!({"metadata": {"name": name}});
    json_patch::merge(&mut role, &fields);
    Arc::new(serde_json::from_value(role).unwrap())
}

fn part(name: &str, label: &str, rules: &[Value]) -> Arc<ClusterRole> {
    role(name, json!({"metadata": {"labels": {label: "true"}}, "rules": rules}))
}

#[test]
fn a_role_has_the_rules_of_those_it_selects() {
    let rule = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["get"]});
    let whole = |rules: Value| {
        let selectors = json!([{"matchLabels": {"a": "true"}}, {"matchLabels": {"b": "true"}}]);
        role(
            "whole",
            json!({
                "metadata": {"labels": {"a": "true"}},
                "aggregationRule": {"clusterRoleSelectors": selectors}, "rules": rules,
            }),
        )
    };
    let parts = [
        part("z", "a", &[rule("pods"), rule("nodes")]),
        part("y", "a", &[rule("secrets"), rule("pods")]),
        part("x", "b", &[rule("events"), rule("pods")]),
        part("other", "c", &[rule("services")]),
    ];
    let expected = json!([rule("secrets"), rule("pods"), rule("nodes"), rule("events")]);
    for (now, parts, wanted) in [
        (json!(null), &parts[..], Some(expected.clone())),
        (expected, &parts, None),
        (json!([rule("pods")]), &parts[3..], Some(Value::Null)),
        (json!(null), &[], None),
    ] {
        let role = whole(now.clone());
        let all = parts.iter().cloned().chain([Arc::clone(&role)]).collect();
        let plan = plan(&Snapshot { role, all });
        let rules = plan.actions.into_iter().map(|action| match action {
            Action::Patch { body, .. } => body["rules"].clone(),
            other => panic!("{other:?}"),
        });
        assert_eq!(rules.collect::<Vec<_>>(), Vec::from_iter(wanted), "{now}");
    }
    assert_eq!(
        plan(&Snapshot { role: part("z", "a", &[rule("pods")]), all: parts.to_vec() }),
        Plan::default()
    );
}
