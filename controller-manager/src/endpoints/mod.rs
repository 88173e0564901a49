//! Endpoints and EndpointSlices: three controllers over the same pods and
//! services. Upstream: `pkg/controller/{endpoint,endpointslice,endpointslicemirroring}`.

pub mod backends;
mod legacy;
mod mirror;
mod service;
mod slices;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use machinery::queue::Queue;
use parking_lot::Mutex;

use crate::caches::{Caches, slice_key};
use crate::frame::{Controller, Key, Kind, Plan, Timestamp};
use crate::kit::{owners, pods, selector};

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Adds the services whose pods a changed pod is or was.
fn follow_pods(caches: &Caches, queue: &Queue<Key>) {
    let (keys, services) = (queue.clone(), caches.services.clone());
    caches.pods.on_change(move |change| {
        if !pods::changed_for_services(change) {
            return;
        }
        let labels = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|pod| pod.metadata.labels.clone());
        let (old, new) = (labels(&change.old), labels(&change.new));
        for service in services.list_in(owners::namespace(&change.latest().metadata)) {
            let selected = |labels: &Option<_>| labels.is_some() && selects(&service, labels.as_ref());
            if selected(&old) || selected(&new) {
                keys.add(Key::of(&service.metadata));
            }
        }
    });
}

fn selects(service: &Service, labels: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| selector::has_all(wanted, labels))
}

fn pods_behind(caches: &Caches, service: &Service) -> Vec<Arc<Pod>> {
    let mut pods = caches.pods.list_in(owners::namespace(&service.metadata));
    pods.retain(|pod| selects(service, pod.metadata.labels.as_ref()));
    pods
}

/// Keeps the Endpoints of services.
pub struct LegacyEndpoints {
    caches: Caches,
    /// Services that are gone and whose Endpoints have to follow.
    abandoned: Arc<Mutex<HashSet<Key>>>,
}

impl LegacyEndpoints {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let abandoned: Arc<Mutex<HashSet<Key>>> = Arc::default();
        let (keys, gone) = (queue.clone(), Arc::clone(&abandoned));
        caches.services.on_change(move |change| {
            let key = Key::of(&change.latest().metadata);
            if change.new.is_none() {
                gone.lock().insert(key.clone());
            }
            keys.add(key);
        });
        let keys = queue.clone();
        caches.endpoints.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        follow_pods(caches, queue);
        LegacyEndpoints { caches: caches.clone(), abandoned }
    }
}

impl Controller for LegacyEndpoints {
    type Snapshot = legacy::Snapshot;

    const NAME: &'static str = "endpoint";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Endpoints>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<legacy::Snapshot> {
        let service = self.caches.services.get(Some(&key.namespace), &key.name);
        let endpoints = self.caches.endpoints.get(Some(&key.namespace), &key.name);
        let mut abandoned = self.abandoned.lock();
        if service.is_some() || endpoints.is_none() {
            abandoned.remove(key);
        }
        if service.is_none() && endpoints.is_none() {
            return None;
        }
        let abandoned = abandoned.contains(key);
        let pods = service.as_ref().map(|service| pods_behind(&self.caches, service)).unwrap_or_default();
        Some(legacy::Snapshot { service, pods, endpoints, abandoned })
    }

    fn plan(&self, snapshot: &legacy::Snapshot, _now: Timestamp) -> Plan {
        legacy::plan(snapshot)
    }
}

/// Keeps the EndpointSlices of services.
pub struct ServiceSlices {
    caches: Caches,
}

impl ServiceSlices {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.services.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        follow_slices(caches, queue);
        follow_pods(caches, queue);
        let (keys, services) = (queue.clone(), caches.services.clone());
        caches.nodes.on_change(move |change| {
            if change.old.as_deref().and_then(zone) != change.new.as_deref().and_then(zone) {
                services.list().iter().for_each(|service| keys.add(Key::of(&service.metadata)));
            }
        });
        ServiceSlices { caches: caches.clone() }
    }
}

fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE_LABEL)
}

/// Adds the services that a changed slice belongs or belonged to.
pub fn follow_slices(caches: &Caches, queue: &Queue<Key>) {
    let keys = queue.clone();
    caches.slices.on_change(move |change| {
        for slice in change.old.iter().chain(&change.new) {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|labels| labels.get(backends::SERVICE_NAME)) {
                keys.add(Key::new(owners::namespace(&slice.metadata), service));
            }
        }
    });
}

impl Controller for ServiceSlices {
    type Snapshot = service::Snapshot;

    const NAME: &'static str = "endpoint_slice";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<EndpointSlice>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<service::Snapshot> {
        let service = self.caches.services.get(Some(&key.namespace), &key.name)?;
        let slices =
            self.caches.slices_by_service.get(&slice_key(&key.namespace, &key.name, service::MANAGER));
        let nodes = self.caches.nodes.list();
        let zones = nodes.iter().filter_map(|node| Some((node.metadata.name.clone()?, zone(node)?.clone())));
        Some(service::Snapshot {
            pods: pods_behind(&self.caches, &service),
            service,
            slices,
            zones: zones.collect(),
        })
    }

    fn plan(&self, snapshot: &service::Snapshot, _now: Timestamp) -> Plan {
        service::plan(snapshot)
    }
}

/// Mirrors hand-made Endpoints into EndpointSlices.
pub struct MirroredSlices {
    caches: Caches,
}

impl MirroredSlices {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        let keys = queue.clone();
        caches.endpoints.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        let keys = queue.clone();
        caches.services.on_change(move |change| keys.add(Key::of(&change.latest().metadata)));
        follow_slices(caches, queue);
        MirroredSlices { caches: caches.clone() }
    }
}

impl Controller for MirroredSlices {
    type Snapshot = mirror::Snapshot;

    const NAME: &'static str = "endpoint_slice_mirroring_controller";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<EndpointSlice>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<mirror::Snapshot> {
        Some(mirror::Snapshot {
            service: self.caches.services.get(Some(&key.namespace), &key.name),
            endpoints: self.caches.endpoints.get(Some(&key.namespace), &key.name),
            slices: self.caches.slices_by_service.get(&slice_key(&key.namespace, &key.name, mirror::MANAGER)),
        })
    }

    fn plan(&self, snapshot: &mirror::Snapshot, _now: Timestamp) -> Plan {
        mirror::plan(snapshot)
    }
}
