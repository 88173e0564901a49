//! The kubelet put together: runtime, caches, node, network, server, pods; in the order in which they need
//! each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http::StatusCode;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Api;
use machinery::cache::{Cache, Selectors};
use machinery::client;
use machinery::clock::Clock;
use machinery::events::EventType::Warning;
use machinery::events::Recorder;
use machinery::metrics;
use machinery::serve::access::{Access, Terms};
use machinery::serve::{Gate, Health, pages};
use machinery::tasks::Tasks;
use parking_lot::RwLock;

use crate::admission::Admission;
use crate::args::Config;
use crate::certificates;
use crate::cgroups::Cgroups;
use crate::cri::{CriError, Runtime, RuntimeVersion};
use crate::downward::NodeFacts;
use crate::eviction::{self, Evictions, Pressures};
use crate::images::Images;
use crate::images::collect::{self, Collector};
use crate::kubelet::{Kubelet, Places};
use crate::log_rotation;
use crate::node_limits;
use crate::node_network;
use crate::node_status::{self, NodeKeeper, machine};
use crate::pod_worker::Notes;
use crate::pod_workers::PodWorkers;
use crate::referenced_objects::Objects;
use crate::server::backend::Backend;
use crate::server::{self, ServerConfig, configz};
use crate::sources::{Folder, Sources};
use crate::stats::{ClaimMetrics, Stats};
use crate::volumes::{Rounds, Volumes};

/// How often a runtime that does not answer yet is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Runs the kubelet until it is told to stop.
///
/// # Errors
/// When its folders, certificates or ports cannot be used, or a part of it fails.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    let stop = tasks.token();
    let started = tokio::select! {
        started = start(config, &tasks) => started,
        () = stop.cancelled() => Ok(()),
    };
    if let Err(error) = started {
        tasks.stop();
        return Err(error);
    }
    tasks.run_until_stopped().await
}

async fn start(config: Config, tasks: &Tasks) -> anyhow::Result<()> {
    let config = Arc::new(config);
    crate::volumes::make_private(&config.root_dir)
        .with_context(|| format!("cannot make {}", config.root_dir.display()))?;
    std::fs::create_dir_all(&config.log_dir)
        .with_context(|| format!("cannot make {}", config.log_dir.display()))?;
    let mut registry = metrics::registry();
    let client = certificates::client(&config, &Clock::default(), tasks, &mut registry).await?;
    let runtime: Arc<Runtime> =
        Arc::new(Runtime::new(&config.runtime).context("container runtime endpoint")?);
    let version = wait_for(&runtime).await;
    let stop = tasks.token();
    tokio::select! {
        _ = client::wait_ready(&client, &stop) => {}
        // What may be the API server itself does not wait for it.
        () = Folder::has_files(config.manifests.as_deref()) => {}
    }

    let (kubelet, keeper) = assemble(&config, client, runtime, version, tasks);
    let (pulse, registered) = (keeper.pulse(), keeper.registered());
    let working = Gate::closed("the pods of this node are not known yet");
    let is_ours = keeper.spawn(tasks);
    let started = working.clone();
    let health = Health::new()
        .live("syncloop", move || pulse.check())
        .ready("node-registration", move || registered.check())
        .ready("pod-workers", move || started.check());
    serve(&config, &kubelet, health, registry, tasks).await?;
    let workers = PodWorkers::new(kubelet.clone());
    if let Some(path) = config.manifests.clone() {
        let folder = || Folder::new(path.clone(), &config.node, kubelet.clock.clone());
        while let Err(error) = workers.start_folder(folder()).await {
            again(&error).await;
        }
    }
    // Nothing is done in the name of a node that another machine keeps alive. When the keeper has ended
    // instead, the process is about to.
    if is_ours.await.is_err() {
        return Ok(());
    }
    if let Some(conf_dir) = config.cni_conf_dir.clone() {
        let network = node_network::Config {
            node: config.node.clone(),
            cluster_cidr: config.cluster_cidr,
            load_balancers: config.load_balancers,
            conf_dir,
            data_dir: config.root_dir.join("cni"),
        };
        tasks.spawn(
            "node network",
            node_network::run(network, kubelet.nodes.clone(), kubelet.services.clone(), tasks.token()),
        );
    }
    // Variables for services are part of a pod's start, its fit is judged by the node's own object.
    kubelet.services.wait_synced().await;
    kubelet.nodes.wait_synced().await;
    node_limits::enforce(&kubelet, tasks);
    while let Err(error) = workers.start_api().await {
        again(&error).await;
    }
    tracing::info!(
        version = api::VERSION,
        node = config.node,
        pods = kubelet.pods.list().len(),
        "The kubelet looks after its pods"
    );
    working.open();
    tasks.spawn_loop("limits of storage", eviction::keep_limits(kubelet.clone(), workers.clone()));
    tasks.spawn_loop("room", eviction::keep_room(kubelet.clone(), workers));
    keep_disk_free(&config, &kubelet, tasks);
    Ok(())
}

