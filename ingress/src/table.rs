//! Everything that serving a request needs, made anew whenever one of the caches has changed, and kept up to date.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use machinery::cache::{Cache, Selectors};
use machinery::tasks::Tasks;
use tokio::sync::watch;

use crate::addresses::{Addresses, SERVICE_NAME, addresses};
use crate::certificates::{Certificates, Keys, SECRET_TYPE};
use crate::endpoint::Endpoint;
use crate::problem::Problem;
use crate::routes::{Backend, BackendId, Routes, ours};

/// Changes that come together within this time are looked at once.
const PAUSE: Duration = Duration::from_millis(20);

/// What requests are served by.
#[derive(Debug, Default)]
pub struct Table {
    /// The Ingresses that it is made of.
    pub ingresses: Vec<Arc<Ingress>>,
    /// What is wrong with them.
    pub problems: Vec<Problem>,
    /// What servers show.
    pub certificates: Certificates,
    routes: Routes,
    /// Of each of the routes' backends.
    pools: Vec<Pool>,
}

/// The endpoints of a backend, which take turns.
#[derive(Debug)]
struct Pool {
    endpoints: Vec<Arc<Endpoint>>,
    turn: AtomicUsize,
}

impl Table {
    /// Who answers for a host, in small letters and without a port, and a path.
    pub fn find(&self, host: &str, path: &str) -> Option<BackendId> {
        self.routes.find(host, path)
    }

    /// An endpoint of a backend: of those that were not tried yet the next one, and none that failed lately while there
    /// is another one.
    pub fn next(&self, backend: BackendId, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let Pool { endpoints, turn } = self.pools.get(backend)?;
        let start = turn.fetch_add(1, Ordering::Relaxed) % endpoints.len().max(1);
        let (before, from_here) = endpoints.split_at(start);
        let left = || from_here.iter().chain(before).filter(|known| !tried.contains(&known.address));
        left().find(|endpoint| !endpoint.failed_lately()).or_else(|| left().next()).cloned()
    }

    /// All endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.pools.iter().flat_map(|pool| &pool.endpoints)
    }
}

/// The caches that tables are made of.
#[derive(Clone)]
pub struct Feeds {
    /// All of them, of whatever class.
    pub ingresses: Cache<Ingress>,
    /// All of them.
    pub classes: Cache<IngressClass>,
    /// All of them.
    pub services: Cache<Service>,
    /// Those of services.
    pub slices: Cache<EndpointSlice>,
    /// Those that hold certificates.
    pub secrets: Cache<Secret>,
}

impl Feeds {
    /// Watches all that tables are made of.
    pub fn start(client: &kube::Client, tasks: &Tasks) -> Self {
        let all = Selectors::all;
        let of_type = Selectors::fields(format!("type={SECRET_TYPE}"));
        Self {
            ingresses: Cache::start(kube::Api::all(client.clone()), all(), tasks),
            classes: Cache::start(kube::Api::all(client.clone()), all(), tasks),
            services: Cache::start(kube::Api::all(client.clone()), all(), tasks),
            slices: Cache::start(kube::Api::all(client.clone()), Selectors::labels(SERVICE_NAME), tasks),
            secrets: Cache::start(kube::Api::all(client.clone()), of_type, tasks),
        }
    }

    /// Makes tables, the first one when all caches were filled, until it is cut off.
    pub async fn make_tables(self, tables: watch::Sender<Arc<Table>>) -> anyhow::Result<()> {
        tokio::join!(
            self.ingresses.wait_synced(),
            self.classes.wait_synced(),
            self.services.wait_synced(),
            self.slices.wait_synced(),
            self.secrets.wait_synced(),
        );
        let (mut ingresses, mut classes) = (self.ingresses.subscribe(), self.classes.subscribe());
        let (mut services, mut slices) = (self.services.subscribe(), self.slices.subscribe());
        let mut secrets = self.secrets.subscribe();
        let mut maker = Maker::default();
        loop {
            tables.send_replace(Arc::new(maker.table(&self)));
            tokio::select! {
                () = ingresses.changed() => {}
                () = classes.changed() => {}
                () = services.changed() => {}
                () = slices.changed() => {}
                () = secrets.changed() => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Makes tables, and takes over from one to the next what is costly: open connections and certificates.
#[derive(Debug, Default)]
pub struct Maker {
    keys: Keys,
    endpoints: HashMap<(SocketAddr, bool), Arc<Endpoint>>,
}

impl Maker {
    /// The table of what the caches hold.
    pub fn table(&mut self, feeds: &Feeds) -> Table {
        let ingresses = ours(feeds.ingresses.list(), &feeds.classes.list());
        let (routes, mut problems) = Routes::new(&ingresses);
        let secret = |namespace: &str, name: &str| feeds.secrets.get(Some(namespace), name);
        let (certificates, unusable) = self.keys.certificates(&ingresses, secret);
        problems.extend(unusable);
        let (pools, missing) = self.pools(&routes, feeds);
        problems.extend(missing);
        Table { ingresses, problems, certificates, routes, pools }
    }

    fn pools(&mut self, routes: &Routes, feeds: &Feeds) -> (Vec<Pool>, Vec<Problem>) {
        let mut slices: HashMap<(String, String), Vec<Arc<EndpointSlice>>> = HashMap::new();
        for slice in feeds.slices.list() {
            let meta = &slice.metadata;
            let service = meta.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)).cloned();
            if let (Some(namespace), Some(service)) = (meta.namespace.clone(), service) {
                slices.entry((namespace, service)).or_default().push(slice);
            }
        }
        let (mut endpoints, mut problems) = (HashMap::new(), Vec::new());
        let mut pool = |(backend, ingress): &(Backend, Arc<Ingress>)| {
            let service = feeds.services.get(Some(&backend.namespace), &backend.service);
            let slices = slices.get(&(backend.namespace.clone(), backend.service.clone()));
            let slices = slices.map_or(&[][..], Vec::as_slice);
            let found = addresses(service.as_deref(), slices, &backend.port).unwrap_or_else(|why| {
                let why = format!("the backend {}:{} is not served: {why}", backend.service, backend.port);
                problems.push(Problem::new(ingress, "BadBackend", why));
                Addresses::default()
            });
            let known = found.all.into_iter().map(|address| {
                let key = (address, found.h2);
                let endpoint = endpoints.entry(key).or_insert_with(|| {
                    let known = self.endpoints.get(&key).cloned();
                    known.unwrap_or_else(|| Arc::new(Endpoint::new(address, found.h2)))
                });
                Arc::clone(endpoint)
            });
            // Not always the first one after each change.
            Pool { endpoints: known.collect(), turn: AtomicUsize::new(rand::random::<u16>().into()) }
        };
        let pools = routes.backends.iter().map(&mut pool).collect();
        self.endpoints = endpoints;
        (pools, problems)
    }
}
