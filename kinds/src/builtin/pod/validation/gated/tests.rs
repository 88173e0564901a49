use serde_json::{Value, json};

use crate::builtin::{
    pod::Pod,
    testing::{changed, made, wrong},
};

fn pod(spec: &Value) -> Value {
    let mut whole = json!({"containers": [{"name": "c", "image": "i"}], "schedulingGates": [{"name": "g"}]});
    json_patch::merge(&mut whole, spec);
    made::<Pod>(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": whole}))
}

fn affinity(terms: Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
}

#[test]
fn gates_come_before_a_node_and_only_go() {
    assert_eq!(
        wrong::<Pod>(&pod(&json!({"nodeName": "n"}))),
        ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]
    );
    let open = pod(&json!({"schedulingGates": null}));
    assert_eq!(changed::<Pod>(&open, &pod(&json!({}))), Vec::<String>::new());
    let other = pod(&json!({"schedulingGates": [{"name": "h"}]}));
    assert_eq!(
        changed::<Pod>(&other, &pod(&json!({}))),
        [
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'"
        ]
    );
}

#[test]
fn where_a_gated_pod_may_run_is_only_narrowed() {
    let term = |key: &str| json!({"key": key, "operator": "Exists"});
    let terms_at =
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let one = affinity(json!([{"matchExpressions": [term("a")]}]));
    for (old, new, expected) in [
            (json!({}), json!({"nodeSelector": {"a": "b"}}), None),
            (json!({"nodeSelector": {"a": "b"}}), json!({"nodeSelector": {"a": "b", "c": "d"}}), None),
            (
                json!({"nodeSelector": {"a": "b"}}),
                json!({"nodeSelector": {"a": "c"}}),
                Some("spec.nodeSelector: Invalid value: {\"a\":\"c\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)".to_owned()),
            ),
            (json!({}), one.clone(), None),
            (one.clone(), affinity(json!([{"matchExpressions": [term("a"), term("b")]}])), None),
            (
                one.clone(),
                affinity(json!([{"matchExpressions": [term("b")]}])),
                Some(format!("{terms_at}[0]: Invalid value: {{\"MatchExpressions\":[{{\"Key\":\"b\",\"Operator\":\"Exists\",\"Values\":null}}],\"MatchFields\":null}}: only additions are allowed (no mutations or deletions)")),
            ),
            (
                one,
                json!({}),
                Some(format!("{terms_at}: Invalid value: null: no additions/deletions to non-empty NodeSelectorTerms list are allowed")),
            ),
        ] {
            let said = changed::<Pod>(&pod(&new), &pod(&old));
            assert_eq!(said, expected.into_iter().collect::<Vec<_>>(), "{old} {new}");
        }
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}});
    let said = changed::<Pod>(&pod(&near), &pod(&json!({})));
    assert!(
        said.len() == 1 && said[0].starts_with("spec: Forbidden: pod updates may not change"),
        "{said:?}"
    );
    let old = pod(&json!({"schedulingGates": null}));
    let said = changed::<Pod>(&pod(&json!({"schedulingGates": null, "nodeSelector": {"a": "b"}})), &old);
    assert!(
        said.len() == 1 && said[0].starts_with("spec: Forbidden: pod updates may not change"),
        "{said:?}"
    );
}
