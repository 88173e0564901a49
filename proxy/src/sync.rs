//! The loop: watch, resolve, render, and hand what changed to iptables.
//!
//! The first change is applied at once, those that follow at most once in the minimum period.
//! What was written last is remembered; nothing is asked of the kernel but, now and then, whether
//! the canary chain still lives. When it is gone, or a restore failed, everything is written
//! anew. Upstream: `pkg/proxy/iptables` `syncProxyRules`, `BoundedFrequencyRunner`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use machinery::cache::Cache;
use machinery::client::Backoff;
use machinery::netfilter::{Netfilter, Protocol};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::args::Config;
use crate::conntrack::UdpServices;
use crate::health::{Health, ServiceHealth};
use crate::iptables::{self, IptablesError};
use crate::metrics::Metrics;
use crate::render::{Rules, render};
use crate::ruleset::Ruleset;
use crate::services::{ServicePort, Snapshot, resolve};

/// However well all seems, everything is written anew after this time.
const FULL_SYNC_PERIOD: Duration = Duration::from_secs(3600);
/// Says since when a change of endpoints waits to be in effect.
const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const DELETION_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// What the proxy watches.
#[derive(Clone)]
pub struct Caches {
    /// Services without those that are headless or another proxy's.
    pub services: Cache<Service>,
    /// Their endpoint slices.
    pub slices: Cache<EndpointSlice>,
    /// This node alone.
    pub nodes: Cache<Node>,
}

/// Brings the kernel's rules to what a snapshot says, and remembers what it wrote.
pub struct Syncer {
    rules: Rules,
    written: Option<Ruleset>,
    udp: UdpServices,
    metrics: Metrics,
}

impl Syncer {
    /// Knows nothing yet of what the kernel has.
    pub fn new(rules: Rules, metrics: Metrics) -> Syncer {
        Syncer { rules, written: None, udp: UdpServices::default(), metrics }
    }

    /// Distrusts what was written.
    pub fn forget(&mut self) {
        self.written = None;
    }

    /// Writes what is different; calls nothing when nothing is.
    pub async fn sync(&mut self, ports: &[ServicePort], zone: Option<&str>) -> Result<(), IptablesError> {
        let started = Instant::now();
        let wanted = render(ports, zone, &self.rules);
        let full = self.written.is_none();
        let text = match &self.written {
            Some(written) => wanted.update_from(written),
            None => Some(wanted.replace(&iptables::save().await?)),
        };
        if let Some(text) = &text {
            if ports.iter().any(|port| port.node_port.is_some())
                && let Err(error) = machinery::sysctl::set("ipv4/conf/all/route_localnet", "1")
            {
                tracing::warn!(%error, "NodePorts will not answer on 127.0.0.1");
            }
            // Until the restore has worked, nobody knows what is there.
            self.written = None;
            iptables::restore(text).await.inspect_err(|_| self.metrics.failed(full))?;
            let took = started.elapsed();
            self.metrics.synced(full, took.as_secs_f64(), &wanted);
            tracing::debug!(?took, full, bytes = text.len(), services = ports.len(), "Wrote rules");
        }
        self.written = Some(wanted);
        self.forget_connections(UdpServices::of(ports, &self.rules.node, zone)).await;
        Ok(())
    }

    /// Has the kernel forget UDP connections to endpoints that are gone.
    async fn forget_connections(&mut self, services: UdpServices) {
        if services == self.udp {
            return;
        }
        self.udp = services.clone();
        if services.is_empty() {
            return;
        }
        let forgotten = tokio::task::spawn_blocking(move || forget_stale(&services)).await;
        match forgotten {
            Ok(Ok(count)) => self.metrics.forgot(count),
            Ok(Err(error)) => tracing::warn!(%error, "Cannot remove stale UDP connections"),
            Err(error) => tracing::error!(%error, "Removing stale UDP connections panicked"),
        }
    }
}

fn forget_stale(services: &UdpServices) -> std::io::Result<u64> {
    let mut netfilter = Netfilter::open()?;
    let mut count = 0;
    for connection in netfilter.connections(Protocol::Udp)? {
        if services.is_stale(&connection) {
            count += u64::from(netfilter.forget(&connection)?);
        }
    }
    Ok(count)
}

