use http_body_util::BodyExt as _;

use super::*;
use crate::scrape::{Point, Scrape};

/// A node and a pod with two containers, that were looked at twice.
fn storage() -> Storage {
    let mut storage = Storage::default();
    for (time, cpu) in [(100, 1.0), (115, 2.5)] {
        let time = Timestamp::from_second(time).expect("is a time");
        let point = Point { time, started: None, cpu, memory: 5000 };
        let containers = ["a", "b"].map(|c| (("n".to_owned(), "p".to_owned(), c.to_owned()), point));
        storage.store(vec![("node".to_owned(), Scrape { node: Some(point), containers: containers.into() })]);
    }
    storage
}

async fn ask(method: &str, target: &str, accept: &str) -> (u16, Value) {
    let meta = |namespace: Option<&str>, name: &str| ObjectMeta {
        namespace: namespace.map(str::to_owned),
        name: Some(name.to_owned()),
        labels: Some([("app".to_owned(), name.to_owned())].into()),
        ..ObjectMeta::default()
    };
    let metas = [meta(None, "node"), meta(None, "new"), meta(Some("n"), "p"), meta(Some("n"), "new")];
    let view = View {
        storage: &storage(),
        nodes: metas[..2].iter().collect(),
        pods: metas[2..].iter().collect(),
        now: Timestamp::from_second(120).expect("is a time"),
    };
    let request = Request::builder().method(method).uri(target).header("accept", accept);
    let answer = answer(&request.body(()).expect("is a request"), &view);
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.expect("is there").to_bytes();
    (parts.status.as_u16(), serde_json::from_slice(&bytes).expect("is JSON"))
}

async fn get(path: &str) -> (u16, Value) {
    ask("GET", &format!("/apis/{GROUP_VERSION}{path}"), "application/json").await
}

#[tokio::test]
async fn nodes_and_pods_are_told_of_as_upstream_does() {
    let mut node = json!({"kind": "NodeMetrics", "apiVersion": GROUP_VERSION,
        "metadata": {"name": "node", "creationTimestamp": "1970-01-01T00:02:00Z", "labels": {"app": "node"}},
        "timestamp": "1970-01-01T00:01:55Z", "window": "15s", "usage": {"cpu": "100000000n", "memory": "4Ki"}});
    assert_eq!(get("/nodes/node").await, (200, node.clone()));
    node.as_object_mut()
        .expect("it is one")
        .retain(|field, _| !["kind", "apiVersion"].contains(&field.as_str()));
    let list =
        json!({"kind": "NodeMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": [node]});
    assert_eq!(get("/nodes").await, (200, list));
    let (code, pod) = get("/namespaces/n/pods/p").await;
    let usage = json!({"cpu": "100000000n", "memory": "4Ki"});
    assert_eq!(code, 200);
    assert_eq!(pod["containers"], json!([{"name": "a", "usage": usage}, {"name": "b", "usage": usage}]));
    let (code, status) = get("/namespaces/n/pods/new").await;
    assert_eq!((code, &status["message"]), (404, &json!("podmetrics.metrics.k8s.io \"n/new\" not found")));
    for (path, found) in [
        ("/pods", 1),
        ("/namespaces/n/pods", 1),
        ("/namespaces/other/pods", 0),
        ("/pods?labelSelector=app%3Dp", 1),
        ("/pods?labelSelector=app+notin+(p)", 0),
        ("/pods?fieldSelector=metadata.name%3Dp,metadata.namespace%3Dn", 1),
        ("/nodes?fieldSelector=metadata.name!%3Dnode", 0),
    ] {
        let (code, list) = get(path).await;
        assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(found)), "{path}");
    }
    for (path, code) in [
        ("/pods?fieldSelector=spec.nodeName%3Dn", 400),
        ("/pods?labelSelector=((", 400),
        ("/pods?watch=true", 405),
        ("/pods/p", 404),
        ("/namespaces/n/nodes", 404),
        ("/x/y", 404),
    ] {
        assert_eq!(get(path).await.0, code, "{path}");
    }
    assert_eq!(ask("DELETE", "/apis/metrics.k8s.io/v1beta1/nodes/node", "").await.0, 405);
}

#[tokio::test]
async fn people_get_tables() {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, table) = ask("GET", "/apis/metrics.k8s.io/v1beta1/pods", accept).await;
    assert_eq!(table["rows"][0]["cells"], json!(["p", "200m", "8Ki", "15s"]));
    assert_eq!(table["rows"][0]["object"]["metadata"]["namespace"], "n");
}

#[tokio::test]
async fn every_reference_of_the_documents_leads_somewhere() {
    for (path, place) in
        [("/openapi/v2", "/definitions"), ("/openapi/v3/apis/metrics.k8s.io/v1beta1", "/components/schemas")]
    {
        let (code, document) = ask("GET", path, "").await;
        assert_eq!(code, 200);
        let text = document.to_string();
        let names = text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let names: Vec<_> = names.collect();
        assert!(names.len() > 5);
        for name in names {
            assert!(
                document.pointer(name).is_some_and(Value::is_object) && name.starts_with(place),
                "{name}"
            );
        }
    }
    for path in ["/apis", "/apis/metrics.k8s.io", "/apis/metrics.k8s.io/v1beta1", "/openapi/v3"] {
        assert_eq!(ask("GET", path, "").await.0, 200, "{path}");
    }
}
