//! Bodies of requests: those that cannot be decoded, and those that nobody reads.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::{convert::Infallible, pin::pin, time::Duration};

use bytes::Bytes;
use futures::channel::mpsc;
use harness::{Server, raw};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";

#[tokio::test]
async fn of_a_body_that_is_no_object_only_the_beginning_is_shown() {
    let server = Server::start().await;
    let said = |why: &str| {
        format!(
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: {why}"
        )
    };
    let type_meta = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let long = format!("{{\"a\": {}", "1".repeat(100));
    for (body, message) in [
        ("", said("unexpected end of JSON input (<empty>)")),
        ("{\"a\": ", said("unexpected end of JSON input ({\"a\": )")),
        (&long, said(&format!("unexpected end of JSON input ({} ...)", &long[..30]))),
        (&"[".repeat(40), said(&format!("unexpected end of JSON input ({} ...)", "5b".repeat(30)))),
        ("[]", said(&format!("json: cannot unmarshal array into Go value of type {type_meta} (5b5d)"))),
        ("\"x\"", said(&format!("json: cannot unmarshal string into Go value of type {type_meta} (227822)"))),
    ] {
        let answer = server.send_raw("POST", MAPS, &[("content-type", JSON)], body.into()).await;
        assert_eq!((answer.code, answer.body["message"].as_str()), (400, Some(message.as_str())), "{body}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_told_before_what_is_too_much() {
    let server = Server::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict";
    let send = async |cpu: Value| {
        let limits = json!({"limits": {"cpu": cpu}});
        let container = json!({"name": "c", "image": "i", "resources": limits});
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
        let spec = json!({"replica": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template});
        let answer = server.send("POST", path, &json!({"metadata": {"name": "x"}, "spec": spec})).await;
        (answer.code, answer.body["message"].as_str().unwrap_or_default().to_owned())
    };
    for (cpu, words) in [
        (json!("abc"), "quantities must match the regular expression"),
        (json!("1"), "strict decoding error: unknown field \"spec.replica\""),
    ] {
        let (code, message) = send(cpu).await;
        let begin = "Deployment in version \"v1\" cannot be handled as a Deployment: ";
        assert!(code == 400 && message.starts_with(&format!("{begin}{words}")), "{message}");
    }
    server.stop().await;
}

#[tokio::test]
async fn yaml_is_what_it_is_to_upstream() {
    const YAML: &str = "application/yaml";
    const APPLY: &str = "application/apply-patch+yaml";
    let server = Server::start().await;
    let unrecognized =
        |why: &str| Err(format!("the object provided is unrecognized (must be of type ConfigMap): {why}"));
    let no_type = "json parse error: invalid character '}' looking for beginning of object key string";
    let bool_for_text = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal bool into Go struct field ConfigMap.data of type string";
    let nameless =
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    let applied = |rest: &str| {
        format!(
            "{{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {{\"name\": \"a\",}}, {rest}}}"
        )
    };
    let unread = |why: &str| Err(format!("error decoding YAML: {why}"));
    for (media, body, wanted) in [
        (YAML, "metadata: {name: a}\ndata: {a: yes}".to_owned(), Err(bool_for_text.into())),
        (YAML, "metadata: {name: a}\ndata: {a: 'yes', yes: b}".into(), Ok(json!({"a": "yes", "true": "b"}))),
        (
            YAML,
            "metadata: {name: a}\ndata: {a: !!binary aGVsbG8=, 0o10: x}".into(),
            Ok(json!({"a": "hello", "8": "x"})),
        ),
        (
            YAML,
            "x: &x {a: b, c: d}\nmetadata: {name: a}\ndata: {<<: *x, c: e}".into(),
            Ok(json!({"a": "b", "c": "e"})),
        ),
        (YAML, "metadata: {name: a}\ndata: {a: b}\n---\nmetadata: {name: b}".into(), Ok(json!({"a": "b"}))),
        (YAML, "{\"metadata\": {\"name\": \"a\",},}".into(), Ok(Value::Null)),
        (
            JSON,
            "{\"metadata\": {\"name\": \"a\",},}".into(),
            unrecognized(&format!(
                "couldn't get version/kind; {no_type} ({{\"metadata\": {{\"name\": \"a\",}},}})"
            )),
        ),
        (
            YAML,
            "a: b: c".into(),
            unrecognized("yaml: mapping values are not allowed in this context (613a20623a2063)"),
        ),
        (
            YAML,
            "{\"metadata\": {\"name\": \"a\"".into(),
            unrecognized("yaml: line 1: did not find expected ',' or '}' ({\"metadata\": {\"name\": \"a\")"),
        ),
        (YAML, String::new(), Err(nameless.into())),
        (JSON, "null".into(), Err(nameless.into())),
        (APPLY, applied("\"data\": {\"a\": \"b\",}"), Ok(json!({"a": "b"}))),
        (APPLY, applied("\"data\": {a: 'yes'}"), Ok(json!({"a": "yes"}))),
        (
            APPLY,
            "a: b: c".into(),
            unread("error converting YAML to JSON: yaml: mapping values are not allowed in this context"),
        ),
        (
            APPLY,
            "[1]".into(),
            unread(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
        ),
        (APPLY, String::new(), Err("invalid object type: /, Kind=".into())),
    ] {
        let (method, path) = match media {
            APPLY => ("PATCH", format!("{MAPS}/a?dryRun=All&fieldManager=m")),
            _ => ("POST", format!("{MAPS}?dryRun=All")),
        };
        let answer = server.send_raw(method, &path, &[("content-type", media)], body.clone().into()).await;
        let said = if answer.code < 300 {
            Ok(answer.body["data"].clone())
        } else {
            Err(answer.body["message"].as_str().unwrap().to_owned())
        };
        assert_eq!(said, wanted, "{media}: {body}");
    }
}

#[tokio::test]
async fn what_is_said_of_a_request_is_bounded() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let many =
        |count: usize| json!({"metadata": {"name": "p"}, "spec": {"containers": vec![json!({}); count]}});
    let told =
        server.send_raw("POST", pods, &[("content-type", JSON)], many(20_000).to_string().into()).await;
    let causes = told.body["details"]["causes"].as_array().unwrap().len();
    let message = told.body["message"].as_str().unwrap();
    assert!(told.code == 422 && causes == 256 && message.len() < 100_000, "{} {causes}", message.len());
    assert!(message.ends_with(" more errors]"), "{message}");
    // Warnings are bounded, too.
    let env = vec![json!({"name": "A", "value": "b"}); 1000];
    let mut warned = many(1);
    warned["spec"]["containers"][0] = json!({"name": "c", "image": "i", "env": env});
    let told = server.send_raw("POST", pods, &[("content-type", JSON)], warned.to_string().into()).await;
    assert_eq!(told.code, 201, "{}", told.body);
    assert!((1..60).contains(&told.warnings.len()), "{}", told.warnings.len());
}

/// Answers code and whether the answer waited for the end of a body that nobody reads.
async fn refused_unread(server: &Server, path: &str, token: &str, begun: &'static [u8]) -> (u16, bool) {
    let (mut upload, body) = mpsc::unbounded::<Result<Frame<Bytes>, Infallible>>();
    let request = http::Request::post(format!("https://localhost{path}"))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", JSON);
    let mut sender = raw::http2(server.port).await;
    let mut answer = pin!(sender.send_request(request.body(StreamBody::new(body)).unwrap()));
    upload.start_send(Ok(Frame::data(begun.into()))).unwrap();
    if let Ok(early) = tokio::time::timeout(Duration::from_millis(300), &mut answer).await {
        return (early.unwrap().status().as_u16(), false);
    }
    // On a machine that stands still for seconds the server does not wait as long, and nobody takes this.
    let _taken = upload.start_send(Ok(Frame::data("}".into())));
    drop(upload);
    (answer.await.unwrap().status().as_u16(), true)
}

#[tokio::test]
async fn who_is_refused_unread_may_write_to_the_end() {
    let server = Server::start().await;
    let (short, long): (&[u8], &[u8]) = (b"{", &[b' '; (3 << 20) + 1]);
    for (path, token, begun, code) in [
        (MAPS, "guess", short, 401),
        ("/nope", "secret", short, 404),
        ("/api/v1/nope", "secret", short, 404),
        (MAPS, "secret", long, 413),
    ] {
        assert_eq!(refused_unread(&server, path, token, begun).await, (code, true), "{path}");
    }
    // Who asks first whether he may write is not told to.
    let mut stream = raw::tls(server.port, &["http/1.1"]).await;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer guess\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&begin), "HTTP/1.1 401");
}

