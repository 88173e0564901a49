//! What the caches hold, by the keys that questions have. Each change is told by the caches; nothing is read twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::cache::{Cache, Change, Selectors};
use machinery::tasks::Tasks;
use parking_lot::{RwLock, RwLockReadGuard};

/// Label of a slice: its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Namespace and name of a service.
pub type Key = (Arc<str>, Arc<str>);

/// A service and its endpoints.
#[derive(Debug, Default)]
pub struct Known {
    /// The service; none while only slices have come.
    pub service: Option<Arc<Service>>,
    /// Its slices by name.
    pub slices: BTreeMap<String, Arc<EndpointSlice>>,
}

/// Everything by its keys.
#[derive(Debug, Default)]
pub struct Contents {
    namespaces: HashSet<String>,
    services: HashMap<Arc<str>, HashMap<Arc<str>, Known>>,
    /// Services by their cluster addresses.
    by_cluster_address: HashMap<IpAddr, Key>,
    /// Services by their endpoints' addresses.
    by_endpoint: HashMap<IpAddr, HashSet<Key>>,
    /// How many pods of a namespace have an address.
    pods: HashMap<(String, IpAddr), usize>,
}

impl Contents {
    /// Whether there is such a namespace.
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    /// A service.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Known> {
        self.services.get(namespace)?.get(name)
    }

    /// The service that a cluster address belongs to.
    pub fn by_cluster_address(&self, address: IpAddr) -> Option<&Key> {
        self.by_cluster_address.get(&address)
    }

    /// The services that an address is an endpoint of.
    pub fn by_endpoint(&self, address: IpAddr) -> impl Iterator<Item = &Key> {
        self.by_endpoint.get(&address).into_iter().flatten()
    }

    /// Whether a pod of the namespace has the address.
    pub fn has_pod(&self, namespace: &str, address: IpAddr) -> bool {
        self.pods.contains_key(&(namespace.to_owned(), address))
    }

    fn known(&mut self, namespace: &str, name: &str) -> (&mut Known, Key) {
        let (namespace, name): (Arc<str>, Arc<str>) = (namespace.into(), name.into());
        let known = self.services.entry(namespace.clone()).or_default().entry(name.clone()).or_default();
        (known, (namespace, name))
    }

    fn forget_if_empty(&mut self, namespace: &str, name: &str) {
        let Some(services) = self.services.get_mut(namespace) else { return };
        if services.get(name).is_some_and(|known| known.service.is_none() && known.slices.is_empty()) {
            services.remove(name);
        }
        if services.is_empty() {
            self.services.remove(namespace);
        }
    }

    fn namespace_changed(&mut self, change: &Change<Namespace>) {
        let name = change.latest().metadata.name.clone().unwrap_or_default();
        match change.new {
            Some(_) => self.namespaces.insert(name),
            None => self.namespaces.remove(&name),
        };
    }

    fn service_changed(&mut self, change: &Change<Service>) {
        let meta = &change.latest().metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let (known, key) = self.known(namespace, name);
        known.service.clone_from(&change.new);
        for address in change.old.iter().flat_map(|old| cluster_addresses(old)) {
            if self.by_cluster_address.get(&address) == Some(&key) {
                self.by_cluster_address.remove(&address);
            }
        }
        for address in change.new.iter().flat_map(|new| cluster_addresses(new)) {
            self.by_cluster_address.insert(address, key.clone());
        }
        self.forget_if_empty(namespace, name);
    }

    fn slice_changed(&mut self, change: &Change<EndpointSlice>) {
        for (slice, is_there) in [(&change.old, false), (&change.new, true)] {
            let Some(slice) = slice else { continue };
            let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME))
            else {
                continue;
            };
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            let (known, key) = self.known(namespace, service);
            let name = slice.metadata.name.clone().unwrap_or_default();
            match is_there {
                true => known.slices.insert(name, Arc::clone(slice)),
                false => known.slices.remove(&name),
            };
            match is_there {
                true => {
                    for address in endpoint_addresses(slice) {
                        self.by_endpoint.entry(address).or_default().insert(key.clone());
                    }
                }
                false => {
                    let still: HashSet<IpAddr> =
                        known.slices.values().flat_map(|slice| endpoint_addresses(slice)).collect();
                    for gone in endpoint_addresses(slice).filter(|address| !still.contains(address)) {
                        if let Some(keys) = self.by_endpoint.get_mut(&gone) {
                            keys.remove(&key);
                            if keys.is_empty() {
                                self.by_endpoint.remove(&gone);
                            }
                        }
                    }
                }
            }
            self.forget_if_empty(namespace, service);
        }
    }

    fn pod_changed(&mut self, change: &Change<Pod>) {
        for (pod, is_there) in [(&change.old, false), (&change.new, true)] {
            let Some(pod) = pod else { continue };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            for address in pod_addresses(pod) {
                let key = (namespace.to_owned(), address);
                let count = self.pods.entry(key.clone()).or_default();
                match is_there {
                    true => *count += 1,
                    false => *count = count.saturating_sub(1),
                }
                if *count == 0 {
                    self.pods.remove(&key);
                }
            }
        }
    }
}

