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