#[tokio::test]
async fn fields_with_unknown_numbers_are_not_dropped_without_a_word() {
    // A ConfigMap of the name `m`, with a field of the number 9, and one of the number 30 in its metadata.
    let bytes = |number: u8, content: &[u8]| [&[number << 3 | 2, content.len() as u8], content].concat();
    let meta = [bytes(1, b"m"), vec![0xf0, 1, 7]].concat();
    let raw = [bytes(1, &meta), vec![9 << 3, 1]].concat();
    let what = [bytes(1, b"v1"), bytes(2, b"ConfigMap")].concat();
    let body = [b"k8s\0".to_vec(), bytes(1, &what), bytes(2, &raw)].concat();
    let server = Server::start().await;
    let unknown = ["unknown field \"metadata.30\"", "unknown field \"9\""];
    for (validation, code, warnings) in
        [("Strict", 400, &[][..]), ("Warn", 201, &unknown), ("Ignore", 201, &[])]
    {
        let path = format!("{MAPS}?dryRun=All&fieldValidation={validation}");
        let headers = [("content-type", "application/vnd.kubernetes.protobuf")];
        let answer = server.send_raw("POST", &path, &headers, body.clone()).await;
        assert_eq!(answer.code, code, "{validation}: {}", answer.body);
        let said: Vec<String> =
            warnings.iter().map(|text| format!("299 - \"{}\"", text.replace('"', "\\\""))).collect();
        assert_eq!(answer.warnings, said, "{validation}");
        if code == 400 {
            assert_eq!(
                answer.body["message"].as_str(),
                Some(format!("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: {}", unknown.join(", ")).as_str())
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn what_go_lets_be_absent_may_be_absent() {
    const SERVICES: &str = "/api/v1/namespaces/default/services";
    let server = Server::start().await;
    let service = serde_json::json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    assert_eq!(server.send("POST", SERVICES, &service).await.code, 201);
    let path = format!("{SERVICES}/s/status");
    for condition in [
        serde_json::json!({"type": "A", "status": "True"}),
        serde_json::json!({"type": "A", "status": "True", "lastTransitionTime": null}),
    ] {
        let patch = serde_json::json!({"status": {"conditions": [condition]}}).to_string();
        let headers = [("content-type", "application/merge-patch+json")];
        let answer = server.send_raw("PATCH", &path, &headers, patch.into()).await;
        assert_eq!(answer.code, 200, "{}", answer.body);
        let kept = serde_json::json!([{"type": "A", "status": "True", "reason": "", "message": "",
            "lastTransitionTime": "0001-01-01T00:00:00Z"}]);
        assert_eq!(answer.body["status"]["conditions"], kept);
    }
    // And the service goes on to be read and written.
    let labelled = serde_json::json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(server.send("PATCH", &format!("{SERVICES}/s"), &labelled).await.code, 200);
    server.stop().await;
}
