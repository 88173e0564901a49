use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, made, wrong};

fn rbac(kind: &str, fields: Value) -> Value {
    let mut raw =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": "system:x"}});
    json_patch::merge(&mut raw, &fields);
    raw
}

#[test]
fn rules_say_what_and_where() {
    let role = made::<Role>(rbac("Role", json!({"rules": []})));
    assert_eq!(role["rules"], Value::Null);
    let urls = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]});
    assert_eq!(
        wrong::<Role>(&made::<Role>(rbac("Role", urls.clone()))),
        [
            "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs"
        ]
    );
    assert_eq!(wrong::<ClusterRole>(&made::<ClusterRole>(rbac("ClusterRole", urls))), Vec::<String>::new());
}

#[test]
fn a_binding_keeps_its_role() {
    let bind = |name: &str, subject: Value| {
        let fields = json!({"roleRef": {"kind": "Role", "name": name}, "subjects": [subject]});
        made::<RoleBinding>(rbac("RoleBinding", fields))
    };
    let old = bind("r", json!({"kind": "User", "name": "eve"}));
    assert_eq!(wrong::<RoleBinding>(&old), Vec::<String>::new());
    assert_eq!(old["subjects"][0]["apiGroup"], GROUP);
    assert_eq!(
        changed::<RoleBinding>(&bind("s", json!({"kind": "Robot", "name": "r"})), &old),
        [
            "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"s\"}: cannot change roleRef",
        ]
    );
}

#[test]
fn what_is_aggregated_is_selected() {
    let role = |selectors: Value| {
        let fields = json!({"aggregationRule": {"clusterRoleSelectors": selectors}});
        wrong::<ClusterRole>(&made::<ClusterRole>(rbac("ClusterRole", fields)))
    };
    let at = "aggregationRule.clusterRoleSelectors";
    assert_eq!(role(json!([{"matchLabels": {"a": "b"}}])), Vec::<String>::new());
    assert_eq!(
        role(json!([{"matchExpressions": [{"key": "a", "operator": "In"}]}])),
        [
            format!(
                "{at}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            ),
            format!("{at}[0]: Invalid value: null: invalid label selector."),
        ]
    );
}
