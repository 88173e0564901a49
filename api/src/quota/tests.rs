use serde_json::{Value, json};

use super::*;

fn counted(resource: &str) -> Counted {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    Counted::of(group, plural).expect("a resource that is counted")
}

fn read(resource: &str, object: &Value) -> Box<dyn Charged> {
    counted(resource).read(object).unwrap_or_else(|e| panic!("{object}: {e}"))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

fn usage(resource: &str, object: &Value, now: Timestamp) -> Value {
    let usage = read(resource, object).usage(now);
    usage.into_iter().map(|(name, amount)| (name, Value::from(amount.to_string()))).collect()
}

fn quota(name: &str, spec: Value, hard: Value, used: Value) -> ResourceQuota {
    let quota = json!({"metadata": {"name": name}, "spec": spec, "status": {"hard": hard, "used": used}});
    serde_json::from_value(quota).expect("a quota")
}

fn container(name: &str, requests: Value, limits: Value) -> Value {
    json!({"name": name, "resources": {"requests": requests, "limits": limits}})
}

#[test]
fn objects_cost_what_they_take() {
    let small = container(
        "c",
        json!({"cpu": "100m", "memory": "1Mi", "example.com/gpu": "1", "hugepages-2Mi": "2Mi"}),
        json!({"cpu": "1", "ephemeral-storage": "1Gi", "example.com/gpu": "1"}),
    );
    let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
    let class = |name: &str| json!({"spec": {"storageClassName": name, "resources": {"requests": {"storage": "1500m"}}}});
    let service = |spec: Value| json!({"spec": spec});
    let cases = [
        ("configmaps", json!({}), json!({"configmaps": "1", "count/configmaps": "1"})),
        ("deployments.apps", json!({}), json!({"count/deployments.apps": "1"})),
        (
            "pods",
            json!({"spec": {"containers": [small], "initContainers": [sidecar], "overhead": {"cpu": "10m"}}}),
            json!({"count/pods": "1", "pods": "1", "cpu": "1110m", "requests.cpu": "1110m", "memory": "1Mi",
                "requests.memory": "1Mi", "limits.cpu": "1010m", "limits.ephemeral-storage": "1Gi",
                "requests.example.com/gpu": "1", "hugepages-2Mi": "2Mi", "requests.hugepages-2Mi": "2Mi"}),
        ),
        (
            "pods",
            json!({"spec": {"containers": [small]}, "status": {"phase": "Succeeded"}}),
            json!({"count/pods": "1"}),
        ),
        (
            "services",
            service(json!({"type": "ClusterIP", "ports": [{"port": 1}]})),
            json!({"count/services": "1", "services": "1", "services.nodeports": "0", "services.loadbalancers": "0"}),
        ),
        (
            "services",
            service(json!({"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]})),
            json!({"count/services": "1", "services": "1", "services.nodeports": "2", "services.loadbalancers": "0"}),
        ),
        (
            "services",
            service(
                json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 1, "nodePort": 30001}, {"port": 2}]}),
            ),
            json!({"count/services": "1", "services": "1", "services.nodeports": "1", "services.loadbalancers": "1"}),
        ),
        (
            "persistentvolumeclaims",
            class("gold"),
            json!({"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "2",
                "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "gold.storageclass.storage.k8s.io/requests.storage": "2"}),
        ),
        (
            "persistentvolumeclaims",
            json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
                "spec": {"resources": {"requests": {"storage": "1Gi"}}}, "status": {"allocatedResources": {"storage": "2Gi"}}}),
            json!({"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1", "requests.storage": "2Gi",
                "old.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
                "old.storageclass.storage.k8s.io/requests.storage": "2Gi"}),
        ),
        (
            "resourceclaims.resource.k8s.io",
            json!({"metadata": {}, "spec": {"devices": {"requests": [
                {"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}},
                {"name": "b", "firstAvailable": [
                    {"name": "x", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1},
                    {"name": "y", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3},
                    {"name": "z", "deviceClassName": "tpu", "allocationMode": "All"}]}]}}}),
            json!({"count/resourceclaims.resource.k8s.io": "1", "gpu.deviceclass.resource.k8s.io/devices": "5",
                "tpu.deviceclass.resource.k8s.io/devices": "32"}),
        ),
    ];
    for (resource, object, expected) in cases {
        assert_eq!(usage(resource, &object, at(0)), expected, "{resource} {object}");
        for name in expected.as_object().into_iter().flat_map(|names| names.keys()) {
            assert!(counted(resource).counts(name), "{resource} {name}");
        }
    }
    assert_eq!(Counted::of("", "events"), None);
    for (resource, name) in [
        ("pods", "services"),
        ("pods", "requests.storage"),
        ("pods", "limits.storage"),
        ("pods", "count/jobs.batch"),
        ("configmaps", "secrets"),
        ("jobs.batch", "jobs.batch"),
    ] {
        assert!(!counted(resource).counts(name), "{resource} {name}");
    }
}

#[test]
fn a_pod_whose_node_is_lost_counts_no_longer_than_it_was_given() {
    let deleted = json!({
        "metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z", "deletionGracePeriodSeconds": 30},
        "spec": {"containers": [{"name": "c"}]},
    });
    assert_eq!(usage("pods", &deleted, at(90)), json!({"count/pods": "1", "pods": "1"}));
    assert_eq!(usage("pods", &deleted, at(91)), json!({"count/pods": "1"}));
}

