use serde_json::{Value, json};

use crate::{
    builtin::{
        pod::Pod,
        testing::{changed_in, made},
    },
    kind::Part,
};

fn said(spec: &Value, old: &Value, new: &Value) -> Vec<String> {
    let mut whole = json!({"containers": [{"name": "c", "image": "i"}]});
    json_patch::merge(&mut whole, spec);
    let mut before =
        made::<Pod>(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": whole}));
    json_patch::merge(&mut before["status"], old);
    let mut after = before.clone();
    json_patch::merge(&mut after["status"], new);
    changed_in::<Pod>(Part::Status, &after, &before)
}

fn container(list: &str, state: Value) -> Value {
    json!({list: [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state}]})
}

#[test]
fn what_ended_for_good_stays_ended() {
    let main = "containerStatuses";
    let refused = |list: &str| {
        vec![format!("status.{list}[0].state: Forbidden: may not be transitioned to non-terminated state")]
    };
    let rule = json!({"name": "c", "image": "i", "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]});
    for (spec, list, code, expected) in [
        (json!({"restartPolicy": "Always"}), main, 0, vec![]),
        (json!({"restartPolicy": "OnFailure"}), main, 1, vec![]),
        (json!({"restartPolicy": "OnFailure"}), main, 0, refused(main)),
        (json!({"restartPolicy": "Never"}), main, 1, refused(main)),
        (json!({"restartPolicy": "Never", "containers": [rule]}), main, 1, vec![]),
        (json!({"restartPolicy": "Never"}), "initContainerStatuses", 0, vec![]),
        (
            json!({"restartPolicy": "Always"}),
            "ephemeralContainerStatuses",
            1,
            refused("ephemeralContainerStatuses"),
        ),
    ] {
        let old = container(list, json!({"terminated": {"exitCode": code}}));
        for state in [json!({"running": {}}), json!({"waiting": {}})] {
            assert_eq!(said(&spec, &old, &container(list, state)), expected, "{spec} {code}");
        }
        assert_eq!(said(&spec, &old, &old), Vec::<String>::new());
    }
    let ended = json!({"terminated": {"exitCode": 0}});
    let mut again = container(main, json!({"running": {}}));
    again[main][0]["image"] = json!("j");
    let never = json!({"restartPolicy": "Never"});
    assert!(said(&never, &container(main, ended), &again).is_empty(), "its image was changed");
}

#[test]
fn addresses_are_one_of_each_family() {
    let same = "may specify no more than one IP for each IP family";
    for (status, expected) in [
        (json!({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}), vec![]),
        (json!({"hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}]}), vec![]),
        (
            json!({"podIPs": [{"ip": "here"}]}),
            vec!["status.podIPs[0]: Invalid value: \"here\": must be a valid IP address,".to_owned()],
        ),
        (
            json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}),
            vec![
                format!(
                    "status.podIPs: Invalid value: [{{\"IP\":\"10.0.0.1\"}},{{\"IP\":\"10.0.0.1\"}}]: {same}"
                ),
                "status.podIPs[1]: Duplicate value: {\"IP\":\"10.0.0.1\"}".to_owned(),
            ],
        ),
        (
            json!({"hostIP": "192.0.2.2", "hostIPs": [{"ip": "192.0.2.1"}]}),
            vec!["status.hostIPs[0].ip: Invalid value: \"192.0.2.1\": must be equal to `hostIP`".to_owned()],
        ),
    ] {
        assert_eq!(said(&json!({}), &json!({}), &status), expected, "{status}");
    }
}

#[test]
fn the_quality_of_service_stays() {
    assert_eq!(said(&json!({}), &json!({}), &json!({"qosClass": "BestEffort"})), Vec::<String>::new());
    assert_eq!(
        said(&json!({}), &json!({}), &json!({"qosClass": "Guaranteed"})),
        ["status.qosClass: Invalid value: \"Guaranteed\": field is immutable"]
    );
}

#[test]
fn conditions_have_names() {
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True"}]});
    assert_eq!(said(&json!({}), &json!({}), &condition("example.org/ready")), Vec::<String>::new());
    let wrong = said(&json!({}), &json!({}), &condition("not a name"));
    assert!(
        wrong.len() == 1 && wrong[0].starts_with("metadata.conditions[0].Type: Invalid value"),
        "{wrong:?}"
    );
}