/// The kubelet, and the keeper of its node, from what they share.
fn assemble(
    config: &Arc<Config>,
    client: kube::Client,
    runtime: Arc<Runtime>,
    version: RuntimeVersion,
    tasks: &Tasks,
) -> (Arc<Kubelet>, NodeKeeper) {
    let nodes = Cache::<Node>::start(Api::all(client.clone()), Selectors::all(), tasks);
    let mine = Selectors::fields(format!("spec.nodeName={}", config.node));
    let pods = Cache::<Pod>::start(Api::all(client.clone()), mine, tasks);
    let services = Cache::<Service>::start(Api::all(client.clone()), Selectors::all(), tasks);
    let resources = machine::resources(config.max_pods, &config.root_dir, &config.eviction);
    let notes = Notes::new(Recorder::new(client.clone(), "kubelet", Some(&config.node), tasks));
    let objects = Arc::new(Objects::new(client.clone()));
    let images = Arc::new(Images::new(runtime.clone(), objects.clone()));
    let pressures = Pressures::new(config.eviction);
    let keeper = NodeKeeper::new(node_status::Around {
        config: config.clone(),
        client: client.clone(),
        runtime: runtime.clone(),
        version: version.clone(),
        resources: resources.clone(),
        notes: notes.clone(),
        nodes: nodes.clone(),
        images: images.clone(),
        pressures: pressures.clone(),
        clock: Clock::default(),
    });
    let kubelet = Arc::new(Kubelet {
        places: Places {
            root: config.root_dir.clone(),
            logs: config.log_dir.clone(),
            cgroup_root: config.cgroup_root.clone(),
            cluster_dns: config.cluster_dns.iter().map(ToString::to_string).collect(),
            cluster_domain: config.cluster_domain.clone(),
            resolver: config.resolver.clone(),
        },
        memory: i64::try_from(machine::memory_kib() * 1024).unwrap_or(i64::MAX),
        pod_processes: config.pod_processes,
        images,
        runtime,
        runtime_name: version.name,
        volumes: Volumes::new(&config.root_dir, objects.clone()),
        rounds: Rounds::begin(Instant::now()),
        objects,
        cgroups: Cgroups::detect(),
        stats: Stats::default(),
        sysctls: config.sysctls.clone(),
        admission: Admission::default(),
        evictions: Evictions::default(),
        pressures,
        pods: Sources::new(pods),
        services,
        nodes,
        node_name: config.node.clone(),
        node: RwLock::new(NodeFacts {
            host_ips: vec![config.node_ip.to_string()],
            allocatable: resources.allocatable,
        }),
        client,
        notes,
        clock: Clock::default(),
        tasks: tasks.clone(),
    });
    (kubelet, keeper)
}

/// Serves the kubelet's ports.
async fn serve(
    config: &Config,
    kubelet: &Arc<Kubelet>,
    health: Health,
    mut registry: metrics::Registry,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let server = ServerConfig {
        address: config.listen,
        tls: config.tls.clone(),
        client_ca: config.client_ca.clone(),
        node: config.node.clone(),
        configz: configz::of(config),
    };
    if let Some(address) = config.healthz {
        let (live, text) = (health.clone(), "text/plain; charset=utf-8");
        // Everybody may ask here, so what is wrong is not told.
        let handler = move |path: &str| match live.answer(path, None).filter(|_| path == "/healthz") {
            Some((StatusCode::OK, body)) => pages::answer(StatusCode::OK, text, body),
            Some((status, _)) => pages::answer(status, text, "healthz check failed\n".to_owned()),
            None => pages::not_found(),
        };
        if let Err(error) = pages::listen(tasks, address, tasks.token(), Arc::new(handler)) {
            tracing::error!(%error, %address, "Cannot listen for health");
        }
    }
    let access = Access::new(kubelet.client.clone(), Terms::KUBELET);
    let backend = Arc::new(Backend(kubelet.clone()));
    let claims = ClaimMetrics { root: config.root_dir.clone(), pods: kubelet.pods.api.clone() };
    registry.register_collector(Box::new(claims));
    server::spawn(tasks, server, access, backend, registry, health).await?;
    Ok(())
}

/// Rotates logs and removes unused images for as long as the kubelet runs.
fn keep_disk_free(config: &Config, kubelet: &Arc<Kubelet>, tasks: &Tasks) {
    let (logs, limits, stop) = (kubelet.clone(), config.logs, tasks.token());
    tasks.spawn("log rotation", async move {
        while stop.run_until_cancelled(tokio::time::sleep(log_rotation::LOOK)).await.is_some() {
            log_rotation::look(&logs.runtime, &logs.places.logs, &logs.pods.list(), limits).await;
        }
        Ok(())
    });
    let (kept, stop) = (kubelet.clone(), tasks.token());
    let mut collector = Collector::new(kubelet.runtime.clone(), kubelet.images.clone(), config.image_gc);
    tasks.spawn("image garbage collection", async move {
        while stop.run_until_cancelled(tokio::time::sleep(collect::LOOK)).await.is_some() {
            match collector.collect(Instant::now()).await {
                Ok(None) => {}
                Ok(Some((wanted, freed))) => {
                    let message = format!(
                        "Failed to garbage collect required amount of images. \
                         Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
                    );
                    kept.notes.node(&kept.node_name, Warning, "FreeDiskSpaceFailed", message);
                }
                Err(error) => tracing::warn!(%error, "Cannot look for unused images"),
            }
        }
        Ok(())
    });
}

/// Waits until the runtime says what it is.
async fn wait_for(runtime: &Runtime) -> RuntimeVersion {
    let mut told = false;
    loop {
        match runtime.version().await {
            Ok(version) => return version,
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::info!(%error, "Waiting for the container runtime");
                }
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Waits for a runtime that could not say what is left of earlier pods.
async fn again(error: &CriError) {
    tracing::warn!(%error, "Cannot ask the runtime what runs");
    tokio::time::sleep(ASK_AGAIN).await;
}