#[test]
fn scopes_choose_pods_and_claims() {
    let pod = |spec: Value| {
        let mut pod = json!({"spec": {"containers": [{"name": "c"}]}});
        pod["spec"].as_object_mut().expect("an object").extend(spec.as_object().cloned().unwrap_or_default());
        ("pods", pod)
    };
    let plain = pod(json!({}));
    let ends = pod(json!({"activeDeadlineSeconds": 5}));
    let asks = pod(json!({"containers": [container("c", json!({"cpu": "1"}), json!({}))]}));
    let high = pod(json!({"priorityClassName": "high"}));
    let near = |term: Value| {
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        pod(json!({"affinity": affinity}))
    };
    let beyond = near(json!({"topologyKey": "a", "namespaceSelector": {}}));
    let avoids =
        pod(json!({"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "podAffinityTerm": {"topologyKey": "a", "namespaces": ["b"]}}]}}}));
    let here = near(json!({"topologyKey": "a"}));
    let claim = |name: Value, status: Value| {
        ("persistentvolumeclaims", json!({"spec": {"volumeAttributesClassName": name}, "status": status}))
    };
    let (none, fast) = (claim(json!(null), json!({})), claim(json!("fast"), json!({})));
    let moving = claim(
        json!("slow"),
        json!({"currentVolumeAttributesClassName": "fast",
        "modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "slow"}}),
    );
    let map = ("configmaps", json!({}));
    let scope = |name: &str| json!({"scopes": [name]});
    let term = |name: &str, operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": name, "operator": operator, "values": values}]}});
    let cases = [
        (json!({}), vec![&plain, &map, &none], vec![]),
        (scope("Terminating"), vec![&ends], vec![&plain, &map]),
        (scope("NotTerminating"), vec![&plain], vec![&ends, &map]),
        (scope("BestEffort"), vec![&plain], vec![&asks]),
        (scope("NotBestEffort"), vec![&asks], vec![&plain, &none]),
        (json!({"scopes": ["Terminating", "BestEffort"]}), vec![&ends], vec![&plain]),
        (scope("PriorityClass"), vec![&high], vec![&plain]),
        (term("PriorityClass", "In", json!(["high", "low"])), vec![&high], vec![&plain]),
        (term("PriorityClass", "NotIn", json!(["high"])), vec![&plain], vec![&high]),
        (term("PriorityClass", "DoesNotExist", json!([])), vec![&plain], vec![&high]),
        (scope("CrossNamespacePodAffinity"), vec![&beyond, &avoids], vec![&here, &plain]),
        (scope("VolumeAttributesClass"), vec![&fast, &moving], vec![&none, &plain]),
        (term("VolumeAttributesClass", "In", json!(["fast"])), vec![&fast, &moving], vec![&none]),
        (term("VolumeAttributesClass", "NotIn", json!(["fast"])), vec![&none, &moving], vec![&fast]),
    ];
    for (spec, within, without) in cases {
        let quota = quota("q", spec.clone(), json!({}), json!({}));
        for ((resource, object), expected) in
            within.iter().map(|o| (o, true)).chain(without.iter().map(|o| (o, false)))
        {
            assert_eq!(is_in_scope(&quota, &*read(resource, object)), expected, "{spec} {object}");
        }
    }
}

#[test]
fn quotas_are_charged_or_refuse() {
    let full = quota(
        "full",
        json!({}),
        json!({"pods": "2", "requests.cpu": "1"}),
        json!({"pods": "2", "requests.cpu": "500m"}),
    );
    let maps = quota("maps", json!({}), json!({"count/configmaps": "9"}), json!({"count/configmaps": "3"}));
    let memory = quota("memory", json!({}), json!({"limits.memory": "1Gi"}), json!({"limits.memory": "0"}));
    let short =
        quota("short", json!({"scopes": ["Terminating"]}), json!({"pods": "5"}), json!({"pods": "0"}));
    let unknown =
        quota("unknown", json!({}), json!({"pods": "5", "services": "1"}), json!({"services": "0"}));
    let over = quota(
        "over",
        json!({}),
        json!({"services": "1", "services.nodeports": "1"}),
        json!({"services": "3", "services.nodeports": "0"}),
    );
    let pod = |spec: Value| json!({"spec": spec});
    let asks = pod(json!({"containers": [container("c", json!({"cpu": "600m"}), json!({"memory": "1Mi"}))]}));
    let ends = pod(
        json!({"containers": [container("c", json!({"cpu": "600m"}), json!({"memory": "1Mi"}))], "activeDeadlineSeconds": 5}),
    );
    let silent = pod(
        json!({"containers": [{"name": "c"}, container("d", json!({"cpu": "1"}), json!({}))], "initContainers": [{"name": "a"}]}),
    );
    let whole = pod(json!({"containers": [{"name": "c"}], "resources": {"limits": {"memory": "1Mi"}}}));
    let none = json!(null);
    let service = |sort: &str| json!({"spec": {"type": sort, "ports": [{"port": 1}]}});
    let (inner, outer) = (service("ClusterIP"), service("NodePort"));
    /// Resource, new object, old one, quotas, what each has used then or the refusal.
    type Case<'a> = (&'a str, &'a Value, &'a Value, Vec<&'a ResourceQuota>, Result<Value, &'a str>);
    let cases: Vec<Case<'_>> = vec![
        ("pods", &asks, &none, vec![], Ok(json!({}))),
        ("pods", &asks, &none, vec![&maps], Ok(json!({}))),
        (
            "pods",
            &asks,
            &none,
            vec![&full],
            Err(
                "exceeded quota: full, requested: pods=1,requests.cpu=600m, used: pods=2,requests.cpu=500m, limited: pods=2,requests.cpu=1",
            ),
        ),
        ("pods", &asks, &none, vec![&memory, &short, &maps], Ok(json!({"memory": {"limits.memory": "1Mi"}}))),
        ("pods", &ends, &asks, vec![&memory, &short], Ok(json!({"short": {"pods": "1"}}))),
        ("pods", &ends, &ends, vec![&memory, &short, &full], Ok(json!({}))),
        ("pods", &asks, &none, vec![&unknown], Err("status unknown for quota: unknown, resources: pods")),
        (
            "pods",
            &silent,
            &none,
            vec![&full, &memory],
            Err("failed quota: full: must specify requests.cpu for: a,c"),
        ),
        (
            "pods",
            &silent,
            &none,
            vec![&memory],
            Err("failed quota: memory: must specify limits.memory for: a,c,d"),
        ),
        ("pods", &whole, &none, vec![&memory], Ok(json!({"memory": {"limits.memory": "1Mi"}}))),
        ("configmaps", &none, &none, vec![&maps, &memory], Ok(json!({"maps": {"count/configmaps": "4"}}))),
        (
            "services",
            &inner,
            &none,
            vec![&over],
            Err("exceeded quota: over, requested: services=1, used: services=3, limited: services=1"),
        ),
        (
            "services",
            &outer,
            &inner,
            vec![&over],
            Ok(json!({"over": {"services": "3", "services.nodeports": "1"}})),
        ),
        ("services", &inner, &outer, vec![&over], Ok(json!({}))),
    ];
    for (resource, object, old, quotas, expected) in cases {
        let quotas: Vec<ResourceQuota> = quotas.into_iter().cloned().collect();
        let old = (!old.is_null()).then(|| read(resource, old));
        let charged = charge(&quotas, &counted(resource), &*read(resource, object), old.as_deref(), at(0));
        let named = charged.map(|all| {
            all.into_iter().map(|(place, used)| (name(&quotas[place]), json!(used))).collect::<Value>()
        });
        assert_eq!(
            named.as_ref().map_err(|why| why.to_string()),
            expected.as_ref().map_err(|e| (*e).to_owned()),
            "{resource} {object}"
        );
    }
}
