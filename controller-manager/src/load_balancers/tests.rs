use super::*;
use api::Message;
use serde_json::{Value, json};

const POOL: &str = "192.0.2.128/29";

/// A service that is held; `more` is laid over it.
fn service(more: Value) -> Service {
    let mut service = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "creationTimestamp": "2026-01-02T00:00:00Z", "finalizers": [FINALIZER]},
        "spec": {"type": "LoadBalancer"},
    });
    lay_over(&mut service, &more);
    serde_json::from_value(service).unwrap()
}

fn lay_over(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

fn has(address: &str) -> Value {
    json!({"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}})
}

fn snapshot(service: Service, taken: &[&str], nodes: &[&str]) -> Snapshot {
    let other = |address: &&str| {
        let other = json!({"metadata": {"name": format!("of-{address}"), "namespace": "shop"}, "spec": {}});
        (address.parse().unwrap(), Arc::new(serde_json::from_value(other).unwrap()))
    };
    Snapshot {
        service: Arc::new(service),
        taken: taken.iter().map(other).collect(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        pool: POOL.parse().unwrap(),
    }
}

/// Actions in short: reasons of events, and what is patched.
fn shown(plan: Plan) -> Vec<String> {
    let short = |action| match action {
        Action::Tell { reason, .. } => reason.to_owned(),
        Action::Patch { mut body, .. } => {
            let object = body.as_object_mut().unwrap();
            let meta = object["metadata"].as_object_mut().unwrap();
            meta.retain(|key, _| !["uid", "resourceVersion"].contains(&&**key));
            if meta.is_empty() {
                object.remove("metadata");
            }
            body.to_string()
        }
        other => format!("{other:?}"),
    };
    plan.actions.into_iter().map(short).collect()
}

fn refused(snapshot: &Snapshot) -> String {
    match &*serve(snapshot).actions {
        [Action::Tell { warning: true, reason: "SyncLoadBalancerFailed", message, .. }] => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_service_is_held_before_it_is_given_anything() {
    let new = service(json!({"metadata": {"finalizers": null}}));
    let new = snapshot(new, &[], &["n1"]);
    assert_eq!(
        shown(plan(&new)),
        [
            "EnsuringLoadBalancer",
            r#"{"metadata":{"finalizers":["service.kubernetes.io/load-balancer-cleanup"]}}"#
        ]
    );
    assert_eq!(serve(&new), Plan::default());

    // The last byte of 192.0.2.130 chooses the first of two nodes.
    let held = snapshot(service(json!({})), &["192.0.2.129"], &["n1", "n2"]);
    assert_eq!(plan(&held), Plan::default());
    assert_eq!(
        shown(serve(&held)),
        [
            r#"{"metadata":{"annotations":{"skiff.local/load-balancer-node":"n1"}}}"#,
            r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.130","ipMode":"VIP"}]}}}"#,
            "EnsuredLoadBalancer",
        ]
    );
    let served = json!({"metadata": {"annotations": {NODE: "n1"}}, "status": has("192.0.2.130")});
    let served = snapshot(service(served), &["192.0.2.129"], &["n1", "n2"]);
    assert_eq!((plan(&served), serve(&served)), (Plan::default(), Plan::default()));
}

#[test]
fn addresses_are_asked_for_kept_and_moved() {
    let given = |more: Value, taken: &[&str]| {
        let snapshot = snapshot(service(more), taken, &["n1"]);
        address(&snapshot).map(|address| address.to_string())
    };
    let ask = |address: &str| json!({"spec": {"loadBalancerIP": address}, "status": has("192.0.2.130")});
    for (more, taken, expected) in [
        (json!({}), &[][..], "192.0.2.129"),
        (json!({"status": has("192.0.2.134")}), &[], "192.0.2.134"),
        (json!({"status": has("203.0.113.9")}), &[], "192.0.2.129"),
        // Whoever else has it is older: it was made at no time.
        (json!({"status": has("192.0.2.129")}), &["192.0.2.129"], "192.0.2.130"),
        (ask("192.0.2.130"), &[], "192.0.2.130"),
        (ask("192.0.2.133"), &[], "192.0.2.133"),
        (ask(""), &[], "192.0.2.130"),
    ] {
        assert_eq!(given(more.clone(), taken).as_deref(), Ok(expected), "{more} {taken:?}");
    }
    for (more, taken, why) in [
        (
            ask("192.0.2.130"),
            "192.0.2.130",
            "the address 192.0.2.130 is that of the service shop/of-192.0.2.130",
        ),
        (ask("192.0.2.1"), "192.0.2.130", "the address 192.0.2.1 is not in the pool 192.0.2.128/29"),
        (ask("fd00::1"), "192.0.2.130", "\"fd00::1\" is no IPv4 address"),
    ] {
        assert_eq!(given(more, &[taken]), Err(Message::from(why.to_owned())));
    }
    let all: Vec<String> = (129..135).map(|last| format!("192.0.2.{last}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(
        refused(&snapshot(service(json!({})), &all, &["n1"])),
        "Error syncing load balancer: failed to ensure load balancer: no address of the pool 192.0.2.128/29 is free"
    );
}

#[test]
fn another_node_answers_when_one_may_not() {
    let on = |node: &str, nodes: &[&str]| {
        let more = json!({"metadata": {"annotations": {NODE: node}}, "status": has("192.0.2.129")});
        shown(serve(&snapshot(service(more), &[], nodes)))
    };
    let moved = |to: &str| {
        vec![
            format!(r#"{{"metadata":{{"annotations":{{"skiff.local/load-balancer-node":"{to}"}}}}}}"#),
            "UpdatedLoadBalancer".to_owned(),
        ]
    };
    assert_eq!(on("n1", &["n1", "n2"]), Vec::<String>::new());
    assert_eq!(on("n2", &["n1", "n2"]), Vec::<String>::new(), "no move without need");
    assert_eq!(on("n1", &["n2", "n3"]), moved("n3"));
    assert_eq!(on("n1", &[]), Vec::<String>::new());
    let nobody = shown(serve(&snapshot(service(json!({})), &[], &[])));
    assert_eq!((&*nobody[0], nobody.len()), ("UnAvailableLoadBalancer", 3));

    let node = |more: Value| {
        let mut node = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        lay_over(&mut node, &more);
        may_answer(&serde_json::from_value(node).unwrap())
    };
    for (more, may) in [
        (json!({}), true),
        (json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}), false),
        (json!({"metadata": {"deletionTimestamp": "2026-01-02T00:00:00Z"}}), false),
        (json!({"metadata": {"labels": {EXCLUDED_LABEL: ""}}}), false),
        (json!({"metadata": {"labels": {EXCLUDED_LABEL: "false"}}}), true),
        (
            json!({"spec": {"unschedulable": true, "taints": [{"key": "other", "effect": "NoSchedule"}]}}),
            true,
        ),
        (json!({"spec": {"taints": [{"key": DELETION_TAINT, "effect": "NoSchedule"}]}}), false),
    ] {
        assert_eq!(node(more.clone()), may, "{more}");
    }
}

#[test]
fn what_one_has_is_taken_back() {
    let served = |more: Value| {
        let mut all = json!({"metadata": {"annotations": {NODE: "n1"}}, "status": has("192.0.2.129")});
        lay_over(&mut all, &more);
        let snapshot = snapshot(service(all), &[], &["n1"]);
        assert_eq!(serve(&snapshot), Plan::default());
        shown(plan(&snapshot))
    };
    let let_go = r#"{"metadata":{"annotations":{"skiff.local/load-balancer-node":null},"finalizers":[]}}"#;
    assert_eq!(
        served(json!({"metadata": {"deletionTimestamp": "2026-01-02T00:00:00Z"}})),
        ["DeletingLoadBalancer", let_go, "DeletedLoadBalancer"]
    );
    assert_eq!(
        served(json!({"spec": {"type": "ClusterIP"}})),
        [
            "DeletingLoadBalancer",
            let_go,
            r#"{"status":{"loadBalancer":{"ingress":null}}}"#,
            "DeletedLoadBalancer"
        ]
    );
}

#[test]
fn a_load_balancer_of_a_class_is_left_alone() {
    let classed = service(
        json!({"spec": {"loadBalancerClass": "example.org/other"}, "metadata": {"finalizers": null}}),
    );
    let snapshot = snapshot(classed, &[], &["n1"]);
    assert_eq!((plan(&snapshot), serve(&snapshot)), (Plan::default(), Plan::default()));
}

#[test]
fn traffic_that_stays_on_a_node_is_asked_for_where_endpoints_are_ready() {
    let slice = json!({"addressType": "IPv4", "endpoints": [
        {"addresses": ["10.244.0.5"], "nodeName": "n1", "conditions": {"ready": true}},
        {"addresses": ["10.244.1.5"], "nodeName": "n2", "conditions": {"ready": false}},
        {"addresses": ["10.244.2.5"], "nodeName": "n3"},
        {"addresses": ["192.0.2.9"]},
    ]});
    let nodes = nodes_of(&[Arc::new(serde_json::from_value(slice).unwrap())]);
    assert_eq!(nodes.iter().collect::<Vec<_>>(), ["n1", "n3"]);
}
