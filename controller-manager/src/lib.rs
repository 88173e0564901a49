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
mod selection;
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
use frame::{Actor, Controller, Key, Kind, Metrics, Writes, queue};
use protection::Protection;
use selection::{CONTROLLERS, GARBAGE_COLLECTOR, RESOURCE_QUOTA, Selection};

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
    selection: &'a Selection,
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

    /// Whether a controller is to run.
    fn runs(&self, controller: &str) -> bool {
        debug_assert!(CONTROLLERS.contains(&controller), "{controller} is not in the list");
        self.selection.has(controller)
    }

    /// Starts a controller, if it is to run, that tells its events in the name of a component.
    fn controller<C: Controller>(
        &self,
        name: &str,
        component: &str,
        make: impl FnOnce(&Caches, &Queue<Key>) -> C,
    ) {
        if self.runs(name) {
            self.always(component, make);
        }
    }

    fn always<C: Controller>(&self, component: &str, make: impl FnOnce(&Caches, &Queue<Key>) -> C) {
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
    let start = Start { selection: &config.controllers, client, tasks, clock, caches: &caches, metrics };
    start.controller("deployment-controller", "deployment-controller", deployment::Deployments::new);
    start.controller("replicaset-controller", "replicaset-controller", |caches, keys| {
        replicaset::Replicas::new(caches, &caches.replica_sets, keys)
    });
    start.controller("replicationcontroller-controller", "replication-controller", |caches, keys| {
        replicaset::Replicas::new(caches, &caches.replication_controllers, keys)
    });
    start.controller("daemonset-controller", "daemonset-controller", daemon_set::DaemonSets::new);
    start.controller("statefulset-controller", "statefulset-controller", stateful_set::StatefulSets::new);
    start.controller("job-controller", "job-controller", job::Jobs::new);
    start.controller("job-controller", "job-controller", job::JobOrphans::new);
    start.controller(
        "ttl-after-finished-controller",
        "ttl-after-finished-controller",
        ttl_after_finished::TtlAfterFinished::new,
    );
    start.controller("cronjob-controller", "cronjob-controller", |caches, keys| {
        cron_job::CronJobs::new(caches, keys, clock)
    });
    start.controller("endpoints-controller", "endpoint-controller", endpoints::LegacyEndpoints::new);
    start.controller("endpointslice-controller", "endpoint-slice-controller", endpoints::ServiceSlices::new);
    start.controller(
        "endpointslice-mirroring-controller",
        "endpoint-slice-mirroring-controller",
        endpoints::MirroredSlices::new,
    );
    let account = start.runs("serviceaccount-controller");
    let publishes = start.runs("root-ca-certificate-publisher-controller");
    let certificate = config.root_ca.clone().filter(|_| publishes);
    if account || certificate.is_some() {
        start.always("serviceaccount-controller", |caches, keys| {
            namespace_defaults::NamespaceDefaults::new(caches, keys, account, certificate)
        });
    }
    if let Some(key) = &config.token_key {
        start.controller(
            "serviceaccount-token-controller",
            "serviceaccount-token-controller",
            |caches, keys| {
                account_tokens::AccountTokens::new(caches, keys, key.clone(), config.root_ca.clone())
            },
        );
    }
    start.controller("node-lifecycle-controller", "node-controller", |caches, keys| {
        node_lifecycle::Health::new(caches, keys, clock, config.node_grace)
    });
    start.controller("taint-eviction-controller", "taint-eviction-controller", node_lifecycle::Eviction::new);
    start.controller("disruption-controller", "controllermanager", disruption::Disruption::new);
    start.controller("pod-garbage-collector-controller", "pod-garbage-collector", pod_gc::PodGc::new);
    start.controller(
        "clusterrole-aggregation-controller",
        "clusterrole-aggregation-controller",
        cluster_roles::ClusterRoles::new,
    );
    start.controller("service-cidr-controller", "service-cidr-controller", service_cidrs::ServiceCidrs::new);
    start.controller("persistentvolume-binder-controller", "persistentvolume-controller", |caches, keys| {
        volumes::Binder::new(caches, keys, config.volume_helper_image.clone())
    });
    start.controller("persistentvolume-expander-controller", "volume_expand", volumes::Expansion::new);
    start.controller("ephemeral-volume-controller", "ephemeral_volume", volumes::EphemeralClaims::new);
    start.controller(
        "persistentvolumeclaim-protection-controller",
        "pvc-protection-controller",
        Protection::<PersistentVolumeClaim>::new,
    );
    start.controller(
        "persistentvolume-protection-controller",
        "pv-protection-controller",
        Protection::<PersistentVolume>::new,
    );
    start.controller(
        "volumeattributesclass-protection-controller",
        "vac-protection-controller",
        Protection::<VolumeAttributesClass>::new,
    );
    if let Some((cluster, prefix)) = config.node_ranges {
        start.controller("node-ipam-controller", "cidrAllocator", |caches, keys| {
            node_ipam::NodeIpam::new(caches, keys, cluster, prefix)
        });
    }
    if let Some(pool) = config.load_balancers {
        start.controller("service-lb-controller", "service-controller", |caches, keys| {
            load_balancers::LoadBalancers::new(caches, keys, pool)
        });
    }
    if start.runs("horizontal-pod-autoscaler-controller") {
        horizontal_pod_autoscaler::start(&start);
    }
    start.controller("bootstrap-signer-controller", "bootstrap-signer", certificates::ClusterInfo::new);
    start.controller("token-cleaner-controller", "token-cleaner", certificates::TokenCleaner::new);
    if start.runs("certificatesigningrequest-signing-controller") {
        certificates::start(&start, config);
    }
    if start.runs("namespace-controller") {
        namespace::start(&start);
    }
    let kinds = resource_quota::Kinds::default();
    let gone_from = match start.runs(RESOURCE_QUOTA) {
        true => resource_quota::start(&start, kinds.clone()),
        false => Box::new(|_: &Kind, _: &str| {}),
    };
    if start.runs(GARBAGE_COLLECTOR) {
        garbage::start(&start, kinds, gone_from);
    }
    info!("all controllers are running");
}
