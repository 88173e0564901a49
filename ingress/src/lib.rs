//! The ingress controller: HTTP and HTTPS from outside of the cluster, passed on to services by host and path.
//!
//! `routes`, `addresses` and `certificates` say what Ingresses, EndpointSlices and Secrets come to; a `table` is all of it
//! at one time, made anew with every change; `front` serves requests by it, over `endpoint`'s connections. One of several
//! controllers, the `leader`, tells where Ingresses are reached and what is wrong with them.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own"))]

pub mod addresses;
pub mod args;
pub mod certificates;
pub mod endpoint;
pub mod front;
pub mod hosts;
pub mod leader;
pub mod metrics;
pub mod problem;
pub mod routes;
pub mod table;
pub mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use machinery::CancellationToken;
use machinery::events::Recorder;
use machinery::leader::{LeaderConfig, Leadership};
use machinery::serve::{self, Gate, Health};
use machinery::tasks::Tasks;
use machinery::tls;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use args::Args;
use certificates::Chooser;
use front::Front;
use leader::Duties;
use metrics::Metrics;
use table::{Feeds, Table};

/// How long nothing may move of a request before its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long requests that are under way may take when the process is to stop.
const LAST_MOMENTS: Duration = Duration::from_secs(20);
/// How often connections that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Runs the controller until it is stopped.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let client = machinery::client::in_pod(args.kubeconfig.as_deref(), "ingress")?;
    start(&args, client, &tasks).await?;
    tasks.run_until_stopped().await
}

/// Starts the controller, and returns where it serves HTTP and HTTPS; nothing if it is told to stop before it does.
///
/// # Errors
/// Those of binding, and of making a certificate.
pub async fn start(
    args: &Args,
    client: kube::Client,
    tasks: &Tasks,
) -> anyhow::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut registry = machinery::metrics::registry();
    let metrics = Metrics::new(&mut registry);
    let gate = Gate::closed("the API server has not told everything yet");
    let ready = gate.clone();
    let health = Health::new().ready("ingresses", move || ready.check());
    serve::spawn_plain(tasks, args.health, registry, health).await?;

    let feeds = Feeds::start(&client, tasks);
    let (sender, mut tables) = watch::channel(Arc::new(Table::default()));
    tasks.spawn_loop("tables", feeds.clone().make_tables(sender));
    let (leadership, of_leader) = (Leadership::new(LeaderConfig::new("ingress")), tasks.clone());
    let fenced = leadership.fenced(client.clone());
    let duties = Duties {
        client: fenced.clone(),
        feeds,
        tables: tables.clone(),
        service: args.publish_service.clone(),
        recorder: Recorder::new(fenced, "ingress-controller", None, tasks),
    };
    tasks.spawn_finite("leader", async move {
        leadership.lead_at_times(client, &of_leader, || duties.fulfil()).await;
    });

    // Nobody is told that a page is not there before it is known which are.
    if tasks.token().run_until_cancelled(tables.changed()).await.is_none() {
        return Ok(None);
    }
    let front = Front { tables, tasks: tasks.clone(), metrics, patience: PATIENCE };
    let ports = Ports::open(args, &Arc::new(front)).await?;
    let addresses = (ports.http, ports.https);
    gate.open();
    let lameduck = args.lameduck;
    tasks.before_stop("last requests", async move {
        gate.close("stopping");
        // Callers still come while the word spreads that this controller is going.
        tokio::time::sleep(lameduck).await;
        ports.close().await;
    });
    Ok(Some(addresses))
}

/// The ports at which clients come.
pub struct Ports {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where HTTPS is served.
    pub https: SocketAddr,
    stop: CancellationToken,
    open: tokio_util::task::TaskTracker,
}

impl Ports {
    /// Binds and serves.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn open(args: &Args, front: &Arc<Front>) -> anyhow::Result<Self> {
        let stop = front.tasks.child();
        let open = tokio_util::task::TaskTracker::new();
        let room = Arc::new(Semaphore::new(args.max_connections));
        let chooser = Arc::new(Chooser::new(front.tables.clone())?);
        let tls = tls::choosing_server_config(chooser, &["h2", "http/1.1"])?;
        let mut bound = Vec::new();
        for (address, tls) in [(args.http, None), (args.https, Some(tls))] {
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
            bound.push(listener.local_addr()?);
            let welcome = front.welcome(tls.is_some());
            let server = serve::Server {
                open: open.clone(),
                room: Arc::clone(&room),
                idle: args.idle_timeout,
                ..serve::Server::new(listener, tls, stop.clone())
            };
            let serving = server.run(front.tasks.clone(), welcome);
            front.tasks.spawn_finite("port", async move { drop(serving.await) });
        }
        front.tasks.spawn_loop("idle connections", sweep(front.tables.clone()));
        Ok(Self { http: bound[0], https: bound[1], stop, open })
    }

    /// Takes no more connections, and waits for a while until those that there are have come to their end.
    pub async fn close(self) {
        self.stop.cancel();
        self.open.close();
        if tokio::time::timeout(LAST_MOMENTS, self.open.wait()).await.is_err() {
            tracing::warn!(count = self.open.len(), "Requests did not come to their end in time");
        }
    }
}

async fn sweep(tables: watch::Receiver<Arc<Table>>) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(SWEEP).await;
        let table = Arc::clone(&tables.borrow());
        table.endpoints().for_each(|endpoint| endpoint.let_idle_go());
    }
}
