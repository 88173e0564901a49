//! The cluster's cables: a bridge on the host, a network namespace for the
//! control plane and one for each node, a veth pair into each, and the routes
//! of host and control plane to pods and services.
//!
//! `plan` and `changes` are pure and say what `ip` is to do; running it again
//! on what is there repairs what is missing and touches nothing else.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use ipnet::Ipv4Net;

use crate::cluster::{Cluster, ControlPlane, Node};

/// Where named network namespaces are mounted.
pub const NETNS_DIR: &str = "/run/netns";

/// The path of a named network namespace.
pub fn netns_path(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// What of a cluster's network is there already.
#[derive(Debug, Default)]
pub struct Present {
    /// Named network namespaces.
    pub namespaces: BTreeSet<String>,
    /// The host's interfaces.
    pub links: BTreeSet<String>,
}

/// One call of `ip -batch`: in the host's namespace, or in the named one.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The namespace; `None` is the host's.
    pub netns: Option<String>,
    /// One command on each line.
    pub commands: String,
}

/// One end of a cable: a namespace, its address, the host's end.
struct Port {
    netns: String,
    link: String,
    address: Ipv4Addr,
}

fn ports(cluster: &Cluster) -> Vec<Port> {
    let control_plane = Port {
        netns: cluster.control_plane_netns(),
        link: cluster.control_plane_link(),
        address: cluster.ranges.control_plane(),
    };
    let node = |node: Node| Port { netns: node.netns, link: node.link, address: node.address };
    let apart = (cluster.control_plane == ControlPlane::Processes).then_some(control_plane);
    apart.into_iter().chain(cluster.all_nodes().into_iter().map(node)).collect()
}

/// Says what `ip` has to do so that the cluster's network stands.
pub fn plan(cluster: &Cluster, present: &Present) -> Vec<Batch> {
    let bridge = cluster.bridge();
    let prefix = cluster.ranges.nodes.prefix_len();
    let gateway = cluster.ranges.gateway();
    // ClusterIPs are translated in the first node, which masquerades what comes from outside.
    let to_services =
        format!("route replace {} via {}", cluster.ranges.services, cluster.ranges.node_address(0));
    let of_control_plane = match cluster.control_plane {
        // It does not rely on the host to forward: that may be switched off.
        ControlPlane::Processes => to_services.clone(),
        ControlPlane::Pods => format!("addr replace {}/32 dev eth0", cluster.ranges.control_plane()),
    };
    let mut host = String::new();
    let mut inside = Vec::new();
    // Writing to a String cannot fail.
    macro_rules! say { ($to:expr, $($arg:tt)*) => { let _ = writeln!($to, $($arg)*); } }

    if !present.links.contains(&bridge) {
        say!(host, "link add {bridge} type bridge forward_delay 0 stp_state 0");
    }
    say!(host, "addr replace {gateway}/{prefix} dev {bridge}");
    say!(host, "link set {bridge} up");
    for port in ports(cluster) {
        let Port { netns, link, address } = port;
        if !present.namespaces.contains(&netns) {
            say!(host, "netns add {netns}");
        }
        // A cable into a namespace that is gone went with it; one whose other end is missing is no cable.
        let whole = present.namespaces.contains(&netns) && present.links.contains(&link);
        if !whole {
            say!(host, "link add {link} type veth peer name eth0 netns {netns}");
        }
        say!(host, "link set {link} master {bridge} up");
        let mut commands = String::new();
        say!(commands, "link set lo up");
        say!(commands, "addr replace {address}/{prefix} dev eth0");
        say!(commands, "link set eth0 up");
        say!(commands, "route replace default via {gateway}");
        if netns == cluster.control_plane_netns() {
            say!(commands, "{of_control_plane}");
        }
        inside.push(Batch { netns: Some(netns), commands });
    }
    say!(host, "{to_services}");
    let mut batches = vec![Batch { netns: None, commands: host }];
    batches.append(&mut inside);
    batches
}

fn names_in(dir: &str) -> Result<BTreeSet<String>> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let name =
                |entry: std::io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
            entries.map(name).collect::<std::io::Result<_>>().with_context(|| format!("cannot read {dir}"))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(e) => Err(e).with_context(|| format!("cannot read {dir}")),
    }
}

/// Looks at the namespaces and interfaces of this machine.
pub fn observe() -> Result<Present> {
    Ok(Present { namespaces: live_namespaces()?, links: names_in("/sys/class/net")? })
}

/// The names below `/run/netns` that have a namespace mounted on them.
fn live_namespaces() -> Result<BTreeSet<String>> {
    let mounted = crate::processes::mounts_below(Path::new(NETNS_DIR))?;
    let mounted: BTreeSet<&Path> = mounted.iter().map(PathBuf::as_path).collect();
    let mut names = names_in(NETNS_DIR)?;
    names.retain(|name| mounted.contains(netns_path(name).as_path()));
    Ok(names)
}

