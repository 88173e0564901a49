use serde_json::json;

use super::*;
use crate::builtin::testing::{changed, changed_in, made, wrong};

fn rule(path: Value) -> Value {
    let spec = json!({"rules": [{"host": "*.example.org", "http": {"paths": [path]}}]});
    made::<Ingress>(
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}, "spec": spec}),
    )
}

#[test]
fn what_is_wrong_is_named() {
    let service = json!({"service": {"name": "s", "port": {"number": 80}}});
    for (path, expected) in [
        (json!({"path": "/", "pathType": "Prefix", "backend": service}), vec![]),
        (
            json!({"path": "a//b", "pathType": "Exact", "backend": service}),
            vec![
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
            ],
        ),
        (
            json!({"path": "/", "pathType": "Regex", "backend": {}}),
            vec![
                "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
            ],
        ),
        (
            json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 1, "name": "a"}}}}),
            vec![
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number",
            ],
        ),
        (
            json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s"}}}),
            vec!["spec.rules[0].http.paths[0].backend: Required value: port name or number is required"],
        ),
        (
            json!({"path": "/", "pathType": "Prefix", "backend": {"resource": {"apiGroup": "example.org", "kind": "Bucket", "name": "b"}}}),
            vec![],
        ),
        (
            json!({"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "a/b", "name": ""}}}),
            vec![
                "spec.rules[0].http.paths[0].backend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
                "spec.rules[0].http.paths[0].backend.resource.name: Required value",
            ],
        ),
    ] {
        assert_eq!(wrong::<Ingress>(&rule(path.clone())), expected, "{path}");
    }
}

#[test]
fn a_new_ingress_names_one_class() {
    let mut ingress = rule(
        json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}),
    );
    ingress["spec"]["ingressClassName"] = "new".into();
    ingress["metadata"]["annotations"] = json!({CLASS: "new"});
    assert_eq!(wrong::<Ingress>(&ingress), Vec::<String>::new());
    ingress["metadata"]["annotations"][CLASS] = "old".into();
    assert_eq!(
        wrong::<Ingress>(&ingress),
        [
            "annotations.kubernetes.io/ingress.class: Invalid value: \"old\": must match `ingressClassName` when both are specified"
        ]
    );
    assert_eq!(changed::<Ingress>(&ingress, &ingress), Vec::<String>::new());
}

#[test]
fn a_status_says_where_the_load_balancer_is() {
    let old = rule(json!({}));
    for (entry, expected) in [
        (json!({"ip": "192.0.2.1", "hostname": "lb.example.org"}), vec![]),
        (
            json!({"ip": "here", "hostname": "192.0.2.1"}),
            vec![
                "status.loadBalancer.ingress[0].ip: Invalid value: \"here\": must be a valid IP address,",
                "status.loadBalancer.ingress[0].hostname: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address",
            ],
        ),
    ] {
        let mut new = old.clone();
        new["status"] = json!({"loadBalancer": {"ingress": [entry]}});
        assert_eq!(changed_in::<Ingress>(Part::Status, &new, &old), expected, "{entry}");
    }
}
