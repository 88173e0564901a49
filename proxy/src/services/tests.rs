use super::*;
use serde_json::{Value, json};

fn resolved(services: &[Value], slices: &[Value]) -> Vec<ServicePort> {
    let snapshot = Snapshot {
        services: services.iter().map(|s| Arc::new(serde_json::from_value(s.clone()).unwrap())).collect(),
        slices: slices.iter().map(|s| Arc::new(serde_json::from_value(s.clone()).unwrap())).collect(),
        zone: None,
    };
    resolve(&snapshot, "here")
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"namespace": "n", "name": "s"}, "spec": spec})
}

fn slice(name: &str, labels: Value, ready: bool) -> Value {
    let mut all = json!({"kubernetes.io/service-name": "s"});
    all.as_object_mut().unwrap().extend(labels.as_object().unwrap().clone());
    json!({"metadata": {"namespace": "n", "name": name, "labels": all}, "addressType": "IPv4",
            "ports": [{"name": "p", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["10.244.1.2", "10.244.1.3"], "conditions": {"ready": ready}}]})
}

#[test]
fn services_that_are_not_ours_are_left_out() {
    let ports = json!([{"port": 80}]);
    let labelled = |label: &str| {
        json!({"metadata": {"namespace": "n", "name": "s", "labels": {label: ""}},
                "spec": {"clusterIP": "10.96.0.9", "ports": ports}})
    };
    for (what, service) in [
        ("headless", service(json!({"clusterIP": "None", "ports": ports}))),
        ("no address yet", service(json!({"ports": ports}))),
        ("only IPv6", service(json!({"clusterIP": "fd00::9", "ports": ports}))),
        ("a name", service(json!({"type": "ExternalName", "externalName": "x.test"}))),
        ("another proxy's", labelled(PROXY_NAME_LABEL)),
        ("labelled headless", labelled(HEADLESS_LABEL)),
        (
            "an odd protocol",
            service(json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80, "protocol": "X"}]})),
        ),
    ] {
        assert_eq!(resolved(&[service], &[]), [], "{what}");
    }
}

#[test]
fn fields_mean_what_they_mean_together() {
    let lb = |more: Value| {
        let mut spec = json!({"type": "LoadBalancer", "clusterIPs": ["fd00::9", "10.96.0.9"],
                "healthCheckNodePort": 31000, "loadBalancerSourceRanges": [" 10.0.0.7/8 ", "fd00::/8"],
                "ports": [{"port": 80, "nodePort": 30080}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut service = service(spec);
        service["status"] = json!({"loadBalancer": {"ingress": [
                {"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}, {"hostname": "lb.test"}]}});
        resolved(&[service], &[]).remove(0)
    };
    let plain = lb(json!({}));
    assert_eq!(plain.cluster_ip, Ipv4Addr::new(10, 96, 0, 9));
    assert_eq!(plain.load_balancer_ips, [Ipv4Addr::new(203, 0, 113, 1)], "a proxy is not short-cut");
    assert_eq!(plain.source_ranges, ["10.0.0.0/8".parse::<Ipv4Net>().unwrap()]);
    assert_eq!(plain.health_check_port, None, "only with the policy Local");
    assert_eq!(lb(json!({"externalTrafficPolicy": "Local"})).health_check_port, Some(31000));
    assert_eq!(lb(json!({"sessionAffinity": "ClientIP"})).affinity, Some(10_800));
    let shorter =
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}});
    assert_eq!(lb(shorter).affinity, Some(7));
    assert!(!plain.internal_local && lb(json!({"internalTrafficPolicy": "Local"})).internal_local);
    assert!(!plain.prefers_node && lb(json!({"trafficDistribution": "PreferSameNode"})).prefers_node);
    let external = lb(json!({"externalIPs": ["198.51.100.1", "fd00::1"]})).external_ips;
    assert_eq!(external, [Ipv4Addr::new(198, 51, 100, 1)]);
    assert_eq!(plain.node_port, Some(30080));
}

#[test]
fn endpoints_of_several_slices_come_together() {
    let service = service(json!({"clusterIP": "10.96.0.9", "ports": [{"name": "p", "port": 80}]}));
    let ready = |slices: &[Value]| {
        resolved(std::slice::from_ref(&service), slices)
            .remove(0)
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.address(), endpoint.ready))
            .collect::<Vec<_>>()
    };
    let address = "10.244.1.2:8080".to_owned();
    let (up, down) = (slice("a", json!({}), true), slice("b", json!({}), false));
    assert_eq!(ready(&[up.clone(), down.clone()]), [(address.clone(), true)], "ready somewhere");
    assert_eq!(ready(&[down, up]), [(address, true)]);
    assert_eq!(ready(&[slice("c", json!({PROXY_NAME_LABEL: "x"}), true)]), []);
}
