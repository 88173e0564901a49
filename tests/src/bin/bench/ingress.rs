//! What passing a request on costs the ingress controller, beside the smallest proxy that hyper makes.
//!
//! Each proxy has a thread to itself, whose processor time is compared; what asks and what answers have others.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser as _;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ingress::Ports;
use ingress::front::Front;
use ingress::metrics::Metrics;
use ingress::table::{Feeds, Maker};
use machinery::CancellationToken;
use machinery::cache::Cache;
use machinery::tasks::Tasks;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Connections that ask at the same time.
const CLIENTS: usize = 32;
/// What is asked for.
const PAGE: [u8; 1024] = [b'x'; 1024];

/// Runs a server in a thread of its own until it is told to stop; says where, and then how long the thread worked.
fn in_thread<F: Future<Output = SocketAddr>>(
    stop: &CancellationToken,
    start: impl FnOnce(Tasks) -> F + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<Duration>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let stop = stop.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            sender.send(start(Tasks::new()).await).unwrap();
            stop.cancelled().await;
        });
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
    });
    (receiver.recv().unwrap(), thread)
}

/// Serves HTTP/1.1 on a port.
async fn serve<S, B>(host: &str, service: S) -> SocketAddr
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::error::Error + Send + Sync,
    B: hyper::body::Body<Data = Bytes, Error: std::error::Error + Send + Sync> + Send + 'static,
{
    let listener = TcpListener::bind((host, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut http = hyper::server::conn::http1::Builder::new();
            let connection =
                http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service.clone());
            tokio::spawn(connection);
        }
    });
    address
}

async fn plain(backend: SocketAddr) -> SocketAddr {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let pass = service_fn(move |mut request: Request<Incoming>| {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{backend}{path}").parse().unwrap();
        client.request(request)
    });
    serve("127.0.0.1", pass).await
}

fn fixed<K>(object: serde_json::Value) -> Cache<K>
where
    K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned,
{
    Cache::fixed([serde_json::from_value(object).unwrap()])
}

async fn controller(backend: SocketAddr, tasks: Tasks) -> SocketAddr {
    let port = json!({"service": {"name": "web", "port": {"number": 80}}});
    let meta =
        json!({"name": "web", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}});
    let rules = json!([{"host": "a.test", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": port}]}}]);
    let endpoints = json!([{"addresses": [backend.ip()]}]);
    let feeds = Feeds {
        ingresses: fixed(json!({"metadata": meta, "spec": {"ingressClassName": "skiff", "rules": rules}})),
        classes: fixed(
            json!({"metadata": {"name": "skiff"}, "spec": {"controller": ingress::routes::CONTROLLER}}),
        ),
        services: fixed(json!({"metadata": meta, "spec": {"ports": [{"port": 80}]}})),
        slices: fixed(json!({"metadata": meta, "addressType": "IPv4", "ports": [{"port": backend.port()}],
            "endpoints": endpoints})),
        secrets: Cache::fixed([]),
    };
    let (_, tables) = watch::channel(Arc::new(Maker::default().table(&feeds)));
    let metrics = Metrics::new(&mut machinery::metrics::registry());
    let front = Front { tables, tasks, metrics, patience: Duration::from_secs(60) };
    let args = ingress::args::Args::parse_from(["ingress", "--http=127.0.0.1:0", "--https=127.0.0.1:0"]);
    Ports::open(&args, &Arc::new(front)).await.unwrap().http
}

/// Asks over connections that are kept, and counts the answers.
async fn ask(to: SocketAddr, answers: Arc<AtomicU64>) {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    loop {
        let request = Request::get("/page").header("host", "a.test").header("accept", "*/*");
        let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), PAGE.len());
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// Measures both for some time, in a network of their own.
pub fn measure(span: Duration) {
    let measuring = std::thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        for line in ["link set lo up", "addr add 192.0.2.1/24 dev lo"] {
            assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success(), "ip {line}");
        }
        println!("passing requests for a page of 1 KiB on, {CLIENTS} at a time, over {} s:", span.as_secs());
        let all = CancellationToken::new();
        let (backend, _) = in_thread(&all, async |_| {
            let answer = service_fn(async |_| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&PAGE))))
            });
            serve("192.0.2.1", answer).await
        });
        let mut costs = Vec::new();
        for (name, own) in [("hyper, plain", false), ("ingress", true)] {
            let stop = CancellationToken::new();
            let (proxy, thread) = in_thread(&stop, async move |tasks| match own {
                false => plain(backend).await,
                true => controller(backend, tasks).await,
            });
            let answers = Arc::new(AtomicU64::new(0));
            let counted = answers.clone();
            let (_, _asking) = in_thread(&stop, async move |_| {
                for _ in 0..CLIENTS {
                    tokio::spawn(ask(proxy, counted.clone()));
                }
                proxy
            });
            std::thread::sleep(span);
            stop.cancel();
            let (answers, worked) = (answers.load(Ordering::Relaxed) as f64, thread.join().unwrap());
            let cost = worked.as_secs_f64() / answers;
            println!(
                "  {name:<50} {:>7.0} requests/s   {:>6.1} µs of processor time each",
                answers / span.as_secs_f64(),
                cost * 1e6
            );
            costs.push(cost);
        }
        println!("  {:<50} {:>7.2}", "times the cost of the plain one", costs[1] / costs[0]);
        all.cancel();
    });
    measuring.join().unwrap();
}
