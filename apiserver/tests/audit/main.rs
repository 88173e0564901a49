//! The audit log over HTTP, beside what the real API server has told of the same requests (`real.jsonl`; without Secrets' data,
//! without the zero values of what is asked in reviews, and with the public version of DeleteOptions).

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../harness/mod.rs"]
mod harness;

use apiserver::args::{Config, Mode};
use harness::{Server, audit::Log, client, raw};
use serde_json::{Value, json};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn server(log: &Log, rules: Value, flags: &[&str]) -> Server {
    let audited = |config: &mut Config| {
        log.of(config, rules, flags);
        config.authorization = vec![Mode::Node, Mode::Rbac];
    };
    Server::start_with(audited).await
}

/// What of an event does not depend on the moment, in the form of `real.jsonl`.
fn shown(events: &[Value]) -> Value {
    let last = events.last().unwrap();
    let mut status = last["responseStatus"].clone();
    status.as_object_mut().unwrap().remove("metadata");
    if let Some(details) = status.get_mut("details").and_then(Value::as_object_mut) {
        details.remove("uid");
    }
    let stages: Vec<&Value> = events.iter().map(|event| &event["stage"]).collect();
    let mut shown = json!({"stages": stages, "verb": last["verb"], "status": status});
    for field in ["objectRef", "requestObject", "impersonatedUser"] {
        if let Some(value) = last.get(field) {
            shown[field] = value.clone();
        }
    }
    if let Some(object) = last.get("responseObject") {
        shown["responseKind"] = object["kind"].clone();
    }
    let mut annotations = last.get("annotations").cloned().unwrap_or(json!({}));
    annotations.as_object_mut().unwrap().remove("authentication.kubernetes.io/issued-credential-id");
    shown["annotations"] = annotations;
    if last["sourceIPs"] != json!(["127.0.0.1"]) {
        shown["sourceIPs"] = last["sourceIPs"].clone();
    }
    shown
}

