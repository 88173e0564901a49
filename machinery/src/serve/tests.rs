use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::pki::{Authority, IssueRequest};

#[tokio::test]
async fn a_daemon_answers_over_https() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let authority = Authority::new("ca").unwrap();
    authority.save(&at("ca.crt"), &at("ca.key")).unwrap();
    let server = authority.issue(&IssueRequest::server("daemon", &["localhost"], &[])).unwrap();
    server.save(&at("tls.crt"), &at("tls.key")).unwrap();
    let source = TlsSource::Files { cert: at("tls.crt"), key: at("tls.key") };
    let tasks = Tasks::new();
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = spawn(&tasks, any_port, Some(&source), metrics::registry(), Health::new()).await.unwrap();

    let connector = tokio_rustls::TlsConnector::from(tls::client_config(&at("ca.crt"), None).unwrap());
    for (path, status, words) in [
        ("/readyz", "200 OK", "ok"),
        ("/metrics", "200 OK", "process_cpu_seconds_total"),
        ("/nowhere", "404 Not Found", "404 page not found"),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(words), "{answer}");
    }
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}
