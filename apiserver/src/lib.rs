//! Skiff's API server: the only daemon that knows the store, and the only one that the others talk to.
//!
//! A request travels `http` → `auth` → `verbs`, which ask `admission` and the kind's rules (`kinds::builtin`) →
//! `commit` → [`store`], and comes back to everybody who watches through the `watch_cache`. [`start`] runs a whole server
//! inside any process; tests use it so. What reads the bytes that callers send ([`request`], [`query`], [`body`]) is
//! public for the fuzzer.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own"))]

mod admission;
mod aggregation;
mod allocate;
pub mod args;
mod audit;
mod auth;
pub mod body;
mod bootstrap;
mod commit;
mod context;
mod controllers;
mod custom;
mod forms;
mod garbage_collection;
mod http;
mod publish;
pub mod query;
mod quota;
mod registry;
pub mod request;
mod resources;
mod response;
mod stamp;
pub mod store;
mod strategies;
mod streams;
mod verbs;
mod watch_cache;

// The harness of the tests beside this crate names it.
#[cfg(test)]
extern crate self as apiserver;
#[cfg(test)]
#[path = "../tests/harness/mod.rs"]
mod harness;

use api::Message;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use machinery::{
    pki,
    tasks::Tasks,
    tls::{self, ClientAuthorities, ClientCertificates, TlsSource},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    admission::Steps,
    aggregation::Aggregation,
    args::{Config, Mode},
    audit::Audit,
    auth::Authenticator,
    auth::authorize::Authorizer,
    controllers::servers::{self, Servers},
    custom::Definitions,
    http::{metrics::Metrics, priority::Priority},
    publish::documents::Documents,
    registry::{Registry, Table, resource_spec},
    store::Store,
    watch_cache::WatchCache,
};

/// Everything a request may need.
pub struct Api {
    /// The checked command line.
    pub(crate) config: Config,
    /// The table of kinds; [`Self::table`] shows it with the latest custom ones.
    pub(crate) registry: Registry,
    /// What the custom kinds are made from.
    pub(crate) definitions: Definitions,
    /// What the group versions of other servers are made from.
    pub(crate) aggregation: Aggregation,
    /// What is told about the table, ready to be sent.
    pub(crate) documents: Documents,
    /// Where objects live.
    pub(crate) store: Arc<dyn Store>,
    /// What is read from.
    pub(crate) cache: Arc<WatchCache>,
    /// What is asked of every write.
    pub(crate) admission: Steps,
    /// Who is who.
    pub(crate) auth: Authenticator,
    /// Who may do what.
    pub(crate) authorizer: Arc<Authorizer>,
    /// Who vouches for clients' certificates.
    pub(crate) clients: Option<Arc<ClientAuthorities>>,
    /// Who is told of in the audit log, if there is one.
    pub(crate) audit: Option<Arc<Audit>>,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// How to talk to kubelets.
    pub(crate) kubelet_tls: Option<Arc<rustls::ClientConfig>>,
    /// Who is served when there is much to do.
    pub(crate) priority: Priority,
    /// Who charges quotas.
    pub(crate) quota_turns: quota::Turns,
    /// This server among all that there are.
    pub(crate) servers: Servers,
    /// Fires when the server takes no more requests: what is under way is finished, watches and streams end.
    pub(crate) stop: CancellationToken,
    /// Connections that are open.
    pub(crate) connections: TaskTracker,
    /// Owner of the work that outlives a request.
    pub(crate) tasks: Tasks,
    address: SocketAddr,
    bootstrapped: AtomicBool,
    been_ready: AtomicBool,
    shutting_down: AtomicBool,
}

