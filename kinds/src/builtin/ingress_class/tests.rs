use serde_json::{Value, json};

use super::*;
use crate::builtin::testing::{changed, made, wrong};

#[test]
fn the_controller_has_a_domain_and_stays() {
    let class = |spec: Value| {
        made::<IngressClass>(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "i"}, "spec": spec}),
        )
    };
    let old = class(json!({"controller": "example.org/front"}));
    assert_eq!(wrong::<IngressClass>(&old), Vec::<String>::new());
    assert_eq!(
        wrong::<IngressClass>(&class(
            json!({"controller": "front", "parameters": {"kind": "K", "name": "n", "namespace": "x"}})
        )),
        [
            "spec.controller: Invalid value: \"front\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
        ]
    );
    assert_eq!(
        changed::<IngressClass>(&class(json!({"controller": "example.org/back"})), &old),
        ["spec.controller: Invalid value: \"example.org/back\": field is immutable"]
    );
}

#[test]
fn parameters_lie_where_their_scope_says() {
    let at = "spec.parameters";
    for (controller, parameters, expected) in [
        ("a.b/c", json!({"scope": "Namespace", "namespace": "n"}), None),
        (
            "a.b/c",
            json!({"scope": ""}),
            Some(format!("{at}.scope: Unsupported value: \"\": supported values: \"Cluster\", \"Namespace\"")),
        ),
        (
            "a.b/c",
            json!({"scope": "Namespace", "namespace": "a.b"}),
            Some(format!("{at}.namespace: Invalid value: \"a.b\": must not contain dots")),
        ),
        ("a.b/c", json!({"kind": ""}), Some(format!("{at}.kind: Required value"))),
        (
            "a.b/c d",
            json!({}),
            Some("spec.controller: Invalid value: \"c d\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".to_owned()),
        ),
    ] {
        let mut all = json!({"kind": "K", "name": "n"});
        json_patch::merge(&mut all, &parameters);
        let class = made::<IngressClass>(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "i"},
            "spec": {"controller": controller, "parameters": all},
        }));
        assert_eq!(wrong::<IngressClass>(&class), expected.into_iter().collect::<Vec<_>>(), "{parameters}");
    }
}
