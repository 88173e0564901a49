//! The caches that all controllers share: one watch for each kind, whoever
//! reads it, and the indexes over them. Nothing here outlives the process.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::Api;
use machinery::cache::{Cache, Selectors};
use machinery::tasks::Tasks;

use crate::frame::{Index, Watched, watched};
use crate::{namespace_defaults, owners, pods};

/// Where nodes leave their signs of life.
const NODE_LEASES: &str = "kube-node-lease";

/// All caches.
#[derive(Clone)]
pub struct Caches {
    pub deployments: Cache<Deployment>,
    pub replica_sets: Cache<ReplicaSet>,
    pub replication_controllers: Cache<ReplicationController>,
    pub pods: Cache<Pod>,
    pub pods_by_owner: Index<Pod>,
    pub pods_by_node: Index<Pod>,
    pub services: Cache<Service>,
    pub endpoints: Cache<Endpoints>,
    pub slices: Cache<EndpointSlice>,
    pub slices_by_service: Index<EndpointSlice>,
    pub namespaces: Cache<Namespace>,
    pub nodes: Cache<Node>,
    pub leases: Cache<Lease>,
    pub accounts: Cache<ServiceAccount>,
    pub root_cas: Cache<ConfigMap>,
    pub budgets: Cache<PodDisruptionBudget>,
    pub claims: Cache<PersistentVolumeClaim>,
    pub volumes: Cache<PersistentVolume>,
    pub attributes_classes: Cache<VolumeAttributesClass>,
    pub service_cidrs: Cache<ServiceCIDR>,
    pub addresses: Cache<IPAddress>,
}

impl Caches {
    /// Starts all watches.
    pub fn start(client: &kube::Client, tasks: &Tasks) -> Self {
        let pods = Cache::start(Api::<Pod>::all(client.clone()), Selectors::all(), tasks);
        let slices = Cache::start(Api::<EndpointSlice>::all(client.clone()), Selectors::all(), tasks);
        let named = |name: &str| Selectors::fields(format!("metadata.name={name}"));
        Caches {
            deployments: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            replica_sets: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            replication_controllers: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            pods_by_owner: Index::follow(&pods, |pod: &Pod| Some(pod_owner(pod))),
            pods_by_node: Index::follow(&pods, |pod: &Pod| {
                Some(pods::node_name(pod).to_owned()).filter(|node| !node.is_empty())
            }),
            pods,
            services: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            endpoints: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            slices_by_service: Index::follow(&slices, slice_service),
            slices,
            namespaces: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            nodes: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            leases: Cache::start(Api::namespaced(client.clone(), NODE_LEASES), Selectors::all(), tasks),
            accounts: Cache::start(Api::all(client.clone()), named(namespace_defaults::ACCOUNT), tasks),
            root_cas: Cache::start(Api::all(client.clone()), named(namespace_defaults::ROOT_CA), tasks),
            budgets: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            claims: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            volumes: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            attributes_classes: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            service_cidrs: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
            addresses: Cache::start(Api::all(client.clone()), Selectors::all(), tasks),
        }
    }

    /// Waits until all are filled.
    pub async fn wait_synced(&self) {
        tokio::join!(
            self.deployments.wait_synced(),
            self.replica_sets.wait_synced(),
            self.replication_controllers.wait_synced(),
            self.pods.wait_synced(),
            self.services.wait_synced(),
            self.endpoints.wait_synced(),
            self.slices.wait_synced(),
            self.namespaces.wait_synced(),
            self.nodes.wait_synced(),
            self.leases.wait_synced(),
            self.accounts.wait_synced(),
            self.root_cas.wait_synced(),
            self.budgets.wait_synced(),
            self.claims.wait_synced(),
            self.volumes.wait_synced(),
            self.attributes_classes.wait_synced(),
            self.service_cidrs.wait_synced(),
            self.addresses.wait_synced(),
        );
    }

    /// All that can be waited for after a write.
    pub fn watched(&self) -> Arc<[Arc<dyn Watched>]> {
        Arc::new([
            watched(&self.deployments),
            watched(&self.replica_sets),
            watched(&self.replication_controllers),
            watched(&self.pods),
            watched(&self.services),
            watched(&self.endpoints),
            watched(&self.slices),
            watched(&self.namespaces),
            watched(&self.nodes),
            watched(&self.accounts),
            watched(&self.root_cas),
            watched(&self.budgets),
            watched(&self.claims),
            watched(&self.volumes),
            watched(&self.attributes_classes),
            watched(&self.service_cidrs),
        ])
    }

    /// The pods that an object controls, and those of its namespace that nobody does.
    pub fn pods_of(&self, namespace: &str, uid: &str) -> Vec<Arc<Pod>> {
        let mut pods = self.pods_by_owner.get(uid);
        pods.extend(self.pods_by_owner.get(&unowned(namespace)));
        pods
    }
}

/// The uid of a pod's controller, or where the pods without one are found.
fn pod_owner(pod: &Pod) -> String {
    match owners::controller_of(&pod.metadata) {
        Some(owner) => owner.uid.clone(),
        None => unowned(owners::namespace(&pod.metadata)),
    }
}

fn unowned(namespace: &str) -> String {
    format!("unowned in {namespace}")
}

/// `namespace/service managed-by`, as slices say it.
pub fn slice_key(namespace: &str, service: &str, manager: &str) -> String {
    format!("{namespace}/{service} {manager}")
}

fn slice_service(slice: &EndpointSlice) -> Option<String> {
    use crate::endpoints::backends::{MANAGED_BY, SERVICE_NAME};
    let labels = slice.metadata.labels.as_ref()?;
    let (service, manager) = (labels.get(SERVICE_NAME)?, labels.get(MANAGED_BY)?);
    Some(slice_key(owners::namespace(&slice.metadata), service, manager))
}
