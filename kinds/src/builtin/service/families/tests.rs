use serde_json::{Value, json};

use super::super::{Service, settle_families};
use crate::{
    builtin::testing::{made, wrong},
    kind::{Part, Rules, Typed},
};

/// The fields in question of a new service, or what is wrong with it.
fn new(spec: &Value) -> Result<Value, Vec<String>> {
    let mut whole = json!({"ports": [{"port": 80}], "selector": {"a": "b"}});
    json_patch::merge(&mut whole, spec);
    let mut service = made::<Service>(json!({"metadata": {"name": "s"}, "spec": whole}));
    match wrong::<Service>(&service) {
        said if said.is_empty() => {
            settle_families(&mut service, None);
            Ok(shown(&service))
        }
        said => Err(said),
    }
}

fn shown(service: &Value) -> Value {
    let spec = &service["spec"];
    json!([spec["ipFamilyPolicy"], spec["ipFamilies"], spec["clusterIPs"]])
}

#[test]
fn what_fits_is_filled_in() {
    for (spec, expected) in [
        (json!({}), json!(["SingleStack", ["IPv4"], null])),
        (json!({"ipFamilyPolicy": "PreferDualStack"}), json!(["PreferDualStack", ["IPv4"], null])),
        (json!({"clusterIP": "10.96.0.7"}), json!(["SingleStack", ["IPv4"], ["10.96.0.7"]])),
        (json!({"clusterIP": "None"}), json!(["SingleStack", ["IPv4"], ["None"]])),
        (
            json!({"clusterIP": "None", "selector": null}),
            json!(["RequireDualStack", ["IPv4", "IPv6"], ["None"]]),
        ),
        (
            json!({"clusterIP": "None", "selector": null, "ipFamilyPolicy": "SingleStack"}),
            json!(["SingleStack", ["IPv4"], ["None"]]),
        ),
        (
            json!({"clusterIP": "None", "selector": null, "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]}),
            json!(["PreferDualStack", ["IPv6", "IPv4"], ["None"]]),
        ),
        (json!({"type": "ExternalName", "externalName": "a.b", "ports": null}), json!([null, null, null])),
    ] {
        assert_eq!(new(&spec), Ok(expected), "{spec}");
    }
}

#[test]
fn what_the_cluster_does_not_have_is_refused() {
    let single = "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple";
    for (spec, expected) in [
            (
                json!({"ipFamilies": ["IPv6"]}),
                vec!["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster".to_owned()],
            ),
            (
                json!({"clusterIP": "fd00::1"}),
                vec![
                    "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster"
                        .to_owned(),
                ],
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack"}),
                vec![
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
                        .to_owned(),
                ],
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv6"]}),
                vec![format!("{single} IP families are specified")],
            ),
            (
                json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::1"]}),
                vec![
                    format!("{single} cluster IPs are specified"),
                    "spec.clusterIPs[1]: Invalid value: [\"10.96.0.7\",\"fd00::1\"]: IPv6 is not configured on this cluster"
                        .to_owned(),
                ],
            ),
            (
                json!({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}),
                vec![
                    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
                        .to_owned(),
                    "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster".to_owned(),
                ],
            ),
            (
                json!({"clusterIP": "None", "ipFamilies": ["IPv6"]}),
                vec!["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster".to_owned()],
            ),
            (
                json!({"clusterIPs": ["10.96.0.7"]}),
                vec![
                    "spec.clusterIPs: Invalid value: [\"10.96.0.7\"]: must be empty when `clusterIP` is not specified"
                        .to_owned(),
                ],
            ),
            (
                json!({"clusterIP": "10.96.0.7", "ipFamilies": ["IPv6"]}),
                vec![
                    "spec.clusterIPs[0]: Invalid value: \"10.96.0.7\": expected an IPv6 value as indicated by `ipFamilies[0]`"
                        .to_owned(),
                ],
            ),
            (
                json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "10.96.0.8"]}),
                vec![
                    "spec.clusterIPs: Invalid value: [\"10.96.0.7\",\"10.96.0.8\"]: may specify no more than one IP for each IP family"
                        .to_owned(),
                ],
            ),
            (
                json!({"ipFamilies": ["IPv4", "IPv4"], "ipFamilyPolicy": "Any"}),
                vec![
                    "spec.ipFamilies[1]: Duplicate value: \"IPv4\"".to_owned(),
                    "spec.ipFamilyPolicy: Unsupported value: \"Any\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\""
                        .to_owned(),
                ],
            ),
        ] {
            assert_eq!(new(&spec), Err(expected), "{spec}");
        }
}

