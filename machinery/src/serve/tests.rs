use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::pki::{Authority, IssueRequest};
use crate::testing::fake_api;

#[tokio::test]
async fn a_daemon_answers_over_https_whom_the_api_server_lets_ask() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let authority = Authority::new("ca").unwrap();
    authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
    let server = authority.issue(&IssueRequest::server("daemon", &["localhost"], &[])).unwrap();
    server.save(&at("tls.crt"), &at("tls.key")).unwrap();
    let serving = Serving {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: TlsSource::Files { cert: at("tls.crt"), key: at("tls.key") },
        client_ca: Some(at("ca.crt")),
        open_paths: ["/healthz", "/livez", "/readyz", "/open/*"].map(String::from).into(),
    };
    for (file, user, group) in [("master", "admin", "system:masters"), ("jane", "jane", "dev")] {
        let issued = authority.issue(&IssueRequest::client(user, &[group])).unwrap();
        issued.save(&at(&format!("{file}.crt")), &at(&format!("{file}.key"))).unwrap();
    }
    let tasks = Tasks::new();
    let client = fake_api::client(|path, body| {
        let spec = &body["spec"];
        if path.ends_with("/tokenreviews") {
            let token = spec["token"].as_str().unwrap();
            let user = json!({"username": token});
            return (token != "away")
                .then(|| json!({"status": {"authenticated": token != "old", "user": user}}));
        }
        let asked = &spec["nonResourceAttributes"];
        let allowed = spec["user"] == "scraper" && asked["path"] == "/metrics" && asked["verb"] == "get";
        (spec["user"] != "unlucky").then(|| json!({"spec": {}, "status": {"allowed": allowed}}))
    });
    let address = spawn(&tasks, &serving, client, metrics::registry(), Health::new()).await.unwrap();

    for (caller, path, status, words) in [
        ("", "/readyz", "200 OK", "ok"),
        (
            "",
            "/metrics",
            "403 Forbidden",
            r#"forbidden: User \"system:anonymous\" cannot get path \"/metrics\""#,
        ),
        ("", "/open/to-all", "404 Not Found", "404 page not found"),
        ("", "/open", "403 Forbidden", r#""code":403"#),
        ("", "/readyz/ping", "403 Forbidden", r#""code":403"#),
        ("Bearer scraper", "/metrics", "200 OK", "process_cpu_seconds_total"),
        ("bearer scraper", "/nowhere", "403 Forbidden", r#"User \"scraper\" cannot get path \"/nowhere\""#),
        ("Bearer old", "/metrics", "401 Unauthorized", r#""reason":"Unauthorized""#),
        ("Bearer away", "/metrics", "401 Unauthorized", r#""message":"Unauthorized""#),
        ("Bearer away", "/livez", "200 OK", "ok"),
        ("Bearer unlucky", "/metrics", "500 Internal Server Error", "Internal Server Error: \"/metrics\": "),
        ("master", "/metrics", "200 OK", "process_cpu_seconds_total"),
        ("master", "/nowhere", "404 Not Found", "404 page not found"),
        ("jane", "/metrics", "403 Forbidden", r#"User \"jane\""#),
    ] {
        let (cert, key) = (at(&format!("{caller}.crt")), at(&format!("{caller}.key")));
        let identity = cert.exists().then_some((cert.as_path(), key.as_path()));
        let connector =
            tokio_rustls::TlsConnector::from(tls::client_config(&at("ca.crt"), identity).unwrap());
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let header =
            if caller.contains(' ') { format!("authorization: {caller}\r\n") } else { String::new() };
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{answer}");
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}
