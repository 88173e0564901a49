//! Logs and watches, told in messages of a WebSocket.

use super::*;

/// A session in messages: what the handshake agreed on, and all messages, each in its kind.
async fn messages(
    server: &Server,
    path: &str,
    protocols: &str,
    count: usize,
) -> (Option<String>, Vec<Message>) {
    let mut client = raw::http1(server.port).await;
    let mut headers = vec![
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    if !protocols.is_empty() {
        headers.push(("sec-websocket-protocol", protocols));
    }
    let mut answer = client.send_request(raw::request("GET", path, &headers, "")).await.unwrap();
    assert_eq!(answer.status(), 101, "{path}");
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let agreed = answer.headers().get("sec-websocket-protocol").map(|p| p.to_str().unwrap().to_owned());
    let stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    let mut session = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    let mut all = Vec::new();
    while all.len() < count
        && let Some(message) = session.next().await
    {
        all.push(message.unwrap());
    }
    (agreed, all)
}

#[test]
fn logs_are_told_in_messages() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let server = with_kubelet(folder.path()).await;
        let path = format!("{PODS}/p/log?tailLines=2");
        assert_eq!(server.get(&path).await.body, json!("one\ntwo\n"));
        let binary = |text: &'static str| Message::Binary(Bytes::from(text));
        for (asked, agreed, expected) in [
            ("", None, [binary(""), binary("one\ntwo\n")]),
            ("binary.k8s.io", Some("binary.k8s.io"), [binary(""), binary("one\ntwo\n")]),
            (
                "other, base64.binary.k8s.io",
                Some("base64.binary.k8s.io"),
                [Message::Text("".into()), Message::Text("b25lCnR3bwo=".into())],
            ),
        ] {
            let (told, mut all) = messages(&server, &path, asked, 9).await;
            assert_eq!(told.as_deref(), agreed);
            assert!(all.pop().unwrap().is_close());
            assert_eq!(all, expected);
        }
        let headers = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "x"),
            ("sec-websocket-protocol", "channel.k8s.io"),
        ];
        let mut client = raw::http1(server.port).await;
        let refused = client.send_request(raw::request("GET", &path, &headers, "")).await.unwrap();
        assert_eq!(refused.status(), 403);
    });
}

#[test]
fn watches_are_told_in_messages() {
    namespace::run(|| async {
        machinery::tls::use_ring();
        let server = Server::start().await;
        for name in ["a", "b", "c"] {
            let map = json!({"metadata": {"name": name, "labels": {"told": "yes"}}});
            assert_eq!(server.send("POST", "/api/v1/namespaces/default/configmaps", &map).await.code, 201);
        }
        let path = "/api/v1/namespaces/default/configmaps?watch=true&labelSelector=told&timeoutSeconds=1";
        let (agreed, mut all) = messages(&server, path, "", 9).await;
        assert_eq!(agreed, None);
        assert!(all.pop().unwrap().is_close());
        let names: Vec<String> = all
            .into_iter()
            .map(|message| {
                let Message::Text(text) = message else { panic!("{message:?}") };
                assert!(text.ends_with('\n'));
                let event: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(event["type"], "ADDED");
                event["object"]["metadata"]["name"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        // A client that goes ends its watch.
        let running = async || {
            server.get("/metrics").await.body.as_str().unwrap().contains(
                "verb=\"WATCH\",group=\"\",version=\"v1\",resource=\"configmaps\",subresource=\"\"} 1",
            )
        };
        let path = "/api/v1/namespaces/default/configmaps?watch=true";
        let (_, all) = messages(&server, path, "", 1).await;
        assert_eq!(all.len(), 1);
        let over = async {
            while running().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), over).await.expect("it is over");
    });
}
