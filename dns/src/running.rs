//! What runs: the ports with their server blocks, the watches that feed them, and health for those who ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::StatusCode;
use machinery::CancellationToken;
use machinery::serve::pages;
use machinery::tasks::Tasks;
use parking_lot::RwLock;

use crate::chain::Chain;
use crate::corefile::{self, Server};
use crate::kubernetes::{Feeds, Index, PodNames};
use crate::metrics::Metrics;
use crate::server::{self, Port};

const HTTPS: u16 = 443;
/// How long a changed Corefile waits for the API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server at work.
pub struct Running {
    kubeconfig: Option<PathBuf>,
    tasks: Tasks,
    ports: BTreeMap<u16, Port>,
    index: Arc<RwLock<Option<Index>>>,
    metrics: Metrics,
    registry: Arc<machinery::metrics::Registry>,
    pages: Pages,
    stopping: CancellationToken,
}

/// Where health and metrics are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pages {
    health: BTreeSet<SocketAddr>,
    ready: BTreeSet<SocketAddr>,
    metrics: BTreeSet<SocketAddr>,
}

impl Pages {
    fn of(servers: &[Server]) -> Self {
        Self {
            health: servers.iter().filter_map(|server| Some(server.health?.0)).collect(),
            ready: servers.iter().filter_map(|server| server.ready).collect(),
            metrics: servers.iter().filter_map(|server| server.metrics).collect(),
        }
    }
}

impl Running {
    /// Nothing yet.
    pub fn new(kubeconfig: Option<PathBuf>, tasks: Tasks) -> Self {
        let mut registry = machinery::metrics::registry();
        let metrics = Metrics::new(&mut registry);
        Self {
            kubeconfig,
            tasks,
            ports: BTreeMap::new(),
            index: Arc::default(),
            metrics,
            registry: Arc::new(registry),
            pages: Pages::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// What says that the end is near.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Puts the server blocks of a Corefile in the place of those before. All is made before anything is exchanged.
    ///
    /// # Errors
    /// A port that cannot be bound, an address that is none, no API server for a cluster's names.
    pub async fn take(&mut self, servers: Vec<Server>) -> anyhow::Result<()> {
        let pages = Pages::of(&servers);
        let index = self.index_for(&servers).await?;
        let own_address = own_address();
        let mut blocks: BTreeMap<u16, Vec<Chain>> = BTreeMap::new();
        for mut server in servers {
            if let Some(kubernetes) = &mut server.kubernetes {
                kubernetes.own_address = own_address;
            }
            let port = server.port;
            let chain = Chain::new(server, index.clone()).map_err(anyhow::Error::msg)?;
            blocks.entry(port).or_default().push(chain);
        }
        let mut new = BTreeMap::new();
        for (port, chains) in blocks {
            match self.ports.get(&port) {
                Some(_) => drop(new.insert(port, (None, chains))),
                None => {
                    let bound = server::serve(port, Vec::new(), self.metrics.clone(), &self.tasks).await;
                    let bound = bound.with_context(|| format!("cannot listen on port {port}"))?;
                    tracing::info!(address = %bound.address, "Answering");
                    new.insert(port, (Some(bound), chains));
                }
            }
        }
        *self.index.write() = index;
        self.pages = pages;
        self.ports.retain(|port, _| new.contains_key(port));
        for (port, (bound, chains)) in new {
            self.ports.extend(bound.map(|bound| (port, bound)));
            if let Some(port) = self.ports.get(&port) {
                *port.chains.write() = Arc::new(chains);
            }
        }
        Ok(())
    }

    /// Reads a changed Corefile and puts it in the place of the one before.
    ///
    /// # Errors
    /// What is wrong with it; then nothing has changed.
    pub async fn reload(&mut self, text: &str) -> anyhow::Result<()> {
        let servers = corefile::parse(text)?;
        if Pages::of(&servers) != self.pages {
            bail!("where health, readiness and metrics are asked for is read at start only");
        }
        self.take(servers).await
    }

    /// What the API holds, if a block is about the cluster. While there is something to hold on to, new watches are
    /// waited for.
    async fn index_for(&self, servers: &[Server]) -> anyhow::Result<Option<Index>> {
        let asked: Vec<PodNames> =
            servers.iter().filter_map(|server| Some(server.kubernetes.as_ref()?.pods)).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        let pods = asked.contains(&PodNames::Verified);
        let before = self.index.read().clone();
        if before.as_ref().is_some_and(|index| index.has_pods() || !pods) {
            return Ok(before);
        }
        let client = machinery::client::in_pod(self.kubeconfig.as_deref(), "dns")?;
        let index = Feeds::start(&client, pods, &self.tasks).index();
        if !self.ports.is_empty() {
            let synced = tokio::time::timeout(PATIENCE, index.wait_synced()).await;
            synced.context("the API server does not say which services and pods there are")?;
        }
        Ok(Some(index))
    }

    /// Serves health, readiness and metrics where the Corefile says.
    ///
    /// # Errors
    /// Those of binding.
    pub fn serve_http(&self) -> anyhow::Result<()> {
        let addresses: BTreeSet<SocketAddr> = [&self.pages.health, &self.pages.ready, &self.pages.metrics]
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for address in addresses {
            let (asked, registry, index) =
                (self.pages.clone(), Arc::clone(&self.registry), Arc::clone(&self.index));
            let stopping = self.stopping.clone();
            let plain =
                |status, text: &str| pages::answer(status, "text/plain; charset=utf-8", text.to_owned());
            let handler = move |path: &str| match path {
                "/health" if asked.health.contains(&address) => plain(StatusCode::OK, "OK"),
                "/ready" if asked.ready.contains(&address) => {
                    match index.read().as_ref().is_none_or(Index::synced) {
                        true if !stopping.is_cancelled() => plain(StatusCode::OK, "OK"),
                        _ => plain(StatusCode::SERVICE_UNAVAILABLE, "kubernetes"),
                    }
                }
                "/metrics" if asked.metrics.contains(&address) => pages::answer(
                    StatusCode::OK,
                    machinery::metrics::CONTENT_TYPE,
                    machinery::metrics::text(&registry),
                ),
                _ => pages::not_found(),
            };
            pages::listen(&self.tasks, address, self.tasks.token(), Arc::new(handler))
                .with_context(|| format!("cannot listen for health on {address}"))?;
        }
        Ok(())
    }

    /// Looks whether what is asked on comes back.
    ///
    /// # Errors
    /// If it does: every question would be asked until the machine has no more memory.
    pub async fn look_for_circles(&self) -> anyhow::Result<()> {
        let ports: Vec<_> = self.ports.values().map(|port| Arc::clone(&port.chains.read())).collect();
        for chains in ports {
            for chain in chains.iter() {
                if chain.goes_in_circles().await {
                    let zones: Vec<String> = chain.server.zones.iter().map(ToString::to_string).collect();
                    bail!("loop detected for zone {}: who is asked on asks this server", zones.join(" "));
                }
            }
        }
        Ok(())
    }
}

/// The address that other pods see: the one from which the API server is reached. None outside of pods.
fn own_address() -> Option<IpAddr> {
    let server: IpAddr = std::env::var("KUBERNETES_SERVICE_HOST").ok()?.parse().ok()?;
    let socket = UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Connecting a datagram socket sends nothing.
    socket.connect(SocketAddr::new(server, HTTPS)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests;
