//! Endpoints and slices of services, case by case.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::{legacy, mirror, service};
use crate::frame::Action;

fn service_of(spec: &Value) -> Arc<Service> {
    let mut all = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}], "clusterIP": "10.96.0.7", "ipFamilies": ["IPv4"]});
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    let meta = json!({"name": "web", "namespace": "d", "uid": "svc", "labels": {"team": "a"}, "creationTimestamp": "2026-01-01T00:00:00Z"});
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": all})).unwrap())
}

fn pod(number: usize, ready: bool, terminating: bool) -> Arc<Pod> {
    let pod = json!({
        "metadata": {
            "name": format!("p{number}"), "namespace": "d", "uid": format!("uid-{number:03}"),
            "deletionTimestamp": terminating.then_some("2026-01-01T00:00:00Z"),
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9000 + number % 2}]}]},
        "status": {
            "phase": "Running", "podIP": format!("10.244.{}.{}", number / 250, number % 250 + 1),
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "lastTransitionTime": "2026-01-01T00:01:00Z"}],
        },
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

/// Plans and carries out, and says what was done; `slices` becomes what there is then.
fn slices_after(
    service: &Arc<Service>,
    pods: Vec<Arc<Pod>>,
    slices: &mut Vec<Arc<EndpointSlice>>,
) -> Vec<String> {
    let zones = HashMap::from([("n1".to_owned(), "z1".to_owned())]);
    let plan = service::plan(&service::Snapshot {
        service: Arc::clone(service),
        pods,
        slices: slices.clone(),
        zones,
    });
    carry_out(plan.actions, slices)
}

fn carry_out(actions: Vec<Action>, slices: &mut Vec<Arc<EndpointSlice>>) -> Vec<String> {
    let mut told = Vec::new();
    for action in actions {
        match action {
            Action::Create { bodies, .. } => {
                let mut body = (*bodies[0]).clone();
                let name = format!("slice-{}", slices.len() + 1);
                told.push(format!("create {name}"));
                body["metadata"]["name"] = json!(name);
                body["metadata"]["uid"] = json!(name);
                slices.push(Arc::new(serde_json::from_value(body).unwrap()));
            }
            Action::Patch { name, body, .. } => {
                told.push(format!("change {name}"));
                let slice =
                    slices.iter_mut().find(|slice| slice.metadata.name.as_deref() == Some(&name)).unwrap();
                let mut changed = serde_json::to_value(&**slice).unwrap();
                changed["endpoints"] =
                    body.get("endpoints").cloned().unwrap_or_else(|| changed["endpoints"].clone());
                *slice = Arc::new(serde_json::from_value(changed).unwrap());
            }
            Action::Delete { name, .. } => {
                told.push(format!("delete {name}"));
                slices.retain(|slice| slice.metadata.name.as_deref() != Some(&name));
            }
            Action::Tell { .. } | Action::CatchUp { .. } | Action::Release { .. } => {}
        }
    }
    told
}

fn sizes(slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    slices.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).collect()
}