#[test]
fn changes_go_through_the_policy() {
    let service = |spec: Value| {
        let mut whole = json!({"ports": [{"port": 80}], "selector": {"a": "b"}});
        json_patch::merge(&mut whole, &spec);
        let mut service = made::<Service>(json!({"metadata": {"name": "s"}, "spec": whole}));
        settle_families(&mut service, None);
        service
    };
    let change = |old: &Value, spec: Value| {
        let mut raw =
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}});
        json_patch::merge(&mut raw["spec"], &spec);
        let rules = Typed::<Service>::RULES;
        let mut new = rules.default(raw).expect("a service");
        rules.prepare_update(&mut new, old, Part::Main);
        let found = rules.validate_update(&new, old, Part::Main).errors;
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        settle_families(&mut new, Some(old));
        if said.is_empty() { Ok(shown(&new)) } else { Err(said) }
    };
    let plain = service(json!({"clusterIP": "10.96.0.7"}));
    let both = service(json!({"clusterIP": "None", "selector": null}));
    let kept = json!(["SingleStack", ["IPv4"], ["10.96.0.7"]]);
    for (old, spec, expected) in [
        (&plain, json!({}), Ok(kept.clone())),
        (&plain, json!({"clusterIP": "10.96.0.7"}), Ok(kept.clone())),
        (
            &plain,
            json!({"ipFamilyPolicy": "PreferDualStack"}),
            Ok(json!(["PreferDualStack", ["IPv4"], ["10.96.0.7"]])),
        ),
        (
            &plain,
            json!({"ipFamilyPolicy": "RequireDualStack"}),
            Err(vec![
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ]),
        ),
        (
            &plain,
            json!({"clusterIP": "10.96.0.8"}),
            Err(vec!["spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"]),
        ),
        (
            &plain,
            json!({"clusterIP": "None"}),
            Err(vec!["spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"]),
        ),
        (
            &plain,
            json!({"ipFamilies": ["IPv6"]}),
            Err(vec![
                "spec.clusterIPs[0]: Invalid value: \"10.96.0.7\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ]),
        ),
        // With a selector, there are the families that the cluster has.
        (
            &both,
            json!({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"}),
            Ok(json!(["PreferDualStack", ["IPv4"], ["None"]])),
        ),
        (
            &both,
            json!({"clusterIP": "None"}),
            Err(vec![
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ]),
        ),
        // A headless service may have its families changed, by a policy that says so.
        (&both, json!({"selector": null}), Ok(json!(["RequireDualStack", ["IPv4", "IPv6"], ["None"]]))),
        (
            &both,
            json!({"selector": null, "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}),
            Ok(json!(["SingleStack", ["IPv4"], ["None"]])),
        ),
        (
            &both,
            json!({"selector": null, "ipFamilies": ["IPv6"]}),
            Err(vec![
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary IP family",
            ]),
        ),
        (
            &plain,
            json!({"type": "ExternalName", "externalName": "a.b", "ports": null}),
            Ok(json!([null, null, null])),
        ),
    ] {
        let expected = expected.map_err(|said| said.into_iter().map(str::to_owned).collect());
        assert_eq!(change(old, spec.clone()), expected, "{spec}");
    }
    let external = service(json!({"type": "ExternalName", "externalName": "a.b", "ports": null}));
    assert_eq!(change(&external, json!({})), Ok(json!(["SingleStack", ["IPv4"], null])));
    assert_eq!(
        change(&external, json!({"clusterIP": "fd00::1"})),
        Err(vec![
            "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster"
                .to_owned()
        ])
    );
}

#[test]
fn node_ports_stay_with_the_names_of_their_ports() {
    let old = made::<Service>(json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [
                {"name": "a", "port": 80, "nodePort": 30080}, {"name": "b", "port": 81, "nodePort": 30081}]}}));
    for (ports, expected) in [
        (json!([{"name": "a", "port": 90}, {"name": "b", "port": 91}]), json!([30080, 30081])),
        (
            json!([{"name": "a", "port": 80}, {"name": "b", "port": 81, "nodePort": 30080}]),
            json!([null, 30080]),
        ),
        (json!([{"name": "c", "port": 80}, {"name": "b", "port": 80}]), json!([null, 30081])),
    ] {
        let raw = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": ports}});
        let rules = Typed::<Service>::RULES;
        let mut new = rules.default(raw).expect("a service");
        rules.prepare_update(&mut new, &old, Part::Main);
        let kept: Vec<&Value> =
            new["spec"]["ports"].as_array().into_iter().flatten().map(|p| &p["nodePort"]).collect();
        assert_eq!(json!(kept), expected, "{ports}");
    }
}
