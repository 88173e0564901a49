use serde_json::json;

use super::*;

fn range(limits: Value) -> LimitRange {
    serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {"limits": limits}}))
        .expect("a limit range")
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

#[test]
fn what_containers_lack_is_filled_in_and_told() {
    let defaults = json!([{"type": "Container", "default": {"cpu": "500m", "memory": "1Gi"}, "defaultRequest": {"cpu": "200m"}},
        {"type": "Pod", "max": {"cpu": "9"}}]);
    let mut new = pod(json!({
        "containers": [{"name": "c"}, {"name": "d", "resources": {"limits": {"cpu": "400m"}, "requests": {"cpu": "400m"}}}],
        "initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1", "memory": "1"}}}],
    }));
    fill(&range(defaults.clone()), &mut new).expect("it fits");
    let filled = json!({"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "200m"}});
    assert_eq!(new["spec"]["containers"][0]["resources"], filled);
    assert_eq!(
        new["metadata"]["annotations"][ANNOTATION],
        "LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c; memory limit for container d; cpu request for init container i"
    );
    let before = new.clone();
    fill(&range(defaults), &mut new).expect("it fits");
    assert_eq!(new, before, "what is complete stays");
    for odd in [json!({}), json!({"spec": {}}), pod(json!({"containers": null}))] {
        let mut new = odd.clone();
        let defaults = json!([{"type": "Container", "default": {"cpu": "1"}}]);
        fill(&range(defaults), &mut new).expect("it fits");
        assert_eq!(new, odd);
    }
}

#[test]
fn many_bounds_for_many_containers_cost_no_more_than_they_hold() {
    let bounds: Value = (0..5_000).map(|i| (format!("example.com/r{i}"), json!("1"))).collect();
    let limits = range(json!([{"type": "Container", "default": bounds, "min": bounds}]));
    let containers: Vec<Value> = (0..20_000).map(|i| json!({"name": format!("c{i}")})).collect();
    let mut many = pod(json!({"containers": containers}));
    let object: Pod = serde_json::from_value(many.clone()).expect("a pod");
    let started = std::time::Instant::now();
    assert!(check_pod(&limits, &object).is_err());
    assert!(fill(&limits, &mut many).is_err());
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

#[test]
fn pods_keep_within_ranges() {
    let limits = json!([
        {"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}, "min": {"cpu": "100m"}, "maxLimitRequestRatio": {"cpu": "2"}},
        {"type": "Pod", "max": {"cpu": "2"}},
        {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}},
    ]);
    let of = |limits: Value, requests: Value| json!({"name": "c", "resources": {"limits": limits, "requests": requests}});
    let fine = of(json!({"cpu": "1", "memory": "1Gi"}), json!({"cpu": "500m", "memory": "1"}));
    let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": fine["resources"]});
    let start = json!({"name": "i", "resources": fine["resources"]});
    for (spec, expected) in [
        (json!({"containers": [fine]}), Ok(())),
        (json!({"containers": [fine, fine], "initContainers": [start]}), Ok(())),
        (
            json!({"containers": [fine, fine], "initContainers": [sidecar]}),
            Err("maximum cpu usage per Pod is 2, but limit is 3"),
        ),
        (
            json!({"containers": [fine], "initContainers": [sidecar, sidecar, start]}),
            Err("maximum cpu usage per Pod is 2, but limit is 3"),
        ),
        (json!({"containers": [fine, fine, fine], "resources": {"limits": {"cpu": "2"}}}), Ok(())),
        (json!({"containers": [fine, fine], "overhead": {"cpu": "1"}}), Ok(())),
        (
            json!({"containers": [of(json!({"cpu": "3", "memory": "2Gi"}), json!({"cpu": "50m", "memory": "2Gi"})),
                of(json!({"cpu": "500m", "memory": "1Gi"}), json!({"cpu": "0"}))]}),
            Err(
                "[minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage per Container is 1, but limit is 3, maximum memory usage per Container is 1Gi, but limit is 2Gi, cpu max limit to request ratio per Container is 2, but provided ratio is 60.000000, minimum cpu usage per Container is 100m, but request is 0, cpu max limit to request ratio per Container is 2, but no request is specified or request is 0, maximum cpu usage per Pod is 2, but limit is 3500m]",
            ),
        ),
        (
            json!({"containers": [{"name": "c"}]}),
            Err(
                "[minimum cpu usage per Container is 100m.  No request is specified, maximum cpu usage per Container is 1.  No limit is specified, maximum memory usage per Container is 1Gi.  No limit is specified, cpu max limit to request ratio per Container is 2, but no request is specified or request is 0, maximum cpu usage per Pod is 2.  No limit is specified]",
            ),
        ),
    ] {
        let object: Pod = serde_json::from_value(pod(spec.clone())).expect("a pod");
        let result = check_pod(&range(limits.clone()), &object);
        assert_eq!(
            result.as_ref().map_err(|why| &**why),
            expected.as_ref().map(|()| &()).map_err(|e| *e),
            "{spec}"
        );
    }
}

#[test]
fn claims_keep_within_ranges() {
    let limits = json!([
        {"type": "PersistentVolumeClaim", "max": {"storage": "10Gi"}, "min": {"storage": "1Gi"}},
        {"type": "Container", "min": {"cpu": "1"}},
    ]);
    for (storage, expected) in [
        ("2Gi", None),
        ("20Gi", Some("maximum storage usage per PersistentVolumeClaim is 10Gi, but request is 20Gi")),
        ("500Mi", Some("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi")),
    ] {
        let claim =
            json!({"metadata": {"name": "p"}, "spec": {"resources": {"requests": {"storage": storage}}}});
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("a claim");
        assert_eq!(check_claim(&range(limits.clone()), &claim).err().as_deref(), expected, "{storage}");
    }
}