#[test]
fn a_slice_tells_all_about_an_endpoint() {
    let mut slices = vec![];
    slices_after(&service_of(&json!({})), vec![pod(1, true, false)], &mut slices);
    let slice = serde_json::to_value(&*slices[0]).unwrap();
    let labels = json!({"team": "a", "kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    assert_eq!(slice["metadata"]["labels"], labels);
    assert_eq!(slice["metadata"]["generateName"], "web-");
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!(
        slice["metadata"]["annotations"]["endpoints.kubernetes.io/last-change-trigger-time"],
        "2026-01-01T00:01:00Z"
    );
    assert_eq!(slice["ports"], json!([{"name": "", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(
        slice["endpoints"],
        json!([{
            "addresses": ["10.244.0.2"], "nodeName": "n1", "zone": "z1",
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "name": "p1", "namespace": "d", "uid": "uid-001"},
        }])
    );
}

#[test]
fn conditions_of_endpoints() {
    let cases = [
        (json!({}), pod(1, false, false), [false, false, false]),
        (json!({}), pod(1, true, true), [false, true, true]),
        (json!({"publishNotReadyAddresses": true}), pod(1, false, false), [true, false, false]),
    ];
    for (spec, pod, [ready, serving, terminating]) in cases {
        let mut slices = vec![];
        slices_after(&service_of(&spec), vec![pod], &mut slices);
        let conditions = slices[0].endpoints.as_ref().unwrap()[0].conditions.clone().unwrap();
        let found = [conditions.ready, conditions.serving, conditions.terminating];
        assert_eq!(found, [Some(ready), Some(serving), Some(terminating)], "{spec}");
    }
}

#[test]
fn slices_hold_a_hundred_and_change_little() {
    let service = service_of(&json!({}));
    let pods =
        |range: std::ops::Range<usize>| range.map(|number| pod(number, true, false)).collect::<Vec<_>>();
    let mut slices = vec![];
    assert_eq!(slices_after(&service, vec![], &mut slices), ["create slice-1"], "one is always there");
    assert!(slices_after(&service, vec![], &mut slices).is_empty());
    slices.clear();
    assert_eq!(slices_after(&service, pods(0..230), &mut slices).len(), 3);
    assert_eq!(sizes(&slices), [100, 100, 30]);
    assert!(slices_after(&service, pods(0..230), &mut slices).is_empty(), "nothing new, nothing written");
    assert_eq!(slices_after(&service, pods(1..232), &mut slices), ["change slice-1", "change slice-3"]);
    assert_eq!(sizes(&slices), [100, 100, 31]);
    let told = slices_after(&service, pods(1..90), &mut slices);
    assert_eq!(told, ["change slice-1", "delete slice-2", "delete slice-3"]);
}

#[test]
fn pods_with_other_named_ports_get_other_slices() {
    let service =
        service_of(&json!({"ports": [{"name": "web", "port": 80, "targetPort": "http", "protocol": "TCP",
            "appProtocol": "kubernetes.io/h2c"}]}));
    let mut slices = vec![];
    slices_after(&service, vec![pod(1, true, false), pod(2, true, false)], &mut slices);
    let mut ports: Vec<i32> =
        slices.iter().map(|slice| slice.ports.as_ref().unwrap()[0].port.unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [9000, 9001]);
    let named = |slice: &Arc<EndpointSlice>| {
        let port = slice.ports.as_ref().unwrap()[0].clone();
        (port.name.unwrap(), port.app_protocol.unwrap())
    };
    assert_eq!(named(&slices[0]), ("web".to_owned(), "kubernetes.io/h2c".to_owned()));
}

#[test]
fn services_that_have_no_slices_of_ours() {
    for spec in [json!({"selector": null}), json!({"type": "ExternalName"})] {
        assert!(
            slices_after(&service_of(&spec), vec![pod(1, true, false)], &mut vec![]).is_empty(),
            "{spec}"
        );
    }
}

fn endpoints_of(spec: &Value, pods: Vec<Arc<Pod>>) -> Value {
    let plan = legacy::plan(&legacy::Snapshot {
        service: Some(service_of(spec)),
        pods,
        endpoints: None,
        abandoned: false,
    });
    let [Action::Create { bodies, .. }] = plan.actions.as_slice() else { panic!("{plan:?}") };
    (*bodies[0]).clone()
}

#[test]
fn endpoints_tell_ready_from_not_ready() {
    let made = endpoints_of(
        &json!({}),
        vec![pod(2, true, false), pod(1, true, false), pod(3, false, false), pod(4, true, true)],
    );
    assert_eq!(
        made["metadata"]["labels"],
        json!({"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"})
    );
    let address = |number: usize| {
        let target = json!({"kind": "Pod", "name": format!("p{number}"), "namespace": "d", "uid": format!("uid-{number:03}")});
        json!({"ip": format!("10.244.0.{}", number + 1), "nodeName": "n1", "targetRef": target})
    };
    assert_eq!(
        made["subsets"],
        json!([{
            "addresses": [address(1), address(2)],
            "notReadyAddresses": [address(3)],
            "ports": [{"port": 8080, "protocol": "TCP"}],
        }])
    );
}

#[test]
fn headless_endpoints_and_empty_ones() {
    let made = endpoints_of(&json!({"clusterIP": "None", "ports": null}), vec![pod(1, true, false)]);
    assert_eq!(made["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert_eq!(made["subsets"][0].get("ports"), None);
    assert_eq!(endpoints_of(&json!({}), vec![]).get("subsets"), None);
}

#[test]
fn ports_that_only_some_pods_have_make_subsets() {
    let ports = json!([{"name": "a", "port": 1, "targetPort": 1, "protocol": "TCP"}, {"name": "b", "port": 2, "targetPort": "http", "protocol": "TCP"}]);
    let made = endpoints_of(&json!({"ports": ports}), vec![pod(1, true, false), pod(2, true, false)]);
    let subsets = made["subsets"].as_array().unwrap();
    let summary: Vec<(usize, usize)> = subsets
        .iter()
        .map(|subset| {
            (subset["addresses"].as_array().unwrap().len(), subset["ports"].as_array().unwrap().len())
        })
        .collect();
    assert_eq!(summary, [(1, 1), (2, 1), (1, 1)]);
}

#[test]
fn endpoints_go_with_their_service_and_stay_when_nothing_changes() {
    let present: Endpoints = {
        let mut body = endpoints_of(&json!({}), vec![pod(1, true, false)]);
        body["metadata"]["uid"] = json!("ep");
        serde_json::from_value(body).unwrap()
    };
    let present = Arc::new(present);
    let snapshot = |service, pods| legacy::Snapshot {
        service,
        pods,
        endpoints: Some(Arc::clone(&present)),
        abandoned: false,
    };
    let same = legacy::plan(&snapshot(Some(service_of(&json!({}))), vec![pod(1, true, false)]));
    assert!(same.actions.is_empty(), "{same:?}");
    let gone = legacy::plan(&snapshot(None, vec![]));
    assert!(matches!(gone.actions.as_slice(), [Action::Delete { .. }]));
    let mut made: Endpoints = (*present).clone();
    made.metadata.labels = None;
    let mut early = snapshot(None, vec![]);
    early.endpoints = Some(Arc::new(made));
    assert!(legacy::plan(&early).actions.is_empty(), "hand-made ones may come before their service");
    early.abandoned = true;
    assert_eq!(legacy::plan(&early).actions.len(), 1);
}

#[test]
fn hand_made_endpoints_are_mirrored() {
    let endpoints = json!({
        "metadata": {"name": "web", "namespace": "d", "uid": "ep", "labels": {"x": "y"}},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "ports": [{"port": 80, "protocol": "TCP"}]}],
    });
    let snapshot = |labels: Value, selector: Value| {
        let mut endpoints = endpoints.clone();
        endpoints["metadata"]["labels"] = labels;
        mirror::Snapshot {
            service: Some(service_of(&json!({"selector": selector}))),
            endpoints: Some(Arc::new(serde_json::from_value(endpoints).unwrap())),
            slices: vec![],
        }
    };
    let mut slices = vec![];
    carry_out(mirror::plan(&snapshot(json!({"x": "y"}), json!(null))).actions, &mut slices);
    let families: Vec<&str> = slices.iter().map(|slice| slice.address_type.as_str()).collect();
    assert_eq!(families, ["IPv4", "IPv6"]);
    assert_eq!(slices[0].endpoints.as_ref().unwrap()[0].addresses, ["192.0.2.1"]);
    let labels = slices[0].metadata.labels.as_ref().unwrap();
    assert_eq!(labels["endpointslice.kubernetes.io/managed-by"], "endpointslicemirroring-controller.k8s.io");
    assert_eq!(labels["x"], "y");
    let skipped = snapshot(json!({"endpointslice.kubernetes.io/skip-mirror": "true"}), json!(null));
    assert!(mirror::plan(&skipped).actions.is_empty());
    assert!(mirror::plan(&snapshot(json!({}), json!({"app": "web"}))).actions.is_empty());
}