#[tokio::test]
async fn events_are_those_of_the_real_server() {
    let log = Log::new();
    let managed = json!({"level": "RequestResponse", "omitManagedFields": true});
    let server = server(&log, json!([managed]), &[]).await;
    let [jane, wrong] = ["jane", "wrong"].map(|token| client(server.port, Some(token)));
    let mut different = Vec::new();
    for line in include_str!("real.jsonl").lines() {
        let real: Value = serde_json::from_str(line).unwrap();
        let text = |field: &str| real[field].as_str().unwrap();
        let id = text("id");
        let mut headers = vec![("audit-id", id), ("user-agent", "tester/1.0 (x)")];
        for header in real["headers"].as_array().unwrap() {
            headers.push((header[0].as_str().unwrap(), header[1].as_str().unwrap()));
        }
        let client = match text("as") {
            "jane" => &jane,
            "wrong" => &wrong,
            _ => &server.client,
        };
        let body = text("body").as_bytes().to_vec();
        harness::send(client, text("method"), text("path"), &headers, body).await;
        if id == "ns" {
            // Pods want the account that a controller makes.
            let account = json!({"metadata": {"name": "default"}});
            server.send("POST", "/api/v1/namespaces/audit/serviceaccounts", &account).await;
        }
        let last = real["event"]["stages"].as_array().unwrap().last().unwrap().as_str().unwrap();
        let events = log.events(id, last).await;
        if shown(&events) != real["event"] {
            different.push(format!("{id}\n ours {}\n real {}", shown(&events), real["event"]));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    let text = log.text();
    assert!(
        !text.contains("hidden") && !text.contains("aGlkZGVu") && !text.contains("managedFields"),
        "{text}"
    );
    server.stop().await;
}

#[tokio::test]
async fn the_level_says_how_much_is_told() {
    let log = Log::new();
    let rules = json!([
        {"level": "None", "nonResourceURLs": ["/healthz*"]},
        {"level": "Metadata", "users": ["jane"], "omitStages": ["RequestReceived"]},
        {"level": "Request", "verbs": ["create"]},
        {"level": "RequestResponse", "userGroups": ["system:masters"]},
    ]);
    let server = server(&log, rules, &["--audit-log-mode=blocking"]).await;
    let ask = async |client: &kube::Client, id: &str, method: &str, path: &str, body: &str| {
        let headers = [("audit-id", id), ("content-type", "application/json"), ("user-agent", "t")];
        harness::send(client, method, path, &headers, body.into()).await
    };
    let jane = client(server.port, Some("jane"));
    ask(&server.client, "health", "GET", "/healthz", "").await;
    ask(&jane, "refused", "POST", MAPS, r#"{"metadata":{"name":"a"}}"#).await;
    ask(&server.client, "made", "POST", MAPS, r#"{"metadata":{"name":"a"}}"#).await;
    ask(&server.client, "read", "GET", &format!("{MAPS}/a?pretty=true"), "").await;
    let [refused] = &log.events("refused", "ResponseComplete").await[..] else { panic!("{}", log.text()) };
    assert_eq!(refused["level"], "Metadata");
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["user"], json!({"username": "jane", "uid": "2", "groups": ["system:authenticated"]}));
    assert_eq!((refused.get("requestObject"), refused.get("responseObject")), (None, None));
    let made = log.events("made", "ResponseComplete").await.pop().unwrap();
    assert_eq!(made["requestObject"]["metadata"]["name"], "a");
    assert_eq!((made.get("responseObject"), &made["responseStatus"]["code"]), (None, &json!(201)));
    let read = log.events("read", "ResponseComplete").await.pop().unwrap();
    assert_eq!(read["responseObject"]["metadata"]["name"], "a");
    assert!(!log.text().contains(r#""auditID":"health""#));
    let metrics = server.get("/metrics").await.body.to_string();
    for wanted in ["apiserver_audit_event_total ", r#"apiserver_audit_level_total{level=\"Metadata\"} 1"#] {
        assert!(metrics.contains(wanted), "{wanted}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_is_over_when_it_ends_however_that_is() {
    let log = Log::new();
    let server = server(&log, json!([{"level": "RequestResponse"}]), &[]).await;
    let mut connection = raw::http1(server.port).await;
    let request = raw::request("GET", &format!("{MAPS}?watch=true"), &[("audit-id", "watch")], "");
    let answer = connection.send_request(request).await.unwrap();
    // It has begun, though nothing has happened.
    let begun = log.events("watch", "ResponseStarted").await;
    assert_eq!(begun.len(), 2);
    assert_eq!(begun[1]["responseStatus"], json!({"metadata": {}, "code": 200}));
    // The client goes.
    drop((answer, connection));
    let over = log.events("watch", "ResponseComplete").await;
    assert_eq!((over.len(), over[2].get("responseObject")), (3, None));
    // The server goes, and nothing of what it has told is lost.
    let mut connection = raw::http1(server.port).await;
    let request = raw::request("GET", &format!("{MAPS}?watch=true"), &[("audit-id", "last")], "");
    let _answer = connection.send_request(request).await.unwrap();
    server.stop().await;
    assert_eq!(log.events("last", "ResponseComplete").await.len(), 3);
}

#[tokio::test]
async fn a_request_that_cannot_be_told_of_is_refused_where_that_is_wanted() {
    let log = Log::new();
    // Nothing can be written to it.
    let flags = ["--audit-log-mode=blocking-strict", "--audit-log-maxsize=0", "--audit-log-path=/dev/full"];
    let rules = json!([{"level": "Metadata", "users": ["tester"], "verbs": ["create"]}]);
    let server = server(&log, rules, &flags).await;
    let refused = server.send("POST", MAPS, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(refused.code, 500);
    assert_eq!(refused.body["message"], "Internal error occurred: failed to store audit event");
    assert_eq!(server.get(&format!("{MAPS}/a")).await.code, 404);
    let metrics = server.get("/metrics").await.body.to_string();
    assert!(metrics.contains(r#"apiserver_audit_error_total{plugin=\"log\"}"#), "{metrics}");
    assert!(metrics.contains("apiserver_audit_requests_rejected_total "), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn policies_leave_notes() {
    const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
    let log = Log::new();
    let server = server(&log, json!([{"level": "Metadata"}]), &[]).await;
    let make = async |resource: &str, spec: Value| {
        let path = format!("{GROUP}/{resource}");
        let made = server.send("POST", &path, &json!({"metadata": {"name": "p.x"}, "spec": spec})).await;
        assert_eq!(made.code, 201, "{}", made.body);
        server.get(&format!("{path}/p.x")).await;
    };
    let rule = json!({"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["configmaps"]});
    let policy = json!({
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "true"}, {"expression": "object.data.k != 'bad'", "message": "no"}],
        "auditAnnotations": [
            {"key": "value", "valueExpression": "' is ' + object.data.k"},
            {"key": "none", "valueExpression": "'  '"},
        ],
    });
    make("validatingadmissionpolicies", policy).await;
    let bound = json!({"policyName": "p.x", "validationActions": ["Audit"]});
    make("validatingadmissionpolicybindings", bound).await;
    let ask = async |id: &str| {
        let object = json!({"metadata": {"name": id}, "data": {"k": id}}).to_string();
        let headers = [("audit-id", id), ("content-type", "application/json")];
        assert_eq!(server.send_raw("POST", MAPS, &headers, object.into()).await.code, 201);
        log.annotations(id).await
    };
    assert_eq!(ask("good").await, json!({"p.x/value": "is good"}));
    let failure = r#"[{"message":"no","policy":"p.x","binding":"p.x","expressionIndex":1,"validationActions":["Audit"]}]"#;
    let wanted =
        json!({"p.x/value": "is bad", "validation.policy.admission.k8s.io/validation_failure": failure});
    assert_eq!(ask("bad").await, wanted);
    server.stop().await;
}
