//! A front over real sockets, in a network of the test's own in which 192.0.2.1 is an address that may be dialled, and
//! what it passes requests on to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use ingress::Ports;
use ingress::args::Args;
use ingress::front::Front;
use ingress::metrics::Metrics;
use ingress::table::{Feeds, Maker, Table};
use machinery::CancellationToken;
use machinery::cache::Cache;
use machinery::tasks::Tasks;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The machine of the test's network.
pub const MACHINE: &str = "192.0.2.1";
/// How long anything may take.
pub const SOON: Duration = Duration::from_secs(10);

/// Runs a test in a network of its own.
pub fn scene(test: impl AsyncFnOnce()) {
    if !machinery::testing::may_run_as_root() {
        return;
    }
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    for line in ["link set lo up", "addr add 192.0.2.1/24 dev lo"] {
        assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(6 * SOON, test()).await.unwrap() });
}

/// A front at work.
pub struct Scene {
    pub tasks: Tasks,
    pub ports: Ports,
    tables: watch::Sender<Arc<Table>>,
    maker: Maker,
}

impl Scene {
    /// With further flags.
    pub async fn new(flags: &[&str]) -> Self {
        let common = ["ingress", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"];
        let args = Args::parse_from(common.iter().chain(flags));
        let tasks = Tasks::new();
        let (sender, tables) = watch::channel(Arc::new(Table::default()));
        let metrics = Metrics::new(&mut machinery::metrics::registry());
        let front = Front { tables, tasks: tasks.clone(), metrics, patience: Duration::from_millis(500) };
        let ports = Ports::open(&args, &Arc::new(front)).await.unwrap();
        Self { tasks, ports, tables: sender, maker: Maker::default() }
    }

    /// Serves what these objects say, by their kind, and an IngressClass; returns the problems.
    pub fn serve(&mut self, objects: &[Value]) -> Vec<String> {
        fn of_kind<K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned>(
            objects: &[Value],
            kind: &str,
        ) -> Cache<K> {
            let of_kind = objects.iter().filter(|object| object["kind"] == kind);
            Cache::fixed(of_kind.map(|object| serde_json::from_value(object.clone()).unwrap()))
        }
        let class =
            json!({"metadata": {"name": "skiff"}, "spec": {"controller": ingress::routes::CONTROLLER}});
        let feeds = Feeds {
            ingresses: of_kind(objects, "Ingress"),
            classes: Cache::fixed([serde_json::from_value(class).unwrap()]),
            services: of_kind(objects, "Service"),
            slices: of_kind(objects, "EndpointSlice"),
            secrets: of_kind(objects, "Secret"),
        };
        let table = self.maker.table(&feeds);
        let problems =
            table.problems.iter().map(|problem| format!("{}: {}", problem.reason, problem.message));
        let problems = problems.collect();
        self.tables.send_replace(Arc::new(table));
        problems
    }

    /// Sends a text over a new connection and reads until the other end closes it.
    pub async fn raw(&self, request: &str) -> String {
        raw(self.ports.http, request.to_owned()).await
    }

    /// Asks for a page and returns status and body.
    pub async fn get(&self, host: &str, path: &str) -> (u16, String) {
        let answer =
            self.raw(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

/// Sends a text over a new connection and reads until the other end closes it.
pub async fn raw(to: SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // Who refuses a request does not wait for the rest of it, and the system then takes back what was not read.
    let _reset =
        tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

/// An Ingress of one host whose whole tree one service serves.
pub fn ingress(host: &str, service: &str) -> Value {
    let backend = json!({"service": {"name": service, "port": {"number": 80}}});
    json!({"kind": "Ingress", "metadata": {"name": service, "namespace": "shop", "uid": service}, "spec": {
        "ingressClassName": "skiff",
        "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]}})
}

/// A service and its endpoints.
pub fn service(name: &str, endpoints: &[SocketAddr], protocol: Option<&str>) -> Vec<Value> {
    let meta = json!({"name": name, "namespace": "shop"});
    let service = json!({"kind": "Service", "metadata": meta, "spec": {"ports": [
        {"port": 80, "appProtocol": protocol}]}});
    let slice = |(at, endpoint): (usize, &SocketAddr)| {
        json!({"kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("{name}-{at}"), "namespace": "shop",
                "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": endpoint.port()}], "endpoints": [{"addresses": [endpoint.ip()]}]})
    };
    std::iter::once(service).chain(endpoints.iter().enumerate().map(slice)).collect()
}

/// A port that nobody listens at.
pub async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((MACHINE, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// A server that answers with what it was asked.
pub struct Echo {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Echo {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((MACHINE, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, requests): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let stop = CancellationToken::new();
        let echo = Self { address, connections: connections.clone(), requests, stop: stop.clone() };
        let counted = echo.requests.clone();
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                let counted = counted.clone();
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    async move { Ok::<_, Infallible>(answer(request, address).await) }
                });
                tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ended = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                }));
            }
        }));
        echo
    }

    /// Closes all connections and the port.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

async fn answer(
    mut request: Request<Incoming>,
    address: SocketAddr,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let full = |text: String| Full::new(Bytes::from(text)).boxed_unsync();
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut word = [0; 4];
            while stream.read_exact(&mut word).await.is_ok() {
                word.make_ascii_uppercase();
                stream.write_all(&word).await.unwrap();
            }
        });
        let mut response = Response::new(full(String::new()));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, "Upgrade".parse().unwrap());
        response.headers_mut().insert(header::UPGRADE, request.headers()[header::UPGRADE].clone());
        return response;
    }
    match request.uri().path() {
        "/hang" => std::future::pending::<()>().await,
        "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    let (parts, body) = request.into_parts();
    let mut told = format!("{} {} {:?} at {address}\n", parts.method, parts.uri, parts.version);
    for (name, value) in &parts.headers {
        told += &format!("{name}: {}\n", value.to_str().unwrap());
    }
    // A body that breaks off is not answered by who waited for it.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    told += &format!("\n{}", String::from_utf8_lossy(&body));
    if parts.uri.path() == "/trailers" {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
        let frames = [Frame::data(Bytes::from(told)), Frame::trailers(trailers)].map(Ok::<_, Infallible>);
        return Response::new(StreamBody::new(futures::stream::iter(frames)).boxed_unsync());
    }
    let mut response = Response::new(full(told));
    response.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
    response
}
