//! How webhooks are reached, and what becomes of their answers.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    harness::{Server, audit::Log, namespace},
    hook::{CONFIG_MAPS, Hook, PODS, both, config_map, configure, message, pod, remove},
};

#[tokio::test(flavor = "multi_thread")]
async fn patches_are_applied_in_order_and_held_to_the_rules() {
    let (server, hook) = both().await;
    let label = |name: &str| json!({"allowed": true, "patch": [{"op": "add", "path": format!("/metadata/labels/{name}"), "value": name}]});
    for (path, says) in [("/one", label("one")), ("/two", label("two")), ("/three", label("three"))] {
        hook.says(path, says);
    }
    let mut again = hook.about("/one", "configmaps");
    again["reinvocationPolicy"] = "IfNeeded".into();
    // The names of configurations decide.
    configure(&server, "mutating", "b", &[hook.about("/three", "configmaps")]).await;
    configure(&server, "mutating", "a", &[again, hook.about("/two", "configmaps")]).await;
    let made = server.send("POST", &format!("{CONFIG_MAPS}?fieldManager=me"), &config_map("c")).await;
    assert_eq!(
        made.body["metadata"]["labels"],
        json!({"app": "a", "one": "one", "two": "two", "three": "three"})
    );
    // It is asked again, since others have changed the object after it.
    assert_eq!(hook.paths(), ["/one", "/two", "/three", "/one"]);
    let managed = &made.body["metadata"]["managedFields"];
    assert_eq!((managed.as_array().unwrap().len(), &managed[0]["manager"]), (1, &json!("me")), "{managed}");
    remove(&server, "mutating", "a").await;
    remove(&server, "mutating", "b").await;

    // Defaults come in, and the rules have their say.
    let container = |extra: Value| json!({"allowed": true, "patch": [{"op": "add", "path": "/spec/containers/-", "value": extra}]});
    hook.says("/pods", container(json!({"name": "side", "image": "i"})));
    configure(&server, "mutating", "pods", &[hook.about("/pods", "pods")]).await;
    let made = server.send("POST", PODS, &pod("p")).await;
    assert_eq!(made.body["spec"]["containers"][1]["imagePullPolicy"], "Always", "{}", made.body);
    hook.says("/pods", container(json!({"name": "No Name", "image": "i"})));
    let refused = server.send("POST", PODS, &pod("q")).await;
    assert_eq!((refused.code, &refused.body["reason"]), (422, &json!("Invalid")), "{}", refused.body);
    for (patch, why) in [
        (json!([{"op": "replace", "path": "/spec/containers", "value": 7}]), "Internal error occurred: "),
        (json!([{"op": "remove", "path": "/spec/none"}]), "Internal error occurred: "),
        (
            json!([{"op": "replace", "path": "/kind", "value": "Node"}]),
            "Internal error occurred: failed to convert object: converting (v1.Node) to (core.Pod): unknown conversion",
        ),
    ] {
        hook.says("/pods", json!({"allowed": true, "patch": patch}));
        let refused = server.send("POST", PODS, &pod("q")).await;
        assert!(refused.code >= 400 && message(&refused).1.starts_with(why), "{patch}: {}", refused.body);
    }
    let moved = json!([{"op": "replace", "path": "/metadata/namespace", "value": "other"}]);
    hook.says("/maps", json!({"allowed": true, "patch": moved}));
    configure(&server, "mutating", "maps", &[hook.about("/maps", "configmaps")]).await;
    let refused = server.send("POST", CONFIG_MAPS, &config_map("d")).await;
    let why = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!(message(&refused), (400, why));
    hook.says("/pods", json!({"allowed": true, "patch": [{"op": "add", "path": "/x", "value": 1}]}));
    let deleted = server.send("DELETE", &format!("{PODS}/p"), &Value::Null).await;
    let why = "Internal error occurred: admission webhook \"pods.hooks.test\" attempted to modify the object, which is not supported for this operation";
    assert_eq!(message(&deleted), (500, why));
    hook.says("/pods", json!({"allowed": true, "patch": [{"op": "replace", "path": "/metadata/managedFields", "value": [{"fieldsType": "x"}]}]}));
    let made = server.send("POST", PODS, &pod("r")).await;
    assert_eq!((made.code, made.warnings.len()), (201, 1), "{:?}", made.warnings);
    assert_eq!(made.body["metadata"]["managedFields"][0]["fieldsType"], "FieldsV1");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_failures_are_told_in_upstreams_words() {
    let (server, hook) = both().await;
    hook.says("/no", json!({"allowed": false, "status": {"message": "I said no", "code": 403, "reason": "Forbidden"}, "warnings": ["careful"]}));
    hook.says("/silent", json!({"allowed": false}));
    hook.says("/lies", json!({"allowed": true, "uid": "another"}));
    hook.says("/patches", json!({"allowed": true, "patch": []}));
    let at = |path: &str| format!("\"https://127.0.0.1:{}{path}?timeout=10s\"", hook.port);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let calling = |name: &str, why: &str| {
        format!("Internal error occurred: failed calling webhook \"{name}.hooks.test\": {why}")
    };
    let call = |name: &str, why: &str| calling(name, &format!("failed to call webhook: {why}"));
    let cases: Vec<(&str, u16, String)> = vec![
        ("/no", 403, "admission webhook \"no.hooks.test\" denied the request: I said no".into()),
        (
            "/silent",
            400,
            "admission webhook \"silent.hooks.test\" denied the request without explanation".into(),
        ),
        (
            "/broken",
            500,
            call("broken", "an error on the server (\"oh no\") has prevented the request from succeeding"),
        ),
        ("/none", 500, call("none", "the server could not find the requested resource")),
        ("/garbage", 500, call("garbage", "couldn't get version/kind; json parse error")),
        ("/endless", 500, call("endless", &format!("Post {}: length limit exceeded", at("/endless")))),
        ("/lies", 500, calling("lies", "received invalid webhook response: expected response.uid=")),
        (
            "/patches",
            500,
            calling(
                "patches",
                "received invalid webhook response: validating webhook may not return response.patch",
            ),
        ),
        (
            "/closed",
            500,
            call(
                "closed",
                &format!(
                    "Post \"https://127.0.0.1:{closed}/closed?timeout=10s\": dial tcp 127.0.0.1:{closed}: connect: connection refused"
                ),
            ),
        ),
        ("/self", 500, call("self", "")),
        (
            "/stranger",
            500,
            call(
                "stranger",
                &format!(
                    "Post {}: tls: failed to verify certificate: x509: certificate signed by unknown authority",
                    at("/stranger")
                ),
            ),
        ),
        (
            "/name",
            500,
            call(
                "name",
                &format!(
                    "Post \"https://localhost:{}/name?timeout=10s\": tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match localhost",
                    hook.port
                ),
            ),
        ),
        (
            "/hang",
            500,
            call(
                "hang",
                &format!(
                    "Post \"https://127.0.0.1:{}/hang?timeout=1s\": context deadline exceeded",
                    hook.port
                ),
            ),
        ),
    ];
    let other = Hook::start("127.0.0.1", &["127.0.0.1"]).await;
    for (path, code, expected) in cases {
        let mut about = hook.about(path, "configmaps");
        let config = &mut about["clientConfig"];
        match path {
            "/closed" => config["url"] = format!("https://127.0.0.1:{closed}{path}").into(),
            // The API server itself.
            "/self" => config["url"] = format!("https://127.0.0.1:{}{CONFIG_MAPS}", server.port).into(),
            "/stranger" => config["caBundle"] = STANDARD.encode(&other.bundle).into(),
            "/name" => config["url"] = format!("https://localhost:{}{path}", hook.port).into(),
            "/hang" => about["timeoutSeconds"] = 1.into(),
            _ => {}
        }
        configure(&server, "validating", "one", std::slice::from_ref(&about)).await;
        let begun = Instant::now();
        let refused = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
        let (told, text) = message(&refused);
        assert!(told == code && text.starts_with(&expected), "{path}: {told} {text}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{path}");
        assert_eq!(refused.warnings.len(), usize::from(path == "/no"), "{path}");
        // Where it may fail, only a refusal counts.
        about["failurePolicy"] = "Ignore".into();
        remove(&server, "validating", "one").await;
        configure(&server, "validating", "one", &[about]).await;
        let answer = server.send("POST", &format!("{CONFIG_MAPS}?dryRun=All"), &config_map("c")).await;
        let refuses = matches!(path, "/no" | "/silent");
        assert_eq!(answer.code, if refuses { code } else { 201 }, "{path}: {}", answer.body);
        remove(&server, "validating", "one").await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn validating_webhooks_are_asked_together_on_connections_that_are_kept() {
    let (server, hook) = both().await;
    let about = ["/a", "/b"].map(|path| {
        let mut about = hook.about(path, "configmaps");
        // The server's own loops write elsewhere.
        about["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": "default"}});
        about
    });
    configure(&server, "validating", "v", &about).await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(server.send("POST", CONFIG_MAPS, &config_map(name)).await.code, 201);
    }
    assert_eq!((hook.paths().len(), hook.connections.load(Ordering::Relaxed)), (8, 2));
    // Each answers only once both have been asked.
    let mut both = [hook.about("/together", "secrets"), hook.about("/together", "secrets")];
    for (name, hook) in ["one", "two"].iter().zip(&mut both) {
        hook["name"] = format!("{name}.hooks.test").into();
    }
    configure(&server, "validating", "together", &both).await;
    let secret = json!({"metadata": {"name": "s"}});
    let made = server.send("POST", "/api/v1/namespaces/default/secrets", &secret).await;
    assert_eq!(made.code, 201, "{}", made.body);
    server.stop().await;
}

