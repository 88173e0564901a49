//! Skiff's controllers, one module each, all of the same form: observe caches,
//! plan (pure), act, wait until the caches show it. `frame` is that form; the
//! other modules are what the controllers know. Nothing is kept here that could
//! not be read from the API again. Upstream: `kube-controller-manager`.

mod account_tokens;
pub mod args;
mod caches;
mod certificates;
mod cluster_roles;
mod cron_job;
mod daemon_set;
mod deployment;
mod discovery;
mod disruption;
mod endpoints;
mod frame;
mod garbage;
mod horizontal_pod_autoscaler;
mod job;
mod kit;
mod load_balancers;
mod namespace;
mod namespace_defaults;
mod node_ipam;
mod node_lifecycle;
mod pod_gc;
mod protection;
mod replicaset;
mod resource_quota;
mod service_cidrs;
mod stateful_set;
mod ttl_after_finished;
mod volumes;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use machinery::clock::Clock;
use machinery::events::Recorder;
use machinery::leader::{LeaderConfig, Leadership};
use machinery::queue::Queue;
use machinery::serve::{self, Gate, Health};
use machinery::tasks::Tasks;
use tracing::info;

use args::Config;
use caches::Caches;
use frame::{Actor, Controller, Key, Metrics, Writes, queue};
use protection::Protection;

/// The name of the lease, and of the process in the API server's logs.
pub const NAME: &str = "kube-controller-manager";

/// Serves health and metrics, waits to become the leader, then starts all controllers.
pub async fn run(config: Config, client: kube::Client, tasks: &Tasks) -> anyhow::Result<()> {
    let mut registry = machinery::metrics::registry();
    let metrics = Metrics::register(&mut registry);
    let leadership = Leadership::new(LeaderConfig::new(NAME)).told_to(&mut registry);
    let synced = Gate::closed("the API server has not answered yet");
    let (elected, filled) = (leadership.clone(), synced.clone());
    let health = Health::new()
        .live("leaderElection", move || elected.check())
        .ready("informer-sync", move || filled.check());
    serve::spawn(tasks, &config.serving, client.clone(), registry, health).await?;
    let owner = tasks.clone();
    tasks.spawn_finite("controllers", async move {
        if !machinery::client::wait_ready(&client, &owner.token()).await {
            return;
        }
        // Whoever stands by is ready to take over.
        synced.open();
        if !config.leader_elect || leadership.lead(client.clone(), &owner).await {
            let client = if config.leader_elect { leadership.fenced(client) } else { client };
            synced.close("not all informers are synced");
            start(&config, &client, &owner, &metrics, &synced).await;
        }
    });
    Ok(())
}

/// What starting a controller takes.
struct Start<'a> {
    client: &'a kube::Client,
    tasks: &'a Tasks,
    clock: &'a Clock,
    caches: &'a Caches,
    metrics: &'a Metrics,
}

impl Start<'_> {
    /// An actor that tells its events in the name of a component.
    fn actor(&self, component: &str, writes: Writes) -> Actor {
        let recorder = Recorder::new(self.client.clone(), component, None, self.tasks);
        Actor::new(self.client.clone(), recorder, self.caches.watched(), writes)
    }

    fn controller<C: Controller>(&self, component: &str, make: impl FnOnce(&Caches, &Queue<Key>) -> C) {
        let keys = queue(self.clock);
        let controller = make(self.caches, &keys);
        let actor = self.actor(component, Writes::Kinds(C::writes().into()));
        frame::run(self.tasks, self.clock, controller, actor, keys, self.metrics);
    }
}

async fn start(config: &Config, client: &kube::Client, tasks: &Tasks, metrics: &Metrics, synced: &Gate) {
    let caches = Caches::start(client, tasks);
    let stop = tasks.token();
    if stop.run_until_cancelled(caches.wait_synced()).await.is_none() {
        return;
    }
    synced.open();
    let clock = &config.clock;
    let start = Start { client, tasks, clock, caches: &caches, metrics };
    start.controller("deployment-controller", deployment::Deployments::new);
    start.controller("replicaset-controller", |caches, keys| {
        replicaset::Replicas::new(caches, &caches.replica_sets, keys)
    });
    start.controller("replication-controller", |caches, keys| {
        replicaset::Replicas::new(caches, &caches.replication_controllers, keys)
    });
    start.controller("daemonset-controller", daemon_set::DaemonSets::new);
    start.controller("statefulset-controller", stateful_set::StatefulSets::new);
    start.controller("job-controller", job::Jobs::new);
    start.controller("job-controller", job::JobOrphans::new);
    start.controller("ttl-after-finished-controller", ttl_after_finished::TtlAfterFinished::new);
    start.controller("cronjob-controller", |caches, keys| cron_job::CronJobs::new(caches, keys, clock));
    start.controller("endpoint-controller", endpoints::LegacyEndpoints::new);
    start.controller("endpoint-slice-controller", endpoints::ServiceSlices::new);
    start.controller("endpoint-slice-mirroring-controller", endpoints::MirroredSlices::new);
    start.controller("serviceaccount-controller", |caches, keys| {
        namespace_defaults::NamespaceDefaults::new(caches, keys, config.root_ca.clone())
    });
    if let Some(key) = &config.token_key {
        start.controller("serviceaccount-token-controller", |caches, keys| {
            account_tokens::AccountTokens::new(caches, keys, key.clone(), config.root_ca.clone())
        });
    }
    start.controller("node-controller", |caches, keys| {
        node_lifecycle::Health::new(caches, keys, clock, config.node_grace)
    });
    start.controller("taint-eviction-controller", node_lifecycle::Eviction::new);
    start.controller("controllermanager", disruption::Disruption::new);
    start.controller("pod-garbage-collector", pod_gc::PodGc::new);
    start.controller("clusterrole-aggregation-controller", cluster_roles::ClusterRoles::new);
    start.controller("service-cidr-controller", service_cidrs::ServiceCidrs::new);
    start.controller("persistentvolume-controller", |caches, keys| {
        volumes::Binder::new(caches, keys, config.volume_helper_image.clone())
    });
    start.controller("volume_expand", volumes::Expansion::new);
    start.controller("ephemeral_volume", volumes::EphemeralClaims::new);
    start.controller("pvc-protection-controller", Protection::<PersistentVolumeClaim>::new);
    start.controller("pv-protection-controller", Protection::<PersistentVolume>::new);
    start.controller("vac-protection-controller", Protection::<VolumeAttributesClass>::new);
    if let Some((cluster, prefix)) = config.node_ranges {
        start.controller("cidrAllocator", |caches, keys| {
            node_ipam::NodeIpam::new(caches, keys, cluster, prefix)
        });
    }
    if let Some(pool) = config.load_balancers {
        start.controller("service-controller", |caches, keys| {
            load_balancers::LoadBalancers::new(caches, keys, pool)
        });
    }
    horizontal_pod_autoscaler::start(&start);
    start.controller("bootstrap-signer", certificates::ClusterInfo::new);
    start.controller("token-cleaner", certificates::TokenCleaner::new);
    certificates::start(&start, config);
    namespace::start(&start);
    let kinds = resource_quota::Kinds::default();
    let gone = resource_quota::start(&start, kinds.clone());
    garbage::start(&start, kinds, gone);
    info!("all controllers are running");
}
