//! TLS with certificates that change, HTTP/2 on either side, and connections that become something else.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use machinery::pki::{Issued, self_signed};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::all;
use crate::scene::{Echo, SOON, Scene, ingress, scene, service};

fn secret(name: &str, revision: u32, made: &Issued) -> Value {
    let part = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    json!({"kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": revision.to_string()},
        "data": {"tls.crt": part(&made.cert_pem), "tls.key": part(&made.key_pem)}})
}

fn with_tls(mut ingress: Value, hosts: &[&str], secret: &str) -> Value {
    ingress["spec"]["tls"] = json!([{"hosts": hosts, "secretName": secret}]);
    ingress
}

fn made(name: &str) -> Issued {
    self_signed(&[name.to_owned()]).unwrap()
}

fn der(made: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(made.cert_pem.as_bytes()).unwrap()
}

impl Scene {
    /// A TLS connection for a name, and the certificate that was shown.
    async fn tls(
        &self,
        name: &str,
        alpn: &str,
    ) -> (tokio_rustls::client::TlsStream<TcpStream>, CertificateDer<'static>) {
        let mut config = (*machinery::tls::trusting_client_config()).clone();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.ports.https).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(alpn.as_bytes()));
        let shown = session.peer_certificates().unwrap()[0].clone().into_owned();
        (stream, shown)
    }

    async fn shown(&self, name: &str) -> CertificateDer<'static> {
        self.tls(name, "http/1.1").await.1
    }
}

#[test]
fn names_choose_certificates_which_change_while_it_runs() {
    scene(async || {
        let echo = Echo::start().await;
        let mut scene = Scene::new(&[]).await;
        let (one, wild, renewed) = (made("one.test"), made("*.two.test"), made("one.test"));
        let objects = |secrets: &[Value]| {
            let ingresses = vec![
                with_tls(ingress("one.test", "web"), &["one.test"], "one"),
                with_tls(ingress("*.two.test", "wild"), &[], "wild"),
            ];
            all([
                ingresses,
                secrets.to_vec(),
                service("web", &[echo.address], None),
                service("wild", &[], None),
            ])
        };
        let problems = scene.serve(&objects(&[secret("one", 1, &one), secret("wild", 1, &wild)]));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(scene.shown("one.test").await, der(&one));
        assert_eq!(scene.shown("x.two.test").await, der(&wild));
        let default = scene.shown("other.test").await;
        for certificate in [&one, &wild] {
            assert_ne!(default, der(certificate));
        }
        assert_eq!(scene.shown("x.y.two.test").await, default);
        // A connection that is there stays; new ones are shown the new certificate.
        let (mut open, _) = scene.tls("one.test", "http/1.1").await;
        scene.serve(&objects(&[secret("one", 2, &renewed), secret("wild", 1, &wild)]));
        assert_eq!(scene.shown("one.test").await, der(&renewed));
        open.write_all(b"GET / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        open.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("x-forwarded-proto: https\n"), "{answer}");

        let mixed = Issued { cert_pem: one.cert_pem.clone(), key_pem: renewed.key_pem.clone() };
        let broken =
            Issued { cert_pem: "-----BEGIN CERTIFICATE-----\nrubbish".into(), key_pem: String::new() };
        let problems = scene.serve(&objects(&[secret("one", 3, &mixed), secret("wild", 2, &broken)]));
        assert_eq!(problems.len(), 2, "{problems:?}");
        for (problem, (name, why)) in problems.iter().zip([
            ("one", "private key does not match public key"),
            ("wild", "unable to load the certificate: "),
        ]) {
            let words = format!("BadCertificate: the Secret shop/{name} cannot be used: {why}");
            assert!(problem.starts_with(&words), "{problem}");
        }
        assert_eq!(scene.shown("one.test").await, default);
        let problems = scene.serve(&objects(&[secret("wild", 1, &wild)]));
        assert_eq!(problems, ["SecretNotFound: there is no Secret shop/one of type kubernetes.io/tls"]);
        assert_eq!(scene.shown("x.two.test").await, der(&wild));
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn http2_reaches_endpoints_of_either_version() {
    scene(async || {
        let echo = Echo::start().await;
        let mut scene = Scene::new(&[]).await;
        scene.serve(&all([
            vec![ingress("one.test", "web"), ingress("two.test", "grpc")],
            service("web", &[echo.address], None),
            service("grpc", &[echo.address], Some("kubernetes.io/h2c")),
        ]));
        let (stream, _) = scene.tls("one.test", "h2").await;
        let http2 = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = http2.await.unwrap();
        tokio::spawn(connection);
        let mut ask = async |host: &str, path: &str| {
            let uri = format!("https://{host}{path}");
            let request = Request::post(uri).header("te", "trailers").version(Version::HTTP_2);
            let answer =
                sender.send_request(request.body(Full::new(Bytes::from("hello"))).unwrap()).await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().collect().await.unwrap();
            let trailers = body.trailers().cloned();
            (String::from_utf8(body.to_bytes().to_vec()).unwrap(), trailers)
        };
        let (told, _) = ask("one.test", "/x").await;
        assert!(told.starts_with("POST /x HTTP/1.1 at ") && told.ends_with("\n\nhello"), "{told}");
        assert!(told.contains("\nhost: one.test\n") && !told.contains("\nte: "), "{told}");
        let (told, trailers) = ask("two.test", "/trailers").await;
        assert!(told.starts_with("POST http://two.test/trailers HTTP/2.0 at "), "{told}");
        assert!(told.contains("\nte: trailers\n") && told.ends_with("\n\nhello"), "{told}");
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}

#[test]
fn upgrades_pass_but_not_to_http2() {
    scene(async || {
        let echo = Echo::start().await;
        let mut scene = Scene::new(&[]).await;
        scene.serve(&all([vec![ingress("a.test", "web")], service("web", &[echo.address], None)]));
        let mut stream = TcpStream::connect(scene.ports.http).await.unwrap();
        let request = "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101") && head.contains("\r\nupgrade: websocket\r\n"), "{head}");
        for word in ["ping", "pong"] {
            stream.write_all(word.as_bytes()).await.unwrap();
            let mut heard = [0; 4];
            stream.read_exact(&mut heard).await.unwrap();
            assert_eq!(heard, *word.to_ascii_uppercase().as_bytes());
        }
        drop(stream);

        let request = "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
                       Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        let answer = scene.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("upgrade: h2c"), "{answer}");
        scene.tasks.stop_and_join(SOON).await.unwrap();
    });
}
