use serde_json::{Value, json};

use super::*;

fn pod() -> Pod {
    let template = json!({
        "metadata": {"labels": {"l": "1"}, "annotations": {"a": "2"}},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let volumes = json!([
        {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}},
        {"name": "plain", "emptyDir": {}},
    ]);
    let pod = json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"containers": [], "volumes": volumes},
    });
    serde_json::from_value(pod).expect("a pod")
}

fn planned(claim: Option<Value>) -> Vec<Action> {
    let claim = claim.map(|claim| Arc::new(serde_json::from_value(claim).expect("a claim")));
    let claims = claim.map(|claim| ("p-scratch".to_owned(), claim)).into_iter().collect();
    plan(&Snapshot { pod: Arc::new(pod()), claims })
}

#[test]
fn a_claim_is_made_from_the_template_and_owned_by_the_pod() {
    let [Action::Create { bodies, namespace, .. }] = &planned(None)[..] else { panic!("one claim") };
    assert_eq!(namespace, "n");
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true, "blockOwnerDeletion": true});
    let metadata = json!({
        "name": "p-scratch", "namespace": "n", "labels": {"l": "1"}, "annotations": {"a": "2"},
        "ownerReferences": [owner],
    });
    assert_eq!(bodies[0]["metadata"], metadata);
    assert_eq!(bodies[0]["spec"]["resources"]["requests"]["storage"], "1Gi");
}

#[test]
fn its_own_claim_is_left_alone_and_another_is_told() {
    let owner =
        |uid: &str| json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}]);
    let claim =
        |owner: Value| json!({"metadata": {"name": "p-scratch", "namespace": "n", "ownerReferences": owner}});
    assert_eq!(planned(Some(claim(owner("u")))), []);
    for other in [owner("earlier"), json!([])] {
        let [Action::Tell { reason, message, .. }] = &planned(Some(claim(other)))[..] else {
            panic!("an event")
        };
        assert_eq!(*reason, "FailedBinding");
        let words =
            "ephemeral volume scratch: PVC n/p-scratch was not created for pod n/p (pod is not owner)";
        assert_eq!(message, words);
    }
}
