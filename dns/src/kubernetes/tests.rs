use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use machinery::tasks::Tasks;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Feeds, Index, PodNames, Settings};
use crate::corefile::Fallthrough;
use crate::reply::{Question, Reply};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn objects<T: DeserializeOwned>(objects: Vec<Value>) -> Vec<T> {
    objects.into_iter().map(|object| serde_json::from_value(object).unwrap()).collect()
}

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
}

fn slice(service: &str, endpoints: Value, port: Value) -> Value {
    json!({
        "metadata": {"name": format!("{service}-1"), "namespace": "shop", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [port],
    })
}

fn feeds() -> Feeds {
    let services: Vec<Service> = objects(vec![
        service(
            "web",
            json!({"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20", "fd00::20"], "ports": [
            {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ),
        service(
            "db",
            json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"name": "sql", "port": 5432}]}),
        ),
        service("idle", json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        service("out", json!({"type": "ExternalName", "externalName": "www.example.org"})),
    ]);
    let slices: Vec<EndpointSlice> = objects(vec![
        slice(
            "db",
            json!([
                {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.1.6"], "conditions": {}, "targetRef": {"kind": "Pod", "name": "db-x"}},
                {"addresses": ["10.244.1.7"], "hostname": "db-2", "conditions": {"ready": false}},
            ]),
            json!({"name": "sql", "port": 5432, "protocol": "TCP"}),
        ),
        slice(
            "web",
            json!([{"addresses": ["10.244.0.9"]}]),
            json!({"name": "http", "port": 8080, "protocol": "TCP"}),
        ),
    ]);
    let namespaces: Vec<Namespace> =
        objects(["shop", "empty"].map(|name| json!({"metadata": {"name": name}})).to_vec());
    let pods: Vec<Pod> = objects(vec![
        json!({"metadata": {"name": "a", "namespace": "shop"}, "status": {"phase": "Running", "podIPs": [{"ip": "10.244.0.9"}]}}),
        json!({"metadata": {"name": "b", "namespace": "shop"}, "status": {"phase": "Failed", "podIPs": [{"ip": "10.244.0.8"}]}}),
    ]);
    Feeds::fixed(services, slices, namespaces, pods)
}

fn settings() -> Settings {
    let zones = ["cluster.local.", "in-addr.arpa.", "ip6.arpa."].map(name).to_vec();
    Settings {
        pods: PodNames::Insecure,
        fallthrough: Fallthrough(zones[1..].to_vec()),
        own_address: Some([10, 244, 0, 9].into()),
        ..Settings::new(zones, name("cluster.local."))
    }
}

fn ask(settings: &Settings, index: &Index, asked: &str, kind: RecordType) -> Option<Reply> {
    settings.reply(&Question { name: name(asked), kind, dnssec: false }, index)
}

/// An answer in short: the code if it is none, else the data of its records.
fn shown(reply: Option<Reply>) -> String {
    match reply {
        None => "others".into(),
        Some(reply) if reply.code != ResponseCode::NoError => reply.code.to_str().to_owned(),
        Some(reply) => {
            let data: Vec<String> = reply.answers.iter().map(|record| record.data.to_string()).collect();
            data.join(", ")
        }
    }
}

#[test]
fn names_are_as_specified() {
    use RecordType::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
    const NO_NAME: &str = "Non-Existent Domain";
    const NO_DATA: &str = "";
    let index = feeds().index();
    for (asked, kind, expected) in [
        ("web.shop.svc.cluster.local.", A, "10.96.0.20"),
        ("web.shop.svc.cluster.local.", AAAA, "fd00::20"),
        ("web.shop.svc.cluster.local.", MX, NO_DATA),
        (
            "web.shop.svc.cluster.local.",
            SRV,
            "0 50 53 web.shop.svc.cluster.local., 0 50 80 web.shop.svc.cluster.local.",
        ),
        ("_http._tcp.web.shop.svc.cluster.local.", SRV, "0 100 80 web.shop.svc.cluster.local."),
        ("_http._udp.web.shop.svc.cluster.local.", SRV, NO_NAME),
        ("_http._tcp.web.shop.svc.cluster.local.", A, "10.96.0.20"),
        ("http.tcp.web.shop.svc.cluster.local.", SRV, NO_NAME),
        ("10-244-0-9.web.shop.svc.cluster.local.", A, "10.244.0.9"),
        ("db.shop.svc.cluster.local.", A, "10.244.0.5, 10.244.1.6"),
        ("db.shop.svc.cluster.local.", AAAA, NO_DATA),
        ("db-0.db.shop.svc.cluster.local.", A, "10.244.0.5"),
        ("10-244-1-6.db.shop.svc.cluster.local.", A, "10.244.1.6"),
        ("db-x.db.shop.svc.cluster.local.", A, NO_NAME),
        ("db-2.db.shop.svc.cluster.local.", A, NO_NAME),
        (
            "_sql._tcp.db.shop.svc.cluster.local.",
            SRV,
            "0 50 5432 10-244-1-6.db.shop.svc.cluster.local., 0 50 5432 db-0.db.shop.svc.cluster.local.",
        ),
        ("idle.shop.svc.cluster.local.", A, NO_NAME),
        ("out.shop.svc.cluster.local.", A, "www.example.org."),
        ("out.shop.svc.cluster.local.", CNAME, "www.example.org."),
        ("10-244-3-4.shop.pod.cluster.local.", A, "10.244.3.4"),
        ("10-244-3-4.nowhere.pod.cluster.local.", A, NO_NAME),
        ("fd00--1.shop.pod.cluster.local.", AAAA, "fd00::1"),
        ("nonsense.shop.pod.cluster.local.", A, NO_NAME),
        ("none.shop.svc.cluster.local.", A, NO_NAME),
        ("web.nowhere.svc.cluster.local.", A, NO_NAME),
        ("shop.svc.cluster.local.", A, NO_DATA),
        ("nowhere.svc.cluster.local.", A, NO_NAME),
        ("svc.cluster.local.", A, NO_DATA),
        ("x.web.shop.svc.svc.cluster.local.", A, NO_NAME),
        ("a.b.c.web.shop.svc.cluster.local.", A, NO_NAME),
        ("web.cluster.local.", A, NO_NAME),
        ("www.example.org.svc.cluster.local.", A, NO_NAME),
        ("dns-version.cluster.local.", TXT, "1.1.0"),
        ("dns-version.cluster.local.", A, NO_DATA),
        ("cluster.local.", A, NO_DATA),
        ("*.cluster.local.", A, NO_NAME),
        ("*.web.shop.svc.cluster.local.", A, NO_NAME),
        ("cluster.local.", NS, "web.shop.svc.cluster.local."),
        ("cluster.local.", SOA, "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"),
        ("20.0.96.10.in-addr.arpa.", PTR, "web.shop.svc.cluster.local."),
        ("5.0.244.10.in-addr.arpa.", PTR, "db-0.db.shop.svc.cluster.local."),
        ("6.1.244.10.in-addr.arpa.", PTR, "10-244-1-6.db.shop.svc.cluster.local."),
        ("5.0.244.10.in-addr.arpa.", A, NO_DATA),
        ("7.1.244.10.in-addr.arpa.", PTR, "others"),
        ("1.0.0.8.in-addr.arpa.", PTR, "others"),
        ("example.org.", A, "others"),
    ] {
        assert_eq!(shown(ask(&settings(), &index, asked, kind)), expected, "{asked} {kind}");
    }
}

#[test]
fn what_does_not_exist_is_said_by_the_zone_and_for_how_long() {
    let index = feeds().index();
    let settings = Settings { ttl: 30, ..settings() };
    for asked in ["none.shop.svc.cluster.local.", "shop.svc.cluster.local."] {
        let reply = ask(&settings, &index, asked, RecordType::A).unwrap();
        assert!(reply.authoritative);
        assert_eq!((reply.authorities.len(), reply.authorities[0].ttl), (1, 30), "{asked}");
        assert_eq!(reply.authorities[0].name, name("cluster.local."));
    }
}

#[test]
fn servers_come_with_their_addresses() {
    let reply =
        ask(&settings(), &feeds().index(), "_sql._tcp.db.shop.svc.cluster.local.", RecordType::SRV).unwrap();
    let mut additionals: Vec<String> =
        reply.additionals.iter().map(|record| format!("{} {}", record.name, record.data)).collect();
    additionals.sort();
    assert_eq!(
        additionals,
        ["10-244-1-6.db.shop.svc.cluster.local. 10.244.1.6", "db-0.db.shop.svc.cluster.local. 10.244.0.5"]
    );
}

#[test]
fn the_corefile_says_which_names_there_are() {
    let index = feeds().index();
    let pod = |settings: &Settings, asked: &str| shown(ask(settings, &index, asked, RecordType::A));
    let verified = Settings { pods: PodNames::Verified, ..settings() };
    assert_eq!(pod(&verified, "10-244-0-9.shop.pod.cluster.local."), "10.244.0.9");
    assert_eq!(pod(&verified, "10-244-0-8.shop.pod.cluster.local."), "Non-Existent Domain", "it has ended");
    let disabled = Settings { pods: PodNames::Disabled, ..settings() };
    assert_eq!(pod(&disabled, "10-244-0-9.shop.pod.cluster.local."), "Non-Existent Domain");
    let elsewhere = Settings { namespaces: vec!["empty".into()], ..settings() };
    assert_eq!(pod(&elsewhere, "web.shop.svc.cluster.local."), "Non-Existent Domain");
    let named = Settings { endpoint_pod_names: true, ..settings() };
    assert_eq!(pod(&named, "db-x.db.shop.svc.cluster.local."), "10.244.1.6");
}

#[tokio::test]
async fn what_was_not_read_yet_is_not_denied() {
    let tasks = Tasks::new();
    // Nobody listens there.
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let client = machinery::client::from_config(&nowhere).unwrap();
    let index = Feeds::start(&client, false, &tasks).index();
    for (asked, kind) in [
        ("web.shop.svc.cluster.local.", RecordType::A),
        ("shop.svc.cluster.local.", RecordType::A),
        ("20.0.96.10.in-addr.arpa.", RecordType::PTR),
    ] {
        let reply = ask(&settings(), &index, asked, kind).unwrap();
        assert_eq!((reply.code, reply.authorities.len()), (ResponseCode::ServFail, 0), "{asked}");
    }
    assert_eq!(shown(ask(&settings(), &index, "cluster.local.", RecordType::A)), "");
    assert_eq!(shown(ask(&settings(), &index, "example.org.", RecordType::A)), "others");
    tasks.stop();
}
