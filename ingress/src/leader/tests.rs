use serde_json::Value;

use super::*;

#[test]
fn ingresses_are_reached_where_the_service_is() {
    let cases = [
        (json!({"spec": {"clusterIPs": ["10.96.0.9"]}}), json!([{"ip": "10.96.0.9"}])),
        (json!({"spec": {"clusterIPs": ["None"]}}), json!([])),
        (
            json!({"spec": {"clusterIPs": ["10.96.0.9"], "externalIPs": ["192.0.2.1"]}}),
            json!([{"ip": "192.0.2.1"}]),
        ),
        (
            json!({"spec": {"clusterIPs": ["10.96.0.9"]}, "status": {"loadBalancer": {"ingress":
                [{"ip": "192.0.2.9", "ipMode": "VIP"}, {"hostname": "lb.test"}]}}}),
            json!([{"ip": "192.0.2.9"}, {"hostname": "lb.test"}]),
        ),
    ];
    for (service, expected) in cases {
        let service: Service = serde_json::from_value(service).unwrap();
        let told: Value = serde_json::to_value(addresses(Some(&service))).unwrap();
        assert_eq!(told, expected);
    }
    assert_eq!(addresses(None), []);
}