fn run(batch: &Batch) -> Result<()> {
    let mut command = crate::program::command("ip");
    if let Some(netns) = &batch.netns {
        command.args(["-n", netns]);
    }
    command.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start ip")?;
    let mut stdin = child.stdin.take().context("ip has no input")?;
    stdin.write_all(batch.commands.as_bytes()).context("cannot tell ip what to do")?;
    drop(stdin);
    let output = child.wait_with_output().context("cannot wait for ip")?;
    if !output.status.success() {
        let place = batch.netns.as_deref().unwrap_or("the host");
        bail!("ip failed in {place}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// After every other route, so that it only ever catches what has no way of its own.
const LAST: u32 = 65_535;

fn ranges(cluster: &Cluster) -> [Ipv4Net; 3] {
    let ranges = &cluster.ranges;
    [ranges.nodes, ranges.pods, ranges.services]
}

/// What `ip` has to do so that no packet for the cluster leaves the machine while nobody is there.
fn closing(cluster: &Cluster) -> String {
    let route = |range: Ipv4Net| format!("route replace unreachable {range} metric {LAST}\n");
    ranges(cluster).into_iter().map(route).collect()
}

/// Takes back what [`closing`] did, given the unreachable ranges.
fn opening(cluster: &Cluster, closed: &[Ipv4Net]) -> String {
    let route = |range: &Ipv4Net| format!("route delete unreachable {range} metric {LAST}\n");
    ranges(cluster).iter().filter(|range| closed.contains(range)).map(route).collect()
}

/// Answers for the addresses of a cluster that is stopped; they would go out by the default route.
pub fn close(cluster: &Cluster) -> Result<()> {
    run(&Batch { netns: None, commands: closing(cluster) })
}

fn open(cluster: &Cluster) -> Result<()> {
    let metric = LAST.to_string();
    let commands = opening(cluster, &routes(&["type", "unreachable", "metric", &metric])?);
    if commands.is_empty() { Ok(()) } else { run(&Batch { netns: None, commands }) }
}

/// Sets the cluster's network up, or repairs it.
pub fn ensure(cluster: &Cluster) -> Result<()> {
    open(cluster)?;
    let present = observe()?;
    for port in ports(cluster) {
        // A name left behind by a reboot or a kill has nothing mounted on it.
        let stale = netns_path(&port.netns);
        if !present.namespaces.contains(&port.netns) && stale.exists() {
            fs::remove_file(&stale).with_context(|| format!("cannot remove {}", stale.display()))?;
        }
        // The host's end of a cable to a namespace that lost its name.
        if !present.namespaces.contains(&port.netns) && present.links.contains(&port.link) {
            delete_link(&port.link)?;
        }
    }
    let mut batches = plan(cluster, &present).into_iter();
    let (Some(host), inside) = (batches.next(), batches) else { return Ok(()) };
    run(&host)?;
    std::thread::scope(|scope| {
        let calls: Vec<_> = inside.map(|batch| scope.spawn(move || run(&batch))).collect();
        calls
            .into_iter()
            .try_for_each(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    for netns in ports(cluster).into_iter().map(|port| port.netns) {
        set_in_namespace(&netns, SETTINGS)?;
    }
    Ok(())
}

/// Nodes forward for their pods; the host's route to ClusterIPs makes node 1
/// send packets back where they came from, which must not answer with redirects.
const SETTINGS: &[(&str, &str)] = &[
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/eth0/send_redirects", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/eth0/rp_filter", "0"),
];

fn write_setting(name: &str, value: &str) -> Result<()> {
    let path = Path::new("/proc/sys").join(name);
    if fs::read_to_string(&path).is_ok_and(|present| present.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).with_context(|| format!("cannot set {} to {value}", path.display()))
}

fn set_in_namespace(netns: &str, settings: &'static [(&str, &str)]) -> Result<()> {
    inside(netns, move || settings.iter().try_for_each(|(name, value)| write_setting(name, value)))?
}

/// Runs `work` on a thread of its own that stands in the network namespace.
pub fn inside<T: Send + 'static>(netns: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let path = netns_path(netns);
    let file = fs::File::open(&path).with_context(|| format!("the network namespace {netns} is gone"))?;
    let thread = std::thread::spawn(move || {
        // Only this thread changes its namespace, and it ends with the work.
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?;
        Ok::<T, nix::Error>(work())
    });
    let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    result.with_context(|| format!("cannot enter the network namespace {netns}"))
}

/// Where a node's pods are, and the address of that node.
pub type PodRoute = (Ipv4Net, Ipv4Addr);

/// What `ip` has to do so that one route stands, or does not any more.
struct Change {
    route: PodRoute,
    stands: bool,
}

impl Change {
    fn command(&self) -> String {
        let (pods, node) = self.route;
        match self.stands {
            true => format!("route replace {pods} via {node}\n"),
            // Made before it is deleted, which fails for what somebody has deleted already.
            false => format!("route replace {pods} via {node}\nroute delete {pods} via {node}\n"),
        }
    }
}

/// How `known` routes become the `wanted` ones.
fn changes(known: &[PodRoute], wanted: &[PodRoute]) -> Vec<Change> {
    let new = wanted.iter().filter(|route| !known.contains(route));
    let new = new.map(|route| Change { route: *route, stands: true });
    // A range that went to another node is led there by the new routes.
    let lost = known.iter().filter(|(pods, _)| !wanted.iter().any(|(others, _)| others == pods));
    new.chain(lost.map(|route| Change { route: *route, stands: false })).collect()
}

/// Carries changes out: all of them at once, and when that fails each by itself, so that one which cannot be
/// made stands in the way of no other. `known` becomes what stands then; answers what went wrong.
fn settle(
    places: &[Option<String>],
    known: &mut Vec<PodRoute>,
    wanted: &[PodRoute],
    run: impl Fn(&Batch) -> Result<()>,
) -> Vec<anyhow::Error> {
    let changes = changes(known, wanted);
    let everywhere = |commands: String| {
        let mut batches =
            places.iter().map(|netns| Batch { netns: netns.clone(), commands: commands.clone() });
        batches.try_for_each(|batch| run(&batch))
    };
    let at_once = changes.is_empty() || everywhere(changes.iter().map(Change::command).collect()).is_ok();
    let mut failures = Vec::new();
    for change in &changes {
        let (pods, node) = change.route;
        let made = if at_once { Ok(()) } else { everywhere(change.command()) };
        match made {
            Ok(()) => {
                known.retain(|(range, _)| *range != pods);
                known.extend(change.stands.then_some(change.route));
            }
            Err(error) => failures.push(error.context(format!("the route to {pods} by way of {node}"))),
        }
    }
    failures
}

/// Leads packets of host and control plane for the nodes' pods to those nodes, given the routes that stand, which
/// become those that stand then; a node has them from its kubelet. Answers what went wrong.
pub fn ensure_pod_routes(
    cluster: &Cluster,
    known: &mut Vec<PodRoute>,
    wanted: &[PodRoute],
) -> Vec<anyhow::Error> {
    let places = match cluster.control_plane {
        ControlPlane::Processes => vec![None, Some(cluster.control_plane_netns())],
        ControlPlane::Pods => vec![None],
    };
    settle(&places, known, wanted, run)
}

fn delete_link(link: &str) -> Result<()> {
    run(&Batch { netns: None, commands: format!("link delete {link}\n") })
}

/// Takes the cluster's network away. Goes on after a failure and tells the first one.
pub fn remove(cluster: &Cluster) -> Result<()> {
    let mut result = Ok(());
    let mut keep = |outcome: Result<()>| {
        if result.is_ok() {
            result = outcome;
        }
    };
    let prefix = format!("skiff-{}-", cluster.name);
    for name in names_in(NETNS_DIR)?.into_iter().filter(|name| belongs(name, &prefix)) {
        let path = netns_path(&name);
        // Several mounts may lie on top of each other after a kill in the middle.
        while nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
        keep(fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display())));
    }
    keep(open(cluster));
    // The kernel takes a veth pair away some time after its namespace; do not wait for it.
    let link_prefix = format!("skiff{}-", cluster.ranges.index);
    for link in names_in("/sys/class/net")?.into_iter().filter(|link| link.starts_with(&link_prefix)) {
        let outcome = delete_link(&link);
        if exists(&link) {
            keep(outcome);
        }
    }
    if exists(&cluster.bridge()) {
        keep(delete_link(&cluster.bridge()));
    }
    result
}

/// `skiff-two-` also begins the namespaces of a cluster called `two-x`.
fn belongs(netns: &str, prefix: &str) -> bool {
    let Some(rest) = netns.strip_prefix(prefix) else { return false };
    let number = rest.strip_prefix("node-");
    rest == "control-plane" || number.is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// The ranges that this machine's routes lead to.
pub fn routed_ranges() -> Result<Vec<Ipv4Net>> {
    routes(&["table", "all"])
}

/// The ranges of the routes that `ip route show` selects.
fn routes(selector: &[&str]) -> Result<Vec<Ipv4Net>> {
    let output = crate::program::command("ip")
        .args(["-4", "route", "show"])
        .args(selector)
        .output()
        .context("cannot start ip")?;
    if !output.status.success() {
        bail!("ip route failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(crate::ranges::destinations(&String::from_utf8_lossy(&output.stdout)))
}

#[cfg(test)]
mod tests;
