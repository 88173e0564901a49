#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::builtin::{
    self,
    testing::{cells, made, wrong},
};

fn autoscaler(spec: &Value) -> Value {
    let mut all = json!({"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}});
    json_patch::merge(&mut all, spec);
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}, "spec": all})
}

#[test]
fn defaults_aim_at_the_processor() {
    let object = made::<HorizontalPodAutoscaler>(autoscaler(
        &json!({"behavior": {"scaleDown": {"selectPolicy": "Min"}}}),
    ));
    assert_eq!(object["spec"]["minReplicas"], 1);
    assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    let behavior = &object["spec"]["behavior"];
    assert_eq!(behavior["scaleUp"]["stabilizationWindowSeconds"], 0);
    assert_eq!(behavior["scaleUp"]["policies"].as_array().unwrap().len(), 2);
    assert_eq!(behavior["scaleDown"]["selectPolicy"], "Min");
    assert_eq!(behavior["scaleDown"].get("stabilizationWindowSeconds"), None);
}

#[test]
fn what_is_wrong_is_named() {
    let one = |metric: Value| json!({"metrics": [metric]});
    let resource =
        |target: Value| one(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    for (spec, expected) in [
        (json!({}), vec![]),
        (
            json!({"minReplicas": 0, "maxReplicas": 0}),
            vec![
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.maxReplicas: Required value: must be set and greater than 0",
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
            ],
        ),
        (
            json!({"scaleTargetRef": {"apiVersion": null}}),
            vec!["spec.scaleTargetRef.apiVersion: Invalid value: \"\": apiVersion must specify API group"],
        ),
        (
            json!({"scaleTargetRef": {"apiVersion": "a/b/c"}}),
            vec![
                "spec.scaleTargetRef.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ],
        ),
        (json!({"scaleTargetRef": {"apiVersion": null, "kind": "ReplicationController"}}), vec![]),
        (
            one(json!({"type": "Pods", "pods": {
                "metric": {"name": "m", "selector": {"matchLabels": {"a": "b!"}}},
                "target": {"type": "AverageValue", "averageValue": "1"}}})),
            vec![],
        ),
        (
            one(json!({"type": "ContainerResource", "containerResource": {
                "name": "requests.cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 1}}})),
            vec![
                "spec.metrics[0].containerResource.name: Invalid value: \"requests.cpu\": must be a standard resource for containers",
            ],
        ),
        (
            json!({"behavior": {"scaleUp": {"policies": []}}}),
            vec!["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"],
        ),
        (
            json!({"minReplicas": 5}),
            vec!["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
        ),
        (
            json!({"scaleTargetRef": {"kind": "", "name": "a/b"}}),
            vec![
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
        (
            resource(json!({"type": "Utilization"})),
            vec![
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
            ],
        ),
        (
            resource(json!({"type": "Utilization", "averageUtilization": 0, "averageValue": "0"})),
            vec![
                "spec.metrics[0].resource.target.averageValue: Invalid value: \"0\": must be positive",
                "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
            ],
        ),
        (
            one(json!({"type": "Pods"})),
            vec![
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ],
        ),
        (
            json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "selectPolicy": "Most",
                "policies": [{"type": "Nodes", "value": 0, "periodSeconds": 1801}]}}}),
            vec![
                "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"Most\": supported values: \"Disabled\", \"Max\", \"Min\"",
                "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"Nodes\": supported values: \"Percent\", \"Pods\"",
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ],
        ),
    ] {
        let object = made::<HorizontalPodAutoscaler>(autoscaler(&spec));
        assert_eq!(wrong::<HorizontalPodAutoscaler>(&object), expected, "{spec}");
    }
}

#[test]
fn targets_show_what_is_and_what_is_wanted() {
    let object = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}},
            {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"averageValue": "10"}}},
            {"type": "External", "external": {}},
        ]},
        "status": {"currentReplicas": 2, "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]},
    });
    let cells = cells::<HorizontalPodAutoscaler>(&object);
    assert_eq!(
        cells[1..6],
        [
            json!("Deployment/d"),
            json!("cpu: 7%/80%, <unknown>/10 + 1 more..."),
            json!("<unset>"),
            json!(3),
            json!(2)
        ]
    );
}

#[test]
fn the_old_version_keeps_everything() {
    let kinds = builtin::all();
    let row = |version: &str| {
        kinds.iter().find(|k| k.kind == "HorizontalPodAutoscaler" && k.version == version).unwrap()
    };
    let (v1, v2) = (row("v1"), row("v2"));
    let mut object = made::<HorizontalPodAutoscaler>(autoscaler(&json!({
        "metrics": [
            {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
            {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
            {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c",
                "target": {"type": "Utilization", "averageUtilization": 60}}},
            {"type": "Pods", "pods": {"metric": {"name": "p", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "AverageValue", "averageValue": "5"}}},
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "o"},
                "target": {"type": "Value", "value": "9"}}},
            {"type": "External", "external": {"metric": {"name": "e", "selector": {"matchLabels": {"a": "b"}}},
                "target": {"type": "Value", "value": "7"}}},
        ],
        "behavior": {"scaleUp": {"tolerance": "100m"}},
    })));
    object["status"] = json!({"desiredReplicas": 2, "currentReplicas": 1,
        "conditions": [{"type": "AbleToScale", "status": "True"}],
        "currentMetrics": [
            {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "1m"}}},
            {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "o"},
                "current": {"value": "3"}}}]});
    let seen = v1.own_form(object.clone());
    assert_eq!(seen["apiVersion"], "autoscaling/v1");
    assert_eq!(seen["spec"]["targetCPUUtilizationPercentage"], 70);
    assert_eq!(seen["spec"].get("metrics"), None);
    assert_eq!(seen["status"]["currentCPUUtilizationPercentage"], 5);
    let annotation = |name: &str| -> Value {
        let text =
            seen["metadata"]["annotations"][format!("autoscaling.alpha.kubernetes.io/{name}")].as_str();
        serde_json::from_str(text.unwrap()).unwrap()
    };
    assert_eq!(
        annotation("metrics")[0],
        json!({"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "1Gi"}})
    );
    assert_eq!(annotation("behavior")["ScaleUp"]["Tolerance"], "100m");
    assert_eq!(v1.rules.default(seen.clone()).unwrap(), seen);
    assert_eq!(v1.stored_form(seen), object);

    // What is written in the old version alone gets the same defaults.
    let fresh = v1.rules.default(json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "A", "name": "a"}}})).unwrap();
    assert_eq!(fresh["spec"]["targetCPUUtilizationPercentage"], 80);
    let stored = v1.stored_form(fresh);
    assert_eq!(v2.rules.default(stored.clone()).unwrap(), stored);
}