impl Api {
    /// The port the server listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The table of kinds, custom ones as the cache of their definitions has them now, and with
    /// those of other servers.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.definitions.refresh(&self.registry, &self.cache);
        self.aggregation.refresh(&self.registry);
        self.registry.table()
    }

    /// Whether the server takes no more requests.
    pub(crate) fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether the server was told to stop, though it may still take requests.
    pub(crate) fn shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Acquire) || self.stopping()
    }

    /// Readiness goes first, and the place among the servers; then no more requests are taken, and those under way are
    /// finished.
    async fn shut_down(self: &Arc<Self>) {
        self.shutting_down.store(true, Ordering::Release);
        servers::leave(self).await;
        tokio::time::sleep(self.config.shutdown_delay).await;
        self.stop.cancel();
        self.connections.close();
        if tokio::time::timeout(self.config.request_timeout, self.connections.wait()).await.is_err() {
            warn!(open = self.connections.len(), "some requests did not finish in time");
        }
    }

    /// Whether the cluster's first objects are there.
    ///
    /// # Errors
    /// While they are not.
    pub fn bootstrapped(&self) -> Result<(), Message> {
        if self.bootstrapped.load(Ordering::Acquire) { Ok(()) } else { Err("not finished".into()) }
    }
}

/// What a server reads of the files that its configuration names.
struct Credentials {
    serving: Arc<rustls::ServerConfig>,
    clients: Option<Arc<ClientAuthorities>>,
    kubelet: Option<Arc<rustls::ClientConfig>>,
    auth: Authenticator,
}

impl Credentials {
    fn read(config: &Config) -> anyhow::Result<Self> {
        let kubelet = config.kubelet.as_ref().map(|kubelet| {
            let identity = kubelet.identity.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
            tls::client_config(&kubelet.authority, identity)
        });
        Ok(Self {
            serving: serving_tls(config)?,
            clients: config.client_ca.as_deref().map(ClientAuthorities::load).transpose()?.map(Arc::new),
            kubelet: kubelet.transpose().context("cannot set up TLS to kubelets")?,
            auth: Authenticator::new(config)?,
        })
    }
}

/// Looks whether a server could start so, without its store and its port.
///
/// # Errors
/// When certificates, keys, the choice of admission steps or another file cannot be used.
pub async fn check(config: &Config) -> anyhow::Result<()> {
    Steps::new(&config.admission)?;
    Credentials::read(config)?;
    store::open(&store::StoreConfig::Memory, config.encryption.as_ref(), &Metrics::default().transformations)
        .await?;
    Ok(())
}

/// Starts a server on `tasks` and returns once it listens.
///
/// # Errors
/// When certificates, keys, the store or the choice of admission steps cannot be used, or the port is taken.
pub async fn start(config: Config, tasks: &Tasks) -> anyhow::Result<Arc<Api>> {
    let admission = Steps::new(&config.admission)?;
    start_with(config, admission, tasks).await
}

async fn start_with(config: Config, admission: Steps, tasks: &Tasks) -> anyhow::Result<Arc<Api>> {
    let Credentials { serving: tls_config, clients, kubelet: kubelet_tls, auth } =
        Credentials::read(&config)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}:{}", config.listen.0, config.listen.1))?;
    let address = listener.local_addr()?;
    let metrics = Metrics::default();
    let registry = Registry::new(&config.runtime);
    let (store, cache) = open_store(&config, &registry, &metrics, tasks).await?;
    let audit = config.audit.as_ref().map(|config| Audit::start(config, &metrics.audit, tasks));
    let audit = audit.transpose().context("cannot open the audit log")?;
    let node_rules = bootstrap::roles::rules(&registry.table(), "system:node")
        .map_err(|status| anyhow::anyhow!(status.message))?;
    let authorizer = Arc::new(Authorizer::new(&config.authorization, &cache, node_rules));
    let api = Arc::new(Api {
        definitions: Definitions::new(&cache),
        aggregation: Aggregation::new(
            &cache,
            config.front_proxy.as_ref().and_then(|front| front.identity.clone()),
        ),
        registry,
        documents: Documents::default(),
        store,
        cache,
        authorizer,
        admission,
        auth,
        clients,
        audit,
        metrics,
        kubelet_tls,
        priority: Priority::new(config.in_flight),
        quota_turns: quota::Turns::default(),
        servers: Servers::new(config.advertise.filter(|_| config.listed), address.port(), config.listed_for),
        stop: tasks.child(),
        connections: TaskTracker::new(),
        tasks: tasks.clone(),
        address,
        bootstrapped: AtomicBool::new(false),
        been_ready: AtomicBool::new(false),
        shutting_down: AtomicBool::new(false),
        config,
    });
    serve(&api, listener, tls_config, tasks);
    info!(%address, version = api::VERSION, "serving");
    Ok(api)
}

