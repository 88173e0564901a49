//! The loop: watch, resolve, render, and hand what changed to iptables.
//!
//! The first change is applied at once, those that follow at most once in the minimum period.
//! What was written last is remembered; nothing is asked of the kernel but, now and then, whether
//! anybody changed rules, and then whether the canary chain still lives. When it is gone, or a
//! restore failed, everything is written anew. Upstream: `pkg/proxy/iptables` `syncProxyRules`, `BoundedFrequencyRunner`.

pub mod canary;
mod syncer;
mod triggers;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use machinery::backoff::Backoff;
use machinery::cache::Cache;
use tokio::time::{Instant, MissedTickBehavior};

use crate::args::Config;
use crate::health::{Health, ServiceHealth};
use crate::metrics::Metrics;
use crate::services::{Snapshot, resolve};
use canary::Canary;
pub use syncer::Syncer;
use triggers::Triggers;

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

impl Caches {
    async fn wait_synced(&self) {
        self.services.wait_synced().await;
        self.slices.wait_synced().await;
        self.nodes.wait_synced().await;
    }
}

/// The writing half of the loop.
struct Writer {
    config: Config,
    caches: Caches,
    health: Health,
    service_health: ServiceHealth,
    metrics: Metrics,
    syncer: Syncer,
    triggers: Triggers,
    backoff: Backoff,
}

impl Writer {
    /// Writes what the caches say; tells when the next write may be, and whether this one is to be done again.
    async fn write(&mut self) -> (Instant, bool) {
        let now_waiting = std::mem::take(&mut *self.triggers.lock());
        let node = self.caches.nodes.list().into_iter().next();
        self.health.set_node_eligible(node.as_deref().is_none_or(is_eligible));
        let zone = node.as_deref().and_then(zone_of);
        let snapshot = Snapshot {
            services: self.caches.services.list(),
            slices: self.caches.slices.list(),
            zone: zone.clone(),
        };
        let ports = resolve(&snapshot, &self.config.rules.node);
        drop(snapshot);
        match self.syncer.sync(&ports, zone.as_deref()).await {
            Ok(()) => {
                self.health.synced();
                self.service_health.update(&ports);
                self.backoff.reset();
                let now = machinery::clock::now();
                for since in now_waiting {
                    self.metrics.programmed(now.duration_since(since).as_secs_f64());
                }
                (Instant::now() + self.config.min_sync_period, false)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "Cannot write rules");
                self.triggers.lock().extend(now_waiting);
                (Instant::now() + self.backoff.pause(), true)
            }
        }
    }
}

/// Runs until stopped.
pub async fn run(
    config: Config,
    caches: Caches,
    health: Health,
    service_health: ServiceHealth,
    metrics: Metrics,
    stop: machinery::CancellationToken,
) {
    if stop.run_until_cancelled(caches.wait_synced()).await.is_none() {
        return;
    }
    let (mut services, mut slices, mut nodes) =
        (caches.services.subscribe(), caches.slices.subscribe(), caches.nodes.subscribe());
    let mut look = tokio::time::interval_at(Instant::now() + config.sync_period, config.sync_period);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut canary = Canary::new();
    let mut writer = Writer {
        syncer: Syncer::new(config.rules.clone(), metrics.clone()),
        triggers: triggers::observe(&caches, &metrics),
        backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(30)),
        health: health.clone(),
        metrics: metrics.clone(),
        service_health,
        config,
        caches,
    };
    let (mut next, mut pending) = (Instant::now(), true);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = services.changed() => pending = true,
            () = slices.changed() => pending = true,
            () = nodes.changed() => pending = true,
            _ = look.tick() => {
                if canary.is_gone().await {
                    writer.syncer.forget();
                    pending = true;
                }
            }
            () = tokio::time::sleep_until(next), if pending => {
                (next, pending) = writer.write().await;
                continue;
            }
        }
        if pending {
            health.queued();
            metrics.queued();
        }
    }
}

/// Runs work that blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The process is ending.
            Err(_) => std::future::pending().await,
        },
    }
}

fn zone_of(node: &Node) -> Option<String> {
    node.metadata.labels.as_ref()?.get(ZONE_LABEL).cloned()
}

/// A node that is being deleted should get no traffic from load balancers.
fn is_eligible(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_none() && !taints.into_iter().any(|taint| taint.key == DELETION_TAINT)
}
