//! What goes through the kubelet of a pod's node, or to a node itself.

use super::*;

/// A kubelet's certificate for its address, and the authority that signed it, as files.
fn kubelet_certificate(folder: &std::path::Path) -> TlsSource {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(folder.join("ca.pem"), ca.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![namespace::ADDRESS.into()]).unwrap();
    std::fs::write(folder.join("kubelet.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    std::fs::write(folder.join("kubelet.key"), key.serialize_pem()).unwrap();
    TlsSource::Files { cert: folder.join("kubelet.pem"), key: folder.join("kubelet.key") }
}

/// The status of a node whose kubelet listens here.
pub fn node_status(port: u16) -> Value {
    json!({"status": {
        "addresses": [{"type": "InternalIP", "address": namespace::ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }})
}

/// A cluster with a pod on a node, whose kubelet is the backend.
pub async fn with_kubelet(folder: &std::path::Path) -> Server {
    let source = kubelet_certificate(folder);
    let port = listen_as(Some(&source)).await;
    let authority = folder.join("ca.pem");
    let server = Server::start_with(|c| c.kubelet = Some(KubeletTls { authority, identity: None })).await;
    let node = json!({"metadata": {"name": "n"}});
    assert_eq!(server.send("POST", "/api/v1/nodes", &node).await.code, 201);
    assert_eq!(server.send("PATCH", "/api/v1/nodes/n/status", &node_status(port)).await.code, 200);
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]},
    });
    assert_eq!(server.send("POST", PODS, &pod).await.code, 201);
    server
}

#[test]
fn attach_and_port_forward_reach_the_kubelet() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let server = with_kubelet(folder.path()).await;
        let attach = format!("{PODS}/p/attach");
        let forward = format!("{PODS}/p/portforward");
        for method in ["GET", "POST"] {
            for (path, expected) in [
                (
                    format!("{attach}?container=c&stdin=true&stdout=true&tty=true"),
                    "/attach/default/p/c?input=1&output=1&tty=1",
                ),
                (
                    format!("{attach}?stdout=1&stderr=true&stdin=false"),
                    "/attach/default/p/c?output=1&error=1",
                ),
                (format!("{forward}?ports=80"), "/portForward/default/p?port=80"),
                (format!("{forward}?ports=80,443&ports=8080"), "/portForward/default/p?port=80,443,8080"),
                (forward.clone(), "/portForward/default/p?"),
            ] {
                // The kubelet refuses by telling what it was asked.
                let (code, told) = refused(&server, method, &path).await;
                let told: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("{path}: {told}"));
                assert_eq!(code, 500, "{told}");
                assert_eq!((&told["method"], &told["path"]), (&json!(method), &json!(expected)));
                assert_eq!(told["headers"]["authorization"], Value::Null);
                echoes(&server, method, &path).await;
            }
        }
        for path in [&attach, &forward] {
            let plain = server.get(path).await;
            assert_eq!((plain.code, plain.body["message"].as_str()), (400, Some("Upgrade request required")));
            assert_eq!(server.send("PUT", path, &json!({})).await.code, 405);
            assert_eq!(server.send("DELETE", path, &Value::Null).await.code, 405);
        }
        for (path, code, message) in [
            (format!("{attach}?container=none"), 400, "container none is not valid for pod p"),
            (
                format!("{forward}?ports=x"),
                400,
                "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (format!("{PODS}/none/attach"), 404, "pods \"none\" not found"),
            (format!("{PODS}/none/portforward"), 404, "pods \"none\" not found"),
        ] {
            assert_eq!(refused(&server, "GET", &path).await, (code, message.to_owned()), "{path}");
        }
        let lonely =
            json!({"metadata": {"name": "lonely"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
        assert_eq!(server.send("POST", PODS, &lonely).await.code, 201);
        for part in ["attach", "portforward"] {
            let (code, message) = refused(&server, "GET", &format!("{PODS}/lonely/{part}")).await;
            assert_eq!((code, message.as_str()), (400, "pod lonely does not have a host assigned"));
        }
    });
}

#[test]
fn a_nodes_proxy_passes_every_method_and_upgrades() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let server = with_kubelet(folder.path()).await;
        let path = "/api/v1/nodes/n/proxy/run/x?y=1";
        let mut client = raw::http1(server.port).await;
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let body = if matches!(method, "GET" | "OPTIONS") { "" } else { "hello" };
            let answer = client.send_request(raw::request(method, path, &[], body)).await.unwrap();
            assert_eq!(answer.status(), 203, "{method}");
            let told: Value = serde_json::from_str(&raw::text(answer).await).unwrap();
            assert_eq!(
                (&told["method"], &told["path"], &told["body"]),
                (&json!(method), &json!("/run/x?y=1"), &json!(body))
            );
            assert_eq!(told["headers"]["authorization"], Value::Null);
        }
        let head = client.send_request(raw::request("HEAD", path, &[], "")).await.unwrap();
        assert_eq!((head.status().as_u16(), raw::text(head).await), (203, String::new()));
        for method in ["GET", "POST"] {
            echoes(&server, method, path).await;
        }
    });
}