#[test]
fn a_service_is_reached_through_its_pods_under_its_own_name() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let server = Server::start().await;
        let hook = Hook::start(namespace::ADDRESS, &["hook.default.svc"]).await;
        let mut server_pod = pod("hook");
        server_pod["metadata"]["labels"] = json!({"app": "hook"});
        assert_eq!(server.send("POST", PODS, &server_pod).await.code, 201);
        let ip = namespace::ADDRESS;
        let ips = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        assert_eq!(server.send("PATCH", &format!("{PODS}/hook/status"), &ips).await.code, 200);
        let service =
            json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "tls", "port": 8443}]}});
        assert_eq!(server.send("POST", "/api/v1/namespaces/default/services", &service).await.code, 201);
        let mut about = hook.about("/way", "configmaps");
        let config = |name: &str, port: u16| {
            json!({
                "service": {"namespace": "default", "name": name, "port": port, "path": "/way"},
                "caBundle": STANDARD.encode(&hook.bundle),
            })
        };
        let calling =
            "Internal error occurred: failed calling webhook \"way.hooks.test\": failed to call webhook: ";
        let post = |name: &str, port: u16, why: &str| {
            format!("{calling}Post \"https://{name}.default.svc:{port}/way?timeout=10s\": {why}")
        };
        for (name, port, expected) in [
            ("none", 8443, "service \"none\" not found"),
            ("hook", 1, "no service port 1 found for service \"hook\""),
            ("hook", 8443, "no endpoints available for service \"hook\""),
        ] {
            about["clientConfig"] = config(name, port);
            configure(&server, "validating", "s", std::slice::from_ref(&about)).await;
            let refused = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
            assert_eq!(message(&refused), (500, &*post(name, port, expected)));
            remove(&server, "validating", "s").await;
        }
        let slice = json!({
            "metadata": {"name": "hook", "labels": {"kubernetes.io/service-name": "hook"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip], "targetRef": {"kind": "Pod", "name": "hook", "namespace": "default"}}],
            "ports": [{"name": "tls", "port": hook.port}],
        });
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        assert_eq!(server.send("POST", slices, &slice).await.code, 201);
        about["clientConfig"] = config("hook", 8443);
        configure(&server, "validating", "s", &[about]).await;
        let made = server.send("POST", CONFIG_MAPS, &config_map("c")).await;
        assert_eq!(made.code, 201, "{}", made.body);
        assert_eq!(hook.paths(), ["/way"]);
        server.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_webhooks_do_is_noted_for_the_audit_log() {
    let log = Log::new();
    let server = Server::start_with(|config| log.of(config, json!([{"level": "Request"}]), &[])).await;
    let hook = Hook::start("127.0.0.1", &["127.0.0.1"]).await;
    let patch = json!([{"op": "add", "path": "/metadata/labels/one", "value": "one"}]);
    hook.says("/one", json!({"allowed": true, "patch": patch, "auditAnnotations": {"why": "because"}}));
    let mut broken = hook.about("/broken", "*");
    broken["failurePolicy"] = "Ignore".into();
    configure(
        &server,
        "mutating",
        "a",
        &[hook.about("/other", "pods"), hook.about("/one", "*"), broken.clone()],
    )
    .await;
    configure(&server, "validating", "a", &[hook.about("/other", "pods"), broken]).await;
    let made = async |id: &str, path: &str| {
        let headers = [("audit-id", id), ("content-type", "application/json")];
        let mut object = config_map(id);
        object["data"] = json!({});
        let answer = server.send_raw("POST", path, &headers, object.to_string().into()).await;
        assert_eq!(answer.code, 201, "{}", answer.body);
        log.annotations(id).await
    };
    let noted = |hook: &str, mutated: bool| {
        format!(r#"{{"configuration":"a","webhook":"{hook}.hooks.test","mutated":{mutated}}}"#)
    };
    let patched = format!(
        r#"{{"configuration":"a","webhook":"one.hooks.test","patch":{patch},"patchType":"JSONPatch"}}"#
    );
    let mut wanted = json!({
        "one.hooks.test/why": "because",
        "mutation.webhook.admission.k8s.io/round_0_index_1": noted("one", true),
        "patch.webhook.admission.k8s.io/round_0_index_1": patched,
        "mutation.webhook.admission.k8s.io/round_0_index_2": noted("broken", false),
        "failed-open.mutation.webhook.admission.k8s.io/round_0_index_2": "broken.hooks.test",
        "failed-open.validating.webhook.admission.k8s.io/round_0_index_0": "broken.hooks.test",
    });
    assert_eq!(made("map", CONFIG_MAPS).await, wanted);
    // A patch may repeat what a Secret holds.
    wanted.as_object_mut().unwrap().remove("patch.webhook.admission.k8s.io/round_0_index_1");
    assert_eq!(made("secret", "/api/v1/namespaces/default/secrets").await, wanted);
    server.stop().await;
}
