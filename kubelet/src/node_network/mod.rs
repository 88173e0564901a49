//! This node's part of the pod network: routes to other nodes' pods, the way out, the addresses of load balancers
//! that it answers for, and the configuration by which the container runtime finds the CNI plugin.
//!
//! Planned from the Node objects, Services and this node's addresses, applied when the plan changes and
//! looked after once a minute: routes by reading them, iptables only if anybody changed any rule. The configuration is written last: it is what makes the runtime,
//! and so the node, ready. Upstream: `flannel`, `kindnet`; kubelet's own network plugin of old.

mod announce;
pub mod kernel;
pub mod plan;

use api::Message;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use machinery::CancellationToken;
use machinery::backoff::Backoff;
use machinery::cache::Cache;
use machinery::iptables::{self, IptablesError};

use crate::netlink::Netlink;
use plan::{JUMPS, Peer, Plan};

/// Name of the bridge that pods are plugged into.
pub const BRIDGE: &str = "cni0";
/// Name of the tunnel's device.
pub const TUNNEL: &str = "skiff.1";
/// Name of the configuration in the runtime's folder.
const CONFLIST: &str = "10-skiff.conflist";
/// How often to look whether all is as it was left.
const LOOK_PERIOD: Duration = Duration::from_secs(60);

/// What the network is made from, besides nodes.
#[derive(Debug, Clone)]
pub struct Config {
    /// This node's name.
    pub node: String,
    /// All pods' range.
    pub cluster_cidr: Option<Ipv4Net>,
    /// Range of the addresses of load balancers; this node answers for none without.
    pub load_balancers: Option<Ipv4Net>,
    /// The folder in which the container runtime looks for network configurations.
    pub conf_dir: PathBuf,
    /// The folder in which the CNI plugin keeps who has which address.
    pub data_dir: PathBuf,
}

/// Keeps this node's part of the network until stopped. Opens its sockets in the network
/// namespace of the thread that it runs on, which is the process's.
pub async fn run(
    config: Config,
    nodes: Cache<Node>,
    services: Cache<Service>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let kernel = Netlink::open().context("cannot open a netlink socket")?;
    for (setting, value) in [
        ("ipv4/ip_forward", "1"),
        // Pods on one network segment are routed on purpose.
        ("ipv4/conf/all/send_redirects", "0"),
    ] {
        machinery::sysctl::set(setting, value).context("cannot prepare the node for forwarding")?;
    }
    let (mut changes, mut balanced) = (nodes.subscribe(), services.subscribe());
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
    let mut applied = Applied::default();
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_PERIOD, LOOK_PERIOD);
    let synced = async { tokio::join!(nodes.wait_synced(), services.wait_synced()) };
    if stop.run_until_cancelled(synced).await.is_none() {
        return Ok(());
    }
    loop {
        let retry = match reconcile(&config, &kernel, &nodes, &services, &mut applied).await {
            Ok(()) => {
                backoff.reset();
                None
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "Cannot set up the pod network");
                applied.look_again();
                Some(backoff.pause())
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = kernel.broken() => anyhow::bail!("the netlink socket broke"),
            () = changes.changed() => {}
            () = balanced.changed() => {}
            () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => {}
            _ = look.tick() => applied.look_again(),
        }
    }
}

/// What is known to be in the kernel.
#[derive(Default)]
struct Applied {
    /// The plan whose routes are there.
    routes: Option<Plan>,
    /// The plan whose rules are there.
    rules: Option<Plan>,
    /// What was last told to be wrong with other nodes.
    told: BTreeSet<Message>,
    watch: iptables::Watch,
}

impl Applied {
    /// Somebody else may have changed something.
    fn look_again(&mut self) {
        self.routes = None;
        if self.watch.changed() {
            self.rules = None;
        }
    }
}

async fn reconcile(
    config: &Config,
    kernel: &Netlink,
    nodes: &Cache<Node>,
    services: &Cache<Service>,
    applied: &mut Applied,
) -> anyhow::Result<()> {
    let (mut peers, mut wrong) = (Vec::new(), BTreeSet::new());
    for node in nodes.list() {
        match Peer::of(&node) {
            Ok(peer) => peers.extend(peer),
            Err(why) => {
                wrong.insert(why);
            }
        }
    }
    let uplinks = kernel::uplinks(kernel).await.context("cannot list this node's addresses")?;
    let plan = plan::plan(&config.node, &peers, &uplinks, config.cluster_cidr).map_err(anyhow::Error::msg)?;
    wrong.extend(plan.iter().flat_map(|plan| plan.left_out.iter().cloned()));
    for why in wrong.difference(&applied.told) {
        tracing::warn!("No route to a node's pods: {why}");
    }
    applied.told = wrong;
    let Some(mut plan) = plan else { return Ok(()) };
    plan.answers = plan::answers(&config.node, &services.list(), config.load_balancers, &uplinks);
    let mut routed = Ok(());
    if applied.routes.as_ref() != Some(&plan) {
        routed = kernel::apply(kernel, &plan).await.context("cannot set routes to other nodes");
        // What stands in the way of some is no reason to be without the rest.
        applied.routes = routed.is_ok().then(|| plan.clone());
    }
    if applied.rules.as_ref() != Some(&plan) {
        let (for_rules, cluster_cidr) = (plan.clone(), config.cluster_cidr);
        tokio::task::spawn_blocking(move || apply_rules(&for_rules, cluster_cidr))
            .await?
            .context("cannot write the rules for traffic of pods")?;
        tracing::debug!(pods = %plan.own.pods, routes = plan.routes.len(), "The pod network is set up");
        applied.rules = Some(plan.clone());
    }
    write_conflist(config, &plan).context("cannot write the network configuration")?;
    routed
}

fn apply_rules(plan: &Plan, cluster_cidr: Option<Ipv4Net>) -> Result<(), IptablesError> {
    let missing = iptables::missing(&JUMPS)?;
    iptables::restore(&plan::rules(plan, cluster_cidr, &missing))
}

/// Writes the configuration list, whole or not at all, unless it says the same already.
fn write_conflist(config: &Config, plan: &Plan) -> std::io::Result<()> {
    let path = config.conf_dir.join(CONFLIST);
    let text = plan::conflist(plan, &config.data_dir);
    if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::create_dir_all(&config.conf_dir)?;
    machinery::files::replace(&path, text.as_bytes(), 0o644)
}
