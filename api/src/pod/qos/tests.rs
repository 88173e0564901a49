#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

#[test]
fn the_class_follows_from_what_is_asked_for() {
    let both = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let equal = json!({"limits": both("1", "1Gi"), "requests": both("1000m", "1024Mi")});
    for (whole, containers, init, class) in [
        (json!(null), json!([{}]), json!([]), "BestEffort"),
        (json!(null), json!([{"requests": {"cpu": "0"}}]), json!([]), "BestEffort"),
        (json!(null), json!([{"requests": {"nvidia.com/gpu": "1"}}]), json!([]), "BestEffort"),
        (json!(null), json!([{"requests": {"cpu": "1"}}]), json!([]), "Burstable"),
        (json!(null), json!([{"limits": both("1", "1Gi")}]), json!([]), "Burstable"),
        (json!(null), json!([equal]), json!([]), "Guaranteed"),
        (
            json!(null),
            json!([{"limits": both("1", "1Gi"), "requests": both("500m", "1Gi")}]),
            json!([]),
            "Burstable",
        ),
        (json!(null), json!([equal, {}]), json!([]), "Burstable"),
        (json!(null), json!([equal]), json!([{}]), "Burstable"),
        (json!(null), json!([equal]), json!([equal]), "Guaranteed"),
        // What the pod says as a whole counts alone.
        (equal.clone(), json!([{}]), json!([{}]), "Guaranteed"),
        (json!({"requests": {"cpu": "1"}}), json!([equal]), json!([]), "Burstable"),
        (json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}), json!([equal]), json!([]), "Burstable"),
        (json!({}), json!([equal]), json!([]), "BestEffort"),
    ] {
        let made = |list: &Value| -> Vec<Value> {
            list.as_array().unwrap().iter().map(|r| json!({"name": "c", "resources": r})).collect()
        };
        let spec =
            json!({"resources": whole, "containers": made(&containers), "initContainers": made(&init)});
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(Qos::from_spec(&spec).word(), class, "{spec:?}");
    }
}

#[test]
fn a_class_once_found_stays() {
    let pod = |status: Value| -> Pod {
        serde_json::from_value(json!({"spec": {"containers": []}, "status": status})).unwrap()
    };
    assert_eq!(Qos::of(&pod(json!({"qosClass": "Guaranteed"}))), Qos::Guaranteed);
    assert_eq!(Qos::of(&pod(json!({"qosClass": "None"}))), Qos::BestEffort);
    assert_eq!(Qos::of(&pod(json!({}))), Qos::BestEffort);
}
