//! The caches that all controllers share: one watch for each kind, whoever
//! reads it, and the indexes over them. Nothing here outlives the process.

use std::ops::Deref;
use std::sync::Arc;

use api::account_token;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttributesClass};
use machinery::cache::{Cache, Selectors};
use machinery::tasks::Tasks;

use crate::frame::{Cached, Index, Kind, Watched, watched};
use crate::kit::{owners, pods};
use crate::{account_tokens, certificates, namespace_defaults, volumes};

/// Where nodes leave their signs of life.
const NODE_LEASES: &str = "kube-node-lease";
/// Where the tokens are that nodes join with.
const SYSTEM: &str = "kube-system";

/// Which objects of a kind a cache holds.
#[derive(Clone, Copy)]
struct Scope {
    namespace: Option<&'static str>,
    name: Option<&'static str>,
    /// The type of Secrets, which their names do not tell: nobody may write others of those that such a cache covers.
    kind: Option<&'static str>,
}

/// All of a kind.
const ALL: Scope = Scope { namespace: None, name: None, kind: None };

/// Those of one namespace.
const fn within(namespace: &'static str) -> Scope {
    Scope { namespace: Some(namespace), ..ALL }
}

/// Those of one name, in every namespace.
const fn named(name: &'static str) -> Scope {
    Scope { name: Some(name), ..ALL }
}

/// Secrets of one type.
const fn of_type(kind: &'static str) -> Scope {
    Scope { kind: Some(kind), ..ALL }
}

/// The one of a namespace and name.
const fn exactly((namespace, name): (&'static str, &'static str)) -> Scope {
    Scope { namespace: Some(namespace), name: Some(name), ..ALL }
}

impl Scope {
    fn start<K: Cached + kube::Resource<DynamicType = ()>>(
        self,
        client: &kube::Client,
        tasks: &Tasks,
    ) -> Cache<K> {
        let path = Kind::of::<K>().path(self.namespace.unwrap_or_default());
        let fields = [("metadata.name", self.name), ("type", self.kind)];
        let field = fields.into_iter().find_map(|(field, value)| Some(format!("{field}={}", value?)));
        let selectors = field.map(Selectors::fields);
        Cache::start_at(client.clone(), path, selectors.unwrap_or_default(), tasks)
    }

    fn is_all(self) -> bool {
        self.namespace.is_none() && self.name.is_none() && self.kind.is_none()
    }

    fn covers(self, namespace: &str, name: &str) -> bool {
        self.namespace.is_none_or(|only| only == namespace) && self.name.is_none_or(|only| only == name)
    }
}

/// What looks at caches whatever they hold.
pub trait Visitor {
    /// Looks at one.
    fn visit<K: Cached + kube::Resource>(&mut self, cache: &Cache<K>);
}

/// Declares the caches: a line is a kind, and all that a new one takes.
macro_rules! caches {
    ($($field:ident: $kind:ty, $scope:expr;)*) => {
        /// One cache for each kind that a controller reads or writes.
        #[derive(Clone)]
        pub struct Kinds {
            $(pub $field: Cache<$kind>,)*
        }

        impl Kinds {
            fn start(client: &kube::Client, tasks: &Tasks) -> Self {
                Kinds { $($field: $scope.start(client, tasks),)* }
            }

            /// Waits until all are filled.
            pub async fn wait_synced(&self) {
                tokio::join!($(self.$field.wait_synced(),)*);
            }

            /// Shows the visitor each cache that holds all objects of its kind.
            pub fn each_whole(&self, visitor: &mut impl Visitor) {
                $(if $scope.is_all() {
                    visitor.visit(&self.$field);
                })*
            }

            /// All that can be waited for after a write.
            pub fn watched(&self) -> Arc<[Arc<dyn Watched>]> {
                Arc::new([$(watched(&self.$field, |namespace, name| $scope.covers(namespace, name)),)*])
            }
        }
    };
}

caches! {
    account_tokens: Secret, of_type(account_token::TYPE);
    accounts: ServiceAccount, ALL;
    addresses: IPAddress, ALL;
    autoscalers: HorizontalPodAutoscaler, ALL;
    attributes_classes: VolumeAttributesClass, ALL;
    budgets: PodDisruptionBudget, ALL;
    claims: PersistentVolumeClaim, ALL;
    certificate_requests: CertificateSigningRequest, ALL;
    cluster_info: ConfigMap, exactly(certificates::CLUSTER_INFO);
    cluster_roles: ClusterRole, ALL;
    classes: StorageClass, ALL;
    controller_revisions: ControllerRevision, ALL;
    cron_jobs: CronJob, ALL;
    daemon_sets: DaemonSet, ALL;
    deployments: Deployment, ALL;
    endpoints: Endpoints, ALL;
    jobs: Job, ALL;
    leases: Lease, within(NODE_LEASES);
    namespaces: Namespace, ALL;
    nodes: Node, ALL;
    pods: Pod, ALL;
    quotas: ResourceQuota, ALL;
    replica_sets: ReplicaSet, ALL;
    replication_controllers: ReplicationController, ALL;
    root_cas: ConfigMap, named(namespace_defaults::ROOT_CA);
    service_cidrs: ServiceCIDR, ALL;
    services: Service, ALL;
    slices: EndpointSlice, ALL;
    stateful_sets: StatefulSet, ALL;
    system_secrets: Secret, within(SYSTEM);
    volumes: PersistentVolume, ALL;
}

/// All caches, and what finds objects in them by something other than their name.
#[derive(Clone)]
pub struct Caches {
    kinds: Kinds,
    pub claims_by_volume: Index<PersistentVolumeClaim>,
    pub jobs_by_owner: Index<Job>,
    pub pods_by_claim: Index<Pod>,
    pub pods_by_owner: Index<Pod>,
    pub pods_by_node: Index<Pod>,
    pub slices_by_service: Index<EndpointSlice>,
    pub tokens_by_account: Index<Secret>,
}

impl Deref for Caches {
    type Target = Kinds;

    fn deref(&self) -> &Kinds {
        &self.kinds
    }
}

impl Caches {
    /// Starts all watches.
    pub fn start(client: &kube::Client, tasks: &Tasks) -> Self {
        let kinds = Kinds::start(client, tasks);
        Caches {
            jobs_by_owner: Index::follow(&kinds.jobs, |job: &Job| {
                owners::controller_of(&job.metadata).map(|owner| owner.uid.clone())
            }),
            claims_by_volume: Index::follow(&kinds.claims, |claim: &PersistentVolumeClaim| {
                volumes::volume_name(claim).map(str::to_owned)
            }),
            pods_by_claim: Index::follow(&kinds.pods, |pod: &Pod| volumes::claim_keys(pod)),
            pods_by_owner: Index::follow(&kinds.pods, |pod: &Pod| Some(pod_owner(pod))),
            pods_by_node: Index::follow(&kinds.pods, |pod: &Pod| {
                Some(pods::node_name(pod).to_owned()).filter(|node| !node.is_empty())
            }),
            slices_by_service: Index::follow(&kinds.slices, slice_service),
            tokens_by_account: Index::follow(&kinds.account_tokens, account_tokens::account_key),
            kinds,
        }
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
