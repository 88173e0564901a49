//! Whether nodes live, and what becomes of the pods of those that do not:
//! two controllers, health and eviction. Upstream: `pkg/controller/{nodelifecycle,tainteviction}`.

mod eviction;
mod health;
#[cfg(test)]
mod tests;

pub use health::is_ready;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use machinery::clock::Clock;
use machinery::queue::Queue;
use parking_lot::Mutex;

use crate::caches::Caches;
use crate::frame::{Controller, Key, Kind, Plan, Timestamp};
use crate::kit::{owners, pods};

/// When each node was last heard of, by our own clock: clocks of nodes may be wrong.
type Seen = Arc<Mutex<HashMap<String, Timestamp>>>;

/// Judges nodes by their signs of life.
pub struct Health {
    caches: Caches,
    seen: Seen,
    registered: Mutex<HashSet<String>>,
    grace: Duration,
}

impl Health {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>, clock: &Clock, grace: Duration) -> Self {
        let seen = Seen::default();
        let (heard, time) = (Arc::clone(&seen), clock.clone());
        caches.leases.on_change(move |change| {
            let renewed =
                |lease: &k8s_openapi::api::coordination::v1::Lease| lease.spec.as_ref()?.renew_time.clone();
            let new = change.new.as_deref().and_then(renewed);
            if new.is_some() && new != change.old.as_deref().and_then(renewed) {
                heard.lock().insert(owners::name(&change.latest().metadata).to_owned(), time.now());
            }
        });
        let (keys, heard, time) = (queue.clone(), Arc::clone(&seen), clock.clone());
        caches.nodes.on_change(move |change| {
            let name = owners::name(&change.latest().metadata);
            match &change.new {
                None => drop(heard.lock().remove(name)),
                Some(node) => {
                    if change.old.as_deref().is_none_or(|old| heartbeat(old) != heartbeat(node)) {
                        heard.lock().insert(name.to_owned(), time.now());
                    }
                }
            }
            keys.add(Key::cluster(name));
        });
        // A pod on a silent node may say it is ready after the node was judged.
        let (keys, nodes) = (queue.clone(), caches.nodes.clone());
        caches.pods.on_change(move |change| {
            let Some(pod) = change.new.as_ref().filter(|pod| pods::is_ready(pod)) else { return };
            let node = pods::node_name(pod);
            if nodes.get(None, node).is_some_and(|node| !health::is_ready(&node)) {
                keys.add(Key::cluster(node));
            }
        });
        Health { caches: caches.clone(), seen, registered: Mutex::default(), grace }
    }
}

/// When the node last wrote its Ready condition.
fn heartbeat(node: &Node) -> Option<&Time> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")?.last_heartbeat_time.as_ref()
}

impl Controller for Health {
    type Snapshot = health::Snapshot;

    const NAME: &'static str = "node_lifecycle_controller";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Node>(), Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, now: Timestamp) -> Option<health::Snapshot> {
        let node = self.caches.nodes.get(None, &key.name)?;
        let seen = *self.seen.lock().entry(key.name.to_string()).or_insert(now);
        let is_new = self.registered.lock().insert(owners::uid(&node.metadata).to_owned());
        let pods = self.caches.pods_by_node.get(&key.name);
        Some(health::Snapshot { node, pods, seen, grace: self.grace, is_new })
    }

    fn plan(&self, snapshot: &health::Snapshot, now: Timestamp) -> Plan {
        health::plan(snapshot, now)
    }
}

/// Evicts pods from nodes with NoExecute taints.
pub struct Eviction {
    caches: Caches,
    first_seen: Mutex<HashMap<(String, eviction::TaintName), Timestamp>>,
}

impl Eviction {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.nodes.on_change(move |change| {
            let taints =
                |node: &Option<Arc<Node>>| node.as_ref().and_then(|node| node.spec.as_ref()?.taints.clone());
            if taints(&change.old) != taints(&change.new) {
                keys.add(Key::cluster(owners::name(&change.latest().metadata)));
            }
        });
        let keys = queue.clone();
        caches.pods.on_change(move |change| {
            let Some(new) = &change.new else { return };
            let moved = change.old.as_ref().is_none_or(|old| {
                let tolerations = |pod: &k8s_openapi::api::core::v1::Pod| {
                    pod.spec.as_ref().and_then(|spec| spec.tolerations.clone())
                };
                pods::node_name(old) != pods::node_name(new) || tolerations(old) != tolerations(new)
            });
            if moved && !pods::node_name(new).is_empty() {
                keys.add(Key::cluster(pods::node_name(new)));
            }
        });
        Eviction { caches: caches.clone(), first_seen: Mutex::default() }
    }

    /// Remembers taints, and forgets those that are gone.
    fn first_seen(&self, node: &Node, now: Timestamp) -> HashMap<eviction::TaintName, Timestamp> {
        let name = owners::name(&node.metadata);
        let present: Vec<eviction::TaintName> =
            eviction::evicting_taints(node).map(eviction::taint_name).collect();
        let mut known = self.first_seen.lock();
        known.retain(|(of, taint), _| of != name || present.contains(taint));
        let times = present.into_iter().map(|taint| {
            let seen = *known.entry((name.to_owned(), taint.clone())).or_insert(now);
            (taint, seen)
        });
        times.collect()
    }
}

impl Controller for Eviction {
    type Snapshot = eviction::Snapshot;

    const NAME: &'static str = "taint-eviction-controller";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Pod>()]
    }

    fn observe(&self, key: &Key, now: Timestamp) -> Option<eviction::Snapshot> {
        let node = self.caches.nodes.get(None, &key.name)?;
        let first_seen = self.first_seen(&node, now);
        if first_seen.is_empty() {
            return None;
        }
        Some(eviction::Snapshot { pods: self.caches.pods_by_node.get(&key.name), node, first_seen })
    }

    fn plan(&self, snapshot: &eviction::Snapshot, now: Timestamp) -> Plan {
        eviction::plan(snapshot, now)
    }
}