#[test]
fn the_kubelet_of_a_pods_node_answers_for_it() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let server = with_kubelet(folder.path()).await;

        // A kubelet's answers are 200; this one's are not, which shows that it was asked, and what.
        let log = server.get(&format!("{PODS}/p/log?container=c&tailLines=5")).await;
        assert_eq!((log.code, log.body["reason"].as_str()), (500, Some("InternalError")));
        let told = log.body["message"].as_str().unwrap();
        assert!(told.contains("/containerLogs/default/p/c?tailLines=5"), "{told}");
        let log = server.get(&format!("{PODS}/p/log?tailLines=-1")).await;
        assert_eq!((log.code, log.body["reason"].as_str()), (422, Some("Invalid")));
        let proxied = server.get("/api/v1/nodes/n/proxy/metrics?x=y").await;
        assert_eq!((proxied.code, proxied.body["path"].as_str()), (203, Some("/metrics?x=y")));

        let mut client = raw::http1(server.port).await;
        let path = format!("{PODS}/p/exec?command=ls&stdin=true&stdout=true");
        let plain = client.send_request(raw::request("GET", &path, &[], "")).await.unwrap();
        assert_eq!(plain.status(), 400);
        assert!(raw::text(plain).await.contains("Upgrade request required"));
        echoes(&server, "GET", &path).await;
        let mut client = raw::http1(server.port).await;
        let headers = [("connection", "Upgrade"), ("upgrade", "refused")];
        let answer = client.send_request(raw::request("GET", &path, &headers, "")).await.unwrap();
        assert_eq!(answer.status(), 500);
        let told: Value = serde_json::from_str(&raw::text(answer).await).unwrap();
        assert_eq!(
            (&told["reason"], &told["message"]),
            (&json!("InternalError"), &json!("container not found (\"c\")"))
        );

        let closed = TcpListener::bind((namespace::ADDRESS, 0)).await.unwrap().local_addr().unwrap().port();
        server.send("PATCH", "/api/v1/nodes/n/status", &node_status(closed)).await;
        let log = server.get(&format!("{PODS}/p/log")).await;
        let refused = format!("dial tcp {}:{closed}: connect: connection refused", namespace::ADDRESS);
        let expected = format!("Internal error occurred: error dialing backend: {refused}");
        assert_eq!((log.code, log.body["message"].as_str()), (500, Some(expected.as_str())));
    });
}

#[test]
fn a_node_that_claims_to_be_here_gives_nobody_our_rights() {
    use machinery::pki::{Authority, IssueRequest, KUBELET_API_ADMIN, KUBELET_CLIENT};
    namespace::run(|| async {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let authority = Authority::new("ca").unwrap();
        authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
        let address = namespace::ADDRESS.parse().unwrap();
        let serving =
            authority.issue(&IssueRequest::server("kube-apiserver", &["localhost"], &[address])).unwrap();
        serving.save(&at("server.crt"), &at("server.key")).unwrap();
        for group in [KUBELET_API_ADMIN, "system:masters"] {
            let client = authority.issue(&IssueRequest::client(KUBELET_CLIENT, &[group])).unwrap();
            client.save(&at("client.crt"), &at("client.key")).unwrap();
            let server = Server::start_with(|c| {
                c.listen = ("0.0.0.0".parse().unwrap(), 0);
                c.serving = Some((at("server.crt"), at("server.key")));
                c.client_ca = Some(at("ca.crt"));
                let identity = Some((at("client.crt"), at("client.key")));
                c.kubelet = Some(KubeletTls { authority: at("ca.crt"), identity });
            })
            .await;
            let node = json!({"metadata": {"name": "n"}});
            assert_eq!(server.send("POST", "/api/v1/nodes", &node).await.code, 201);
            let status = node_status(server.port);
            assert_eq!(server.send("PATCH", "/api/v1/nodes/n/status", &status).await.code, 200);
            for path in ["api/v1/secrets", "api", "metrics", "apis/apps/v1/deployments"] {
                let answer = server.get(&format!("/api/v1/nodes/n/proxy/{path}")).await;
                assert_eq!(
                    (answer.code, &answer.body["reason"]),
                    (403, &json!("Forbidden")),
                    "{}",
                    answer.body
                );
            }
            let mut client = raw::http1(server.port).await;
            let headers = [("impersonate-user", "root"), ("impersonate-group", "system:masters")];
            let request = raw::request("GET", "/api/v1/nodes/n/proxy/api/v1/secrets", &headers, "");
            assert_eq!(client.send_request(request).await.unwrap().status(), 403);
            server.stop().await;
        }
    });
}
