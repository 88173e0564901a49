#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{super::Service, *};
use crate::kind::{Part, Rules, Typed};

fn service(spec: Value) -> Value {
    let raw = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
    let mut value = Typed::<Service>::RULES.default(raw).unwrap();
    Typed::<Service>::RULES.prepare_create(&mut value);
    super::super::settle_families(&mut value, None);
    value
}

fn wrong(spec: Value) -> Vec<String> {
    Typed::<Service>::RULES.validate(&service(spec)).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_wrong_is_named() {
    let port = json!([{"port": 80}]);
    for (spec, expected) in [
        (json!({"ports": port}), vec![]),
        (json!({"clusterIP": "None"}), vec![]),
        (json!({}), vec!["spec.ports: Required value"]),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": port}),
            vec![
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ],
        ),
        (
            json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}),
            vec![
                "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet",
            ],
        ),
        (
            json!({"type": "ExternalName", "externalName": "db.example.org.", "clusterIP": "10.96.0.7"}),
            vec!["spec.clusterIPs: Forbidden: may not be set for ExternalName services"],
        ),
        (
            json!({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2, "protocol": "ICMP"}]}),
            vec![
                "spec.ports[1].name: Duplicate value: \"a\"",
                "spec.ports[1].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ],
        ),
        (json!({"ports": [{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53}]}), vec![]),
        (
            json!({"ports": [{"name": "a", "port": 5}, {"name": "b", "port": 5, "targetPort": "web"}]}),
            vec![
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":5,\"TargetPort\":0,\"NodePort\":0}",
            ],
        ),
        (
            json!({"ports": port, "clusterIP": "10.96.0.300"}),
            vec![
                "spec.clusterIPs[0]: Invalid value: \"10.96.0.300\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        ),
        (
            json!({"ports": port, "externalIPs": ["127.0.0.1"]}),
            vec![
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
        (
            json!({"ports": port, "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 90000}}}),
            vec![
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than 86400",
            ],
        ),
        (
            json!({"ports": port, "externalTrafficPolicy": "Local"}),
            vec![
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        (
            json!({"ports": port, "internalTrafficPolicy": "Near"}),
            vec![
                "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
            ],
        ),
    ] {
        assert_eq!(wrong(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn updates_keep_what_was_handed_out() {
    let mut old = service(
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.9"}),
    );
    let update = |old: &Value, spec: Value| {
        let raw = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec});
        let mut new = Typed::<Service>::RULES.default(raw).unwrap();
        Typed::<Service>::RULES.prepare_update(&mut new, old, Part::Main);
        let found = Typed::<Service>::RULES.validate_update(&new, old, Part::Main);
        let said: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        super::super::settle_families(&mut new, Some(old));
        (new, said)
    };
    let (new, said) = update(&old, json!({"type": "NodePort", "ports": [{"port": 80}]}));
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(new["spec"], old["spec"]);

    let (_, said) =
        update(&old, json!({"type": "NodePort", "ports": [{"port": 80}], "clusterIP": "10.96.0.8"}));
    assert_eq!(said, ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"]);

    let mut same = old["spec"].clone();
    same["type"] = "ClusterIP".into();
    let (new, said) = update(&old, same);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(new["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(new["spec"].get("externalTrafficPolicy"), None);

    let local = |port: i32| json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port, "ports": [{"port": 80}]});
    let mut watched = service(local(30100));
    watched["spec"]["clusterIP"] = "10.96.0.10".into();
    watched["spec"]["clusterIPs"] = json!(["10.96.0.10"]);
    let (_, said) = update(&watched, local(30101));
    assert_eq!(said, ["spec.healthCheckNodePort: Forbidden: field is immutable"]);

    old["spec"]["type"] = "NodePort".into();
    let mut away = old["spec"].clone();
    away["type"] = "ExternalName".into();
    away["externalName"] = "x.example".into();
    let (new, said) = update(&old, away);
    assert_eq!(said, Vec::<String>::new());
    assert_eq!(new["spec"].get("clusterIP"), None);
}