/// Runs until stopped.
pub async fn run(
    config: Config,
    caches: Caches,
    health: Health,
    mut service_health: ServiceHealth,
    metrics: Metrics,
    stop: machinery::CancellationToken,
) {
    let waits = async {
        caches.services.wait_synced().await;
        caches.slices.wait_synced().await;
        caches.nodes.wait_synced().await;
    };
    if stop.run_until_cancelled(waits).await.is_none() {
        return;
    }
    let (mut services, mut slices, mut nodes) =
        (caches.services.subscribe(), caches.slices.subscribe(), caches.nodes.subscribe());
    let triggers = observe_changes(&caches, &metrics);
    let mut syncer = Syncer::new(config.rules.clone(), metrics.clone());
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut look = tokio::time::interval_at(Instant::now() + config.sync_period, config.sync_period);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_full = Instant::now();
    let mut next = Instant::now();
    let mut pending = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = services.changed() => pending = true,
            () = slices.changed() => pending = true,
            () = nodes.changed() => pending = true,
            _ = look.tick() => {
                let flushed = match iptables::canary_lives().await {
                    Ok(lives) => !lives,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "Cannot look after the canary");
                        false
                    }
                };
                if flushed {
                    tracing::info!("The canary chain is gone; writing all rules anew");
                }
                if flushed || last_full.elapsed() > FULL_SYNC_PERIOD {
                    syncer.forget();
                    last_full = Instant::now();
                    pending = true;
                }
            }
            () = tokio::time::sleep_until(next), if pending => {
                pending = false;
                let now_waiting = std::mem::take(&mut *triggers.lock());
                let node = caches.nodes.list().into_iter().next();
                health.set_node_eligible(node.as_deref().is_none_or(is_eligible));
                let zone = node.as_deref().and_then(zone_of);
                let snapshot = Snapshot {
                    services: caches.services.list(),
                    slices: caches.slices.list(),
                    zone: zone.clone(),
                };
                let ports = resolve(&snapshot, &config.rules.node);
                drop(snapshot);
                match syncer.sync(&ports, zone.as_deref()).await {
                    Ok(()) => {
                        health.synced();
                        service_health.update(&ports);
                        backoff.reset();
                        let now = jiff::Timestamp::now();
                        for since in now_waiting {
                            metrics.programmed(now.duration_since(since).as_secs_f64());
                        }
                        next = Instant::now() + config.min_sync_period;
                    }
                    Err(error) => {
                        tracing::error!(error = &error as &dyn std::error::Error, "Cannot write rules");
                        triggers.lock().extend(now_waiting);
                        pending = true;
                        next = Instant::now() + backoff.pause();
                    }
                }
                continue;
            }
        }
        if pending {
            health.queued();
            metrics.queued();
        }
    }
}

type Triggers = Arc<Mutex<Vec<jiff::Timestamp>>>;

/// Counts changes and gathers the times since when they wait. What was there at the start does
/// not count.
fn observe_changes(caches: &Caches, metrics: &Metrics) -> Triggers {
    let started = jiff::Timestamp::now();
    let triggers = Triggers::default();
    let (gathered, counted) = (Arc::clone(&triggers), metrics.clone());
    caches.slices.on_change(move |change| {
        counted.changed(&counted.endpoint_changes);
        let trigger = change
            .new
            .as_ref()
            .and_then(|slice| slice.metadata.annotations.as_ref()?.get(TRIGGER_ANNOTATION)?.parse().ok());
        gathered.lock().extend(trigger.filter(|since: &jiff::Timestamp| *since >= started));
    });
    let counted = metrics.clone();
    caches.services.on_change(move |_| counted.changed(&counted.service_changes));
    triggers
}

fn zone_of(node: &Node) -> Option<String> {
    node.metadata.labels.as_ref()?.get(ZONE_LABEL).cloned()
}

/// A node that is being deleted should get no traffic from load balancers.
fn is_eligible(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_none() && !taints.into_iter().any(|taint| taint.key == DELETION_TAINT)
}
