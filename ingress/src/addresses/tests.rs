use serde_json::{Value, json};

use super::*;

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec})).unwrap()
}

fn slice(ports: Value, endpoints: Value) -> Arc<EndpointSlice> {
    let slice =
        json!({"metadata": {"name": "web-1"}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints});
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn texts(found: &Addresses) -> Vec<String> {
    found.all.iter().map(ToString::to_string).collect()
}

#[test]
fn ports_are_found_by_name_and_by_number() {
    let two = service(json!({"ports": [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "grpc", "port": 81, "targetPort": 9090, "appProtocol": "kubernetes.io/h2c"}]}));
    let slices = [slice(
        json!([{"name": "grpc", "port": 9090}, {"name": "http", "port": 8080}]),
        json!([{"addresses": ["10.0.0.2"]}]),
    )];
    for (port, expected, h2) in [
        (Port::Number(80), "10.0.0.2:8080", false),
        (Port::Name("http".into()), "10.0.0.2:8080", false),
        (Port::Name("grpc".into()), "10.0.0.2:9090", true),
    ] {
        let found = addresses(Some(&two), &slices, &port).unwrap();
        assert_eq!((texts(&found), found.h2), (vec![expected.to_owned()], h2), "{port:?}");
    }
    assert_eq!(addresses(Some(&two), &slices, &Port::Number(8080)), Err(Missing::Port));
    assert_eq!(addresses(None, &slices, &Port::Number(80)), Err(Missing::Service));
    let unnamed = service(json!({"ports": [{"port": 80}]}));
    let slices = [slice(json!([{"name": "", "port": 8080}]), json!([{"addresses": ["10.0.0.2"]}]))];
    assert_eq!(texts(&addresses(Some(&unnamed), &slices, &Port::Number(80)).unwrap()), ["10.0.0.2:8080"]);
    let elsewhere =
        service(json!({"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 80}]}));
    assert_eq!(addresses(Some(&elsewhere), &[], &Port::Number(80)), Err(Missing::ExternalName));
}

#[test]
fn those_that_end_are_asked_when_none_is_ready() {
    let web = service(json!({"ports": [{"port": 80}]}));
    let of = |endpoints: Value| {
        let slices = [slice(json!([{"port": 8080}]), endpoints)];
        texts(&addresses(Some(&web), &slices, &Port::Number(80)).unwrap())
    };
    let endpoint = |ip: &str, ready: bool, serving: bool, terminating: bool| json!({"addresses": [ip], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}});
    let ready = endpoint("10.0.0.1", true, true, false);
    let ending = endpoint("10.0.0.2", false, true, true);
    let ended = endpoint("10.0.0.3", false, false, true);
    let beginning = endpoint("10.0.0.4", false, false, false);
    assert_eq!(of(json!([ready, ending, ended, beginning])), ["10.0.0.1:8080"]);
    assert_eq!(of(json!([ending, ended, beginning])), ["10.0.0.2:8080"]);
    assert_eq!(of(json!([ended, beginning])), [""; 0]);
}

#[test]
fn nobody_has_the_controller_call_itself() {
    let web = service(json!({"ports": [{"port": 80}]}));
    let addressed = json!([{"addresses": ["127.0.0.1"]}, {"addresses": ["169.254.169.254"]}, {"addresses": ["::1"]},
        {"addresses": ["::ffff:127.0.0.1"]}, {"addresses": ["0.0.0.0"]}, {"addresses": ["example.com"]},
        {"addresses": ["10.0.0.1"]}]);
    let slices = [slice(json!([{"port": 8080}]), addressed)];
    assert_eq!(texts(&addresses(Some(&web), &slices, &Port::Number(80)).unwrap()), ["10.0.0.1:8080"]);
}
