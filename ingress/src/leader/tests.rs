use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use machinery::tasks::Tasks;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;

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

#[tokio::test]
async fn one_that_cannot_be_told_does_not_stop_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let log = Arc::clone(&log);
            let service = service_fn(move |request: Request<Incoming>| {
                let name = request.uri().path().split('/').nth(7).unwrap_or_default().to_owned();
                let (code, body) = match name.as_str() {
                    "a" | "c" => (422, json!({"status": "Failure", "message": name, "code": 422})),
                    "b" => (404, json!({"status": "Failure", "message": name, "code": 404})),
                    "d" => (200, json!({"metadata": {"name": name}})),
                    _ => (503, json!({"status": "Failure", "code": 503})),
                };
                if request.method() == http::Method::PATCH {
                    log.lock().push(name);
                }
                let response = Response::builder().status(code).header("content-type", "application/json");
                let response = response.body(Full::<bytes::Bytes>::from(body.to_string())).unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
        }
    });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    let client = machinery::client::from_config(&config).unwrap();
    let tasks = Tasks::new();
    let duties = Duties {
        feeds: Feeds::start(&client, &tasks),
        client,
        tables: watch::channel(Arc::default()).1,
        service: ("default".to_owned(), "none".to_owned()),
        recorder: Recorder::deaf(),
    };
    let ingress = |name| {
        let ingress = json!({"metadata": {"name": name, "namespace": "default"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
        Arc::new(serde_json::from_value(ingress).unwrap())
    };
    let mut table = Table::default();
    table.ingresses = ["a", "b", "c", "d"].map(ingress).into();
    let error = duties.tell_addresses(&table).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.message == "a"), "{error}");
    assert_eq!(*asked.lock(), ["a", "b", "c", "d"]);
}