/// Takes from a service what names are not made of.
fn slim_service(service: &mut Service) {
    slim_meta(&mut service.metadata);
    service.metadata.labels = None;
    service.status = None;
    if let Some(spec) = &mut service.spec {
        spec.selector = None;
    }
}

/// Takes from a slice what names are not made of.
fn slim_slice(slice: &mut EndpointSlice) {
    slim_meta(&mut slice.metadata);
    slice.metadata.labels.iter_mut().for_each(|labels| labels.retain(|label, _| label == SERVICE_NAME));
    for endpoint in slice.endpoints.iter_mut().flatten() {
        (endpoint.hints, endpoint.node_name, endpoint.zone) = (None, None, None);
        if let Some(pod) = &mut endpoint.target_ref {
            *pod = ObjectReference { name: pod.name.take(), ..ObjectReference::default() };
        }
    }
}

fn slim_meta(meta: &mut ObjectMeta) {
    (meta.annotations, meta.owner_references, meta.generate_name) = (None, None, None);
}

/// The cluster addresses of a service.
pub(super) fn cluster_addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let addresses = service.spec.as_ref().and_then(|spec| spec.cluster_ips.as_ref());
    addresses.into_iter().flatten().filter_map(|ip| ip.parse().ok())
}

fn endpoint_addresses(slice: &EndpointSlice) -> impl Iterator<Item = IpAddr> {
    slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses).filter_map(|ip| ip.parse().ok())
}

/// The addresses of a pod that has not ended.
fn pod_addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.as_ref();
    let ended = status
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| ["Succeeded", "Failed"].contains(&phase));
    let addresses = status.filter(|_| !ended).and_then(|status| status.pod_ips.as_ref());
    addresses.into_iter().flatten().filter_map(|ip| ip.ip.parse().ok())
}

/// The index. Clones share it, and the caches that feed it.
#[derive(Clone)]
pub struct Index {
    contents: Arc<RwLock<Contents>>,
    feeds: Arc<Feeds>,
}

/// The caches that feed an index.
pub struct Feeds {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    namespaces: Cache<Namespace>,
    pods: Option<Cache<Pod>>,
}

impl Feeds {
    /// Watches what names are made of; pods only if their names are verified.
    pub fn start(client: &kube::Client, pods: bool, tasks: &Tasks) -> Self {
        let all = Selectors::all;
        Self {
            services: Cache::start_slim(kube::Api::all(client.clone()), all(), slim_service, tasks),
            slices: Cache::start_slim(
                kube::Api::all(client.clone()),
                Selectors::labels(SERVICE_NAME),
                slim_slice,
                tasks,
            ),
            namespaces: Cache::start(kube::Api::all(client.clone()), all(), tasks),
            pods: pods.then(|| Cache::start(kube::Api::all(client.clone()), all(), tasks)),
        }
    }

    /// Objects that nothing changes, for tests.
    pub fn fixed(
        mut services: Vec<Service>,
        mut slices: Vec<EndpointSlice>,
        namespaces: Vec<Namespace>,
        pods: Vec<Pod>,
    ) -> Self {
        services.iter_mut().for_each(slim_service);
        slices.iter_mut().for_each(slim_slice);
        Self {
            services: Cache::fixed(services),
            slices: Cache::fixed(slices),
            namespaces: Cache::fixed(namespaces),
            pods: Some(Cache::fixed(pods)),
        }
    }

    /// The index of what they hold, kept up to date.
    pub fn index(self) -> Index {
        let shared: Arc<RwLock<Contents>> = Arc::default();
        /// Has the changes of a cache told to a function of the contents.
        macro_rules! feed {
            ($cache:expr, $changed:ident) => {{
                let contents = Arc::clone(&shared);
                $cache.on_change(move |change| contents.write().$changed(change));
            }};
        }
        feed!(self.namespaces, namespace_changed);
        feed!(self.services, service_changed);
        feed!(self.slices, slice_changed);
        if let Some(pods) = &self.pods {
            feed!(pods, pod_changed);
        }
        Index { contents: shared, feeds: Arc::new(self) }
    }
}

impl Index {
    /// Whether pods are watched.
    pub fn has_pods(&self) -> bool {
        self.feeds.pods.is_some()
    }

    /// Whether everything was read once; before, a name that is not known may exist.
    pub fn synced(&self) -> bool {
        let feeds = &self.feeds;
        feeds.services.synced()
            && feeds.slices.synced()
            && feeds.namespaces.synced()
            && feeds.pods.as_ref().is_none_or(Cache::synced)
    }

    /// Waits until everything was read once.
    pub async fn wait_synced(&self) {
        self.feeds.services.wait_synced().await;
        self.feeds.slices.wait_synced().await;
        self.feeds.namespaces.wait_synced().await;
        if let Some(pods) = &self.feeds.pods {
            pods.wait_synced().await;
        }
    }

    /// What is known now.
    pub fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read()
    }
}
