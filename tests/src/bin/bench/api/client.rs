//! Clients that keep their connection, and what a crowd of them measures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::server::Server;
use crate::process::cpu;

/// One connection.
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    authorization: Option<String>,
}

impl Client {
    /// Connects to a server.
    pub async fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        let name = "127.0.0.1".try_into().expect("a server name");
        let tls = TlsConnector::from(Arc::clone(server.tls()));
        let stream = tls.connect(name, stream).await.expect("a TLS session");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("an HTTP connection");
        tokio::spawn(connection);
        Self { sender, authorization: server.token().map(|token| format!("Bearer {token}")) }
    }

    /// Sends a request that must be granted; the head of the answer, with its body to come.
    pub async fn send(&mut self, method: &Method, path: &str, body: Bytes) -> Response<Incoming> {
        let answer = self.ask(method, path, body).await;
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        answer
    }

    async fn ask(&mut self, method: &Method, path: &str, body: Bytes) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(body)).expect("a request");
        self.sender.ready().await.expect("the connection is open");
        self.sender.send_request(request).await.expect("an answer")
    }

    /// Sends a request and reads the answer.
    pub async fn read(&mut self, method: &Method, path: &str, body: Bytes) -> Bytes {
        let answer = self.send(method, path, body).await.into_body();
        answer.collect().await.expect("the answer's body").to_bytes()
    }

    /// Sends a request and reads the whole answer; its size in bytes.
    pub async fn whole(&mut self, method: &Method, path: &str, body: Bytes) -> usize {
        let mut answer = self.send(method, path, body).await.into_body();
        let mut size = 0;
        while let Some(frame) = answer.frame().await {
            size += frame.expect("the answer's body").data_ref().map_or(0, Bytes::len);
        }
        size
    }
}

/// Whether a server answers that it is ready. It may not listen yet.
pub async fn is_ready(server: &Server) -> bool {
    if TcpStream::connect(server.address()).await.is_err() {
        return false;
    }
    let mut client = Client::connect(server).await;
    client.ask(&Method::GET, "/readyz", Bytes::new()).await.status().is_success()
}

/// What a crowd of clients found.
pub struct Figures {
    /// How many operations were done.
    pub operations: usize,
    /// In what time.
    pub elapsed: Duration,
    /// The server's processor time.
    pub cpu: Duration,
    /// How long each operation took, sorted.
    latencies: Vec<Duration>,
    /// Size of the last answer in bytes.
    pub size: usize,
}

impl Figures {
    /// Those of operations that took so long each, in a time and with processor time of the server.
    pub fn new(mut latencies: Vec<Duration>, elapsed: Duration, cpu: Duration) -> Self {
        latencies.sort();
        Self { operations: latencies.len(), elapsed, cpu, latencies, size: 0 }
    }

    /// The time within which a share of the operations was done.
    pub fn within(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(at.min(self.latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    /// Operations in a second.
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    /// The server's processor time for one operation.
    pub fn cpu_each(&self) -> Duration {
        self.cpu.div_f64(self.operations.max(1) as f64)
    }
}

/// Lets clients send requests one after the other, each on its own connection, until the time is over or
/// `most` requests were sent. `request` makes the path and body of the given client's given request.
pub async fn crowd(
    server: &Server,
    clients: usize,
    span: Duration,
    most: usize,
    method: Method,
    request: impl Fn(usize, usize) -> (String, Bytes) + Send + Sync + 'static,
) -> Figures {
    let mut connected = Vec::new();
    for _ in 0..clients {
        connected.push(Client::connect(server).await);
    }
    let request = Arc::new(request);
    let (began, before) = (Instant::now(), cpu(server.pid()));
    let work = connected.into_iter().enumerate().map(|(number, mut client)| {
        let (request, method) = (Arc::clone(&request), method.clone());
        let share = most.div_ceil(clients);
        tokio::spawn(async move {
            let (mut latencies, mut size) = (Vec::new(), 0);
            while latencies.len() < share && began.elapsed() < span {
                let (path, body) = request(number, latencies.len());
                let sent = Instant::now();
                size = client.whole(&method, &path, body).await;
                latencies.push(sent.elapsed());
            }
            (latencies, size)
        })
    });
    let done = futures::future::join_all(work).await;
    let (elapsed, after) = (began.elapsed(), cpu(server.pid()));
    let (mut all, mut largest) = (Vec::new(), 0);
    for (latencies, size) in done.into_iter().map(|result| result.expect("a client that does not panic")) {
        all.extend(latencies);
        largest = largest.max(size);
    }
    Figures { size: largest, ..Figures::new(all, elapsed, after - before) }
}
