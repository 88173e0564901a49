//! A client that shows headers and connections as they are.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A connection after the handshake.
pub async fn tls(port: u16, alpn: &[&str]) -> TlsStream<TcpStream> {
    try_tls(port, alpn).await.unwrap()
}

async fn try_tls(port: u16, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = (*machinery::tls::trusting_client_config()).clone();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

pub async fn http1(port: u16) -> http1::SendRequest<Full<Bytes>> {
    let stream = tls(port, &["http/1.1"]).await;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    sender
}

pub async fn http2<B>(port: u16) -> http2::SendRequest<B>
where
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let stream = tls(port, &["h2"]).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A request as the tester.
pub fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    request_as("secret", method, path, headers, body)
}

pub fn request_as(
    token: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "skiff:6443")
        .header("authorization", format!("Bearer {token}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8_lossy(&response.into_body().collect().await.unwrap().to_bytes()).into_owned()
}

/// A POST whose body is on its way, slowly.
pub struct Slow {
    stream: TlsStream<TcpStream>,
    rest: Vec<u8>,
}

/// Begins a POST and leaves the last byte of its body for later.
pub async fn slow(port: u16, token: &str, path: &str, body: &str) -> Slow {
    let mut stream = tls(port, &["http/1.1"]).await;
    let (first, rest) = body.as_bytes().split_at(body.len() - 1);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: skiff\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), first].concat()).await.unwrap();
    stream.flush().await.unwrap();
    Slow { stream, rest: rest.to_vec() }
}

impl Slow {
    /// Sends the rest and reads the whole answer, head and body.
    pub async fn finish(mut self) -> String {
        // A server that has given up does not take it.
        let _refused = self.stream.write_all(&self.rest).await;
        self.answer().await
    }

    /// Reads the answer without sending the rest.
    pub async fn answer(mut self) -> String {
        let mut text = Vec::new();
        let _torn = self.stream.read_to_end(&mut text).await;
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// [`http1`], where nobody may listen.
pub async fn try_http1(port: u16) -> Option<http1::SendRequest<Full<Bytes>>> {
    let stream = try_tls(port, &["http/1.1"]).await.ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}
