//! ServiceCIDRs: each is ready as soon as it is there, and stays after its deletion as long as addresses are in use
//! that no other range has. Upstream: `pkg/controller/servicecidrs`.

use std::sync::Arc;

use api::conditions;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp, plus_seconds};
use crate::kit::owners;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// API servers may still draw from a range this many seconds after its deletion.
const GRACE: i64 = 10;

/// The controller.
pub struct ServiceCidrs {
    caches: Caches,
}

impl ServiceCidrs {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let going = |cidr: &Arc<ServiceCIDR>| cidr.metadata.deletion_timestamp.is_some();
        let (keys, all) = (queue.clone(), caches.service_cidrs.clone());
        caches.service_cidrs.on_change(move |change| {
            keys.add(Key::of(&change.latest().metadata));
            // Another range may hold the addresses of one that is going.
            all.list().iter().filter(|cidr| going(cidr)).for_each(|cidr| keys.add(Key::of(&cidr.metadata)));
        });
        let (keys, all) = (queue.clone(), caches.service_cidrs.clone());
        caches.addresses.on_change(move |change| {
            if change.new.is_none() {
                let all = all.list();
                all.iter().filter(|cidr| going(cidr)).for_each(|cidr| keys.add(Key::of(&cidr.metadata)));
            }
        });
        Self { caches: caches.clone() }
    }
}

/// All that a plan for one range looks at.
pub struct Snapshot {
    cidr: Arc<ServiceCIDR>,
    all: Vec<Arc<ServiceCIDR>>,
    addresses: Vec<Arc<IPAddress>>,
}

impl Controller for ServiceCidrs {
    type Snapshot = Snapshot;

    const NAME: &'static str = "service-cidr-controller";

    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<ServiceCIDR>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let cidr = self.caches.service_cidrs.get(None, &key.name)?;
        let going = cidr.metadata.deletion_timestamp.is_some();
        let addresses = if going { self.caches.addresses.list() } else { Vec::new() };
        Some(Snapshot { cidr, all: self.caches.service_cidrs.list(), addresses })
    }

    fn plan(&self, snapshot: &Snapshot, now: Timestamp) -> Plan {
        plan(snapshot, now)
    }
}

fn plan(snapshot: &Snapshot, now: Timestamp) -> Plan {
    let cidr = &*snapshot.cidr;
    let mut plan = Plan::default();
    let mut changed = cidr.clone();
    let finalizers = changed.metadata.finalizers.get_or_insert_default();
    let held = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
    let Some(deleted) = &cidr.metadata.deletion_timestamp else {
        if !held {
            finalizers.push(FINALIZER.to_owned());
        }
        plan.actions.extend(Action::change(cidr, &changed, None));
        plan.actions.extend(tell(cidr, true, "", "Kubernetes Service CIDR is ready", now));
        return plan;
    };
    if !held {
        return plan;
    }
    if is_needed(snapshot) {
        let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        plan.actions.extend(tell(cidr, false, "Terminating", why, now));
        return plan;
    }
    let due = plus_seconds(deleted.0, GRACE);
    if now < due {
        plan.look_again_at(due, now);
        return plan;
    }
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if finalizers.is_empty() {
        changed.metadata.finalizers = None;
    }
    plan.actions.extend(Action::change(cidr, &changed, None));
    plan
}

/// Whether an address is in use that only this range has.
fn is_needed(snapshot: &Snapshot) -> bool {
    let own = ranges(&snapshot.cidr);
    let stays = |other: &&Arc<ServiceCIDR>| {
        other.metadata.uid != snapshot.cidr.metadata.uid && other.metadata.deletion_timestamp.is_none()
    };
    let others: Vec<IpNet> = snapshot.all.iter().filter(stays).flat_map(|other| ranges(other)).collect();
    snapshot.addresses.iter().any(|address| {
        let Ok(ip) = owners::name(&address.metadata).parse::<std::net::IpAddr>() else { return false };
        let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&ip));
        within(&own) && !within(&others)
    })
}

fn ranges(cidr: &ServiceCIDR) -> Vec<IpNet> {
    let texts = cidr.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn tell(cidr: &ServiceCIDR, ready: bool, reason: &str, message: &str, now: Timestamp) -> Option<Action> {
    let old = cidr.status.clone().unwrap_or_default();
    let mut new = old.clone();
    let condition = Condition {
        type_: "Ready".to_owned(),
        status: if ready { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(Timestamp::from_second(now.as_second()).unwrap_or(now)),
        observed_generation: None,
    };
    conditions::set(new.conditions.get_or_insert_default(), condition);
    Action::status(Kind::of::<ServiceCIDR>(), &cidr.metadata, &old, &new)
}

#[cfg(test)]
mod tests;
