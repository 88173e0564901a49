//! What nodes and pods use, served as `metrics.k8s.io/v1beta1` behind the API server, for `kubectl top` and autoscalers.
//!
//! Kubelets are asked from time to time ([`scrape`]), the last two answers of each are kept ([`storage`]), and use is what
//! came between them. Only the API server may ask ([`front_proxy`]): it has seen to it that its callers may. Upstream
//! counterpart: metrics-server.

pub mod answer;
pub mod args;
pub mod documents;
pub mod front_proxy;
pub mod kubelets;
pub mod scrape;
pub mod storage;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http::Request;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::PartialObjectMeta;
use machinery::cache::{Cache, Selectors};
use machinery::serve::{self, Health, Peer};
use machinery::tasks::Tasks;
use machinery::tls::{self, ClientCertificates, TlsSource};
use parking_lot::RwLock;
use tokio::net::TcpListener;

use answer::{Answer, View};
use args::Args;
use front_proxy::FrontProxy;
use kubelets::Kubelets;
use storage::Storage;

/// The first two answers of kubelets come in soon after another, so that there is something to tell.
const SOON: Duration = Duration::from_millis(500);

/// What requests are answered from.
struct Server {
    storage: RwLock<Storage>,
    nodes: Cache<Node>,
    pods: Cache<PartialObjectMeta<Pod>>,
    front_proxy: FrontProxy,
    health: Health,
}

impl Server {
    fn respond<B>(&self, peer: &Peer, request: &Request<B>) -> Answer {
        let uri = request.uri();
        if self.health.answer(uri.path(), uri.query()).is_some() {
            return serve::respond(&machinery::metrics::registry(), &self.health, request);
        }
        if let Err(refused) = self.front_proxy.check(peer, request.headers()) {
            return answer::refuse(&refused);
        }
        let (nodes, pods) = (self.nodes.list(), self.pods.list());
        let view = View {
            storage: &self.storage.read(),
            nodes: nodes.iter().map(|node| &node.metadata).collect(),
            pods: pods.iter().map(|pod| &pod.metadata).collect(),
            now: machinery::clock::now(),
        };
        answer::answer(request, &view)
    }
}

/// Runs the server until it is stopped.
///
/// # Errors
/// When there is no API server to ask, or the port is taken.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let config = match &args.kubeconfig {
        Some(file) => {
            let file = kube::config::Kubeconfig::read_from(file).context("cannot read the kubeconfig")?;
            kube::Config::from_custom_kubeconfig(file, &Default::default()).await?
        }
        None => kube::Config::incluster().context("not in a pod, and no --kubeconfig")?,
    };
    let client = machinery::client::from_config(&config)?;
    let nodes: Cache<Node> = Cache::start(kube::Api::all(client.clone()), Selectors::all(), &tasks);
    let pods = Cache::start_metadata(kube::Api::all(client.clone()), Selectors::all(), &tasks);
    let front_proxy = FrontProxy::start(client, &tasks).await?;
    let clients = front_proxy.authorities();
    let scraped = Arc::new(AtomicBool::new(false));
    let is_ready = Arc::clone(&scraped);
    let health =
        Health::new().ready("metric-storage-ready", move || match is_ready.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err("no metrics to serve".to_owned().into()),
        });
    let server = Arc::new(Server { storage: RwLock::default(), nodes, pods, front_proxy, health });

    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, args.secure_port));
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "Serving");
    let source = TlsSource::SelfSigned(vec!["metrics-server".into(), "localhost".into()]);
    let tls = tls::server_config(&source, ClientCertificates::Asked, &["h2", "http/1.1"])?;
    let answering = Arc::clone(&server);
    let welcome: serve::Welcome<_> = Arc::new(move |peer| {
        let server = Arc::clone(&answering);
        Box::new(move |request| Box::pin(std::future::ready(server.respond(&peer, &request))))
    });
    let connections =
        serve::Server { clients: Some(clients), ..serve::Server::new(listener, Some(tls), tasks.token()) };
    tasks.spawn("https", connections.run(tasks.clone(), welcome));

    let mut kubelets = Kubelets::new(config, &args)?;
    tasks.spawn_loop("kubelets", async move {
        server.nodes.wait_synced().await;
        loop {
            let told = kubelets.ask(&server.nodes.list()).await;
            let settled = {
                let mut storage = server.storage.write();
                storage.store(told);
                storage.is_settled()
            };
            scraped.fetch_or(settled, Ordering::AcqRel);
            let pause = if settled { args.metric_resolution } else { SOON.min(args.metric_resolution) };
            tokio::time::sleep(pause).await;
        }
    });
    tasks.run_until_stopped().await
}
