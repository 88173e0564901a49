use super::*;

#[test]
fn ages_and_columns() {
    assert_eq!([5, 119, 120, 7_199, 7_200, 172_800].map(age), ["5s", "119s", "2m", "119m", "2h", "2d"]);
    let rows = [["A", "LONG"], ["abc", "x"]].map(|row| row.map(String::from).to_vec());
    assert_eq!(columns(&rows), "A     LONG\nabc   x\n");
}

#[test]
fn services_answer_at_their_load_balancers_or_at_a_node() {
    let service = |name: &str, ports: serde_json::Value, ingress: serde_json::Value| -> Service {
        let status = serde_json::json!({"loadBalancer": {"ingress": ingress}});
        let meta = serde_json::json!({"name": name, "namespace": "shop"});
        let object = serde_json::json!({"metadata": meta, "spec": {"ports": ports}, "status": status});
        serde_json::from_value(object).expect("a service")
    };
    let balanced = serde_json::json!([{"ip": "10.60.1.129", "ipMode": "VIP"}]);
    let services = [
        service("web", serde_json::json!([{"port": 80, "nodePort": 30001}]), balanced.clone()),
        service("dns", serde_json::json!([{"port": 53, "protocol": "UDP"}]), balanced),
        service("old", serde_json::json!([{"port": 80, "nodePort": 30080}]), serde_json::Value::Null),
        service("inside", serde_json::json!([{"port": 80}]), serde_json::Value::Null),
    ];
    assert_eq!(
        answering(&crate::cluster::sample(1), &services),
        "\nSERVICE    ANSWERS AT\nshop/web   http://10.60.1.129:80\nshop/dns   10.60.1.129:53 (UDP)\n\
         shop/old   http://10.60.1.11:30080\n"
    );
    assert_eq!(answering(&crate::cluster::sample(1), &services[3..]), "");
}