/// Opens the store and keeps it, with a cache of what is in it.
async fn open_store(
    config: &Config,
    registry: &Registry,
    metrics: &Metrics,
    tasks: &Tasks,
) -> anyhow::Result<(Arc<dyn Store>, Arc<WatchCache>)> {
    let store = store::open(&config.store, config.encryption.as_ref(), &metrics.transformations);
    let store = store.await.context("cannot open the store")?;
    let specs: Vec<_> = registry.table().resources().map(|rows| resource_spec(rows)).collect();
    let cache = WatchCache::load(store.clone(), specs).await.context("cannot read the store")?;
    tasks.spawn("watch-cache", cache.clone().run(tasks.token()));
    let (kept, stop) = (store.clone(), tasks.token());
    // Not with the cache, which may be busy for seconds when it loads everything again.
    tasks.spawn("store", async move {
        kept.upkeep(&stop).await;
        Ok(())
    });
    Ok((store, cache))
}

/// Takes requests, and starts the loops, until the process stops.
fn serve(api: &Arc<Api>, listener: TcpListener, tls_config: Arc<rustls::ServerConfig>, tasks: &Tasks) {
    // Custom kinds are served from the first request on.
    api.table();
    // Weak: the tasks' owner must not keep alive what owns it.
    let stopping = Arc::downgrade(api);
    tasks.before_stop("finish requests", async move {
        if let Some(api) = stopping.upgrade() {
            api.shut_down().await;
        }
    });
    tasks.spawn("https", http::serve(api.clone(), listener, tls_config, tasks.clone()));
    controllers::start(api, tasks);
    let known = api.clone();
    tasks.spawn_loop("issuers", async move { known.auth.others().follow().await });
    tasks.spawn_finite("bootstrap", bootstrap_until_done(api.clone()));
}

async fn bootstrap_until_done(api: Arc<Api>) {
    const PAUSE: Duration = Duration::from_millis(500);
    while !api.stopping() {
        let made = async {
            bootstrap::run(&api).await?;
            if api.authorizer.asks(Mode::Rbac) { bootstrap::roles::reconcile(&api).await } else { Ok(()) }
        };
        match made.await {
            Ok(()) => {
                api.bootstrapped.store(true, Ordering::Release);
                // What it writes needs the first namespaces.
                return api.tasks.spawn_loop("servers", servers::run(api.clone()));
            }
            Err(error) => warn!(%error, "cannot make the cluster's first objects yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn serving_tls(config: &Config) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let clients =
        if config.client_ca.is_some() { ClientCertificates::Asked } else { ClientCertificates::Ignored };
    let names = vec!["localhost".into(), "127.0.0.1".into()];
    let source = match (&config.serving, &config.cert_dir) {
        (Some((cert, key)), _) => TlsSource::Files { cert: cert.clone(), key: key.clone() },
        (None, Some(dir)) => {
            let [cert, key] = ["apiserver.crt", "apiserver.key"].map(|name| dir.join(name));
            if !cert.exists() && !key.exists() {
                std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
                let made = pki::self_signed(&names).and_then(|made| made.save(&cert, &key));
                made.context("cannot make a serving certificate")?;
            }
            TlsSource::Files { cert, key }
        }
        (None, None) => TlsSource::SelfSigned(names),
    };
    tls::server_config(&source, clients, &["h2", "http/1.1"]).context("cannot set up TLS")
}
