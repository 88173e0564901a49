//! Discovery and OpenAPI documents as clients fetch them.

#![allow(clippy::unwrap_used, missing_docs)]

mod harness;

use std::io::Read as _;

use harness::{Server, raw};
use http_body_util::BodyExt as _;
use serde_json::Value;

const GNOSTIC: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn documents_come_with_etags_and_compressed() {
    let server = Server::start().await;
    let mut client = raw::http1(server.port).await;
    for path in [
        "/api",
        "/apis",
        "/apis/apps",
        "/api/v1",
        "/apis/apps/v1",
        "/openapi/v2",
        "/openapi/v3",
        "/openapi/v3/api/v1",
    ] {
        let first = client.send_request(raw::request("GET", path, &[], "")).await.unwrap();
        assert_eq!(first.status(), 200, "{path}");
        let etag = first.headers()["etag"].to_str().unwrap().to_owned();
        let plain: Value = serde_json::from_str(&raw::text(first).await).unwrap();
        let again = [("if-none-match", etag.as_str())];
        let again = client.send_request(raw::request("GET", path, &again, "")).await.unwrap();
        assert_eq!((again.status().as_u16(), raw::text(again).await), (304, String::new()), "{path}");
        let packed = [("accept-encoding", "gzip")];
        let packed = client.send_request(raw::request("GET", path, &packed, "")).await.unwrap();
        let is_packed = packed.headers().get("content-encoding").is_some_and(|e| e == "gzip");
        let mut bytes = packed.into_body().collect().await.unwrap().to_bytes().to_vec();
        if is_packed {
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
            bytes = unpacked;
        }
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), plain, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn openapi_v2_is_served_in_the_form_typed_clients_ask_for() {
    let server = Server::start().await;
    let mut client = raw::http1(server.port).await;
    let answer =
        client.send_request(raw::request("GET", "/openapi/v2", &[("accept", GNOSTIC)], "")).await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    // swagger: "2.0" is the document's last field by name; the definitions of kinds stand before it.
    assert!(bytes.ends_with(b"\x0a\x032.0"));
    let has = |text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(has("io.k8s.api.core.v1.PodSpec") && has("x-kubernetes-group-version-kind"));
    for (path, accept) in [("/openapi/v2", "application/x-unknown"), ("/openapi/v3", "text/html")] {
        let answer = client.send_request(raw::request("GET", path, &[("accept", accept)], "")).await.unwrap();
        assert_eq!(answer.status(), 406, "{path}");
        let status: Value = serde_json::from_str(&raw::text(answer).await).unwrap();
        assert_eq!(status["reason"], "NotAcceptable");
    }
    server.stop().await;
}
