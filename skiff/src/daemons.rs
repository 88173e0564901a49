//! The table of a cluster's daemons: which program runs where with which flags.
//!
//! Pure but for [`check_given`]: the same description always gives the same table, so `up`, the
//! supervisor, `status` and `logs` agree without talking to each other.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, ControlPlane, Node, Store};
use crate::ranges::NODE_PREFIX;
use crate::{containerd, pki};

/// The supervisor's name in `status` and `logs`.
pub const SUPERVISOR: &str = "supervisor";

/// Something that should answer before a daemon is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A TCP port, seen from the daemon's network namespace.
    Tcp(SocketAddrV4),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// One daemon of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// `apiserver`, `node-1/kubelet`.
    pub name: String,
    /// The network namespace it runs in.
    pub netns: String,
    /// The host name that it and all that it starts see, when it is not the machine's.
    pub hostname: Option<String>,
    /// The program: a path, or a name to look for in `$PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The folder it runs in.
    pub folder: PathBuf,
    /// Sockets that it makes, and does not start beside: one that was killed leaves them behind.
    pub sockets: Vec<PathBuf>,
    /// Its log.
    pub log: PathBuf,
    /// What it needs; it is started after a while also without.
    pub after: Vec<Awaited>,
    /// The static pod of the first node that it runs as, without the node's name; the kubelet looks after it then, and
    /// its program is the one in its image.
    pub pod: Option<String>,
}

impl Daemon {
    /// The program's name.
    pub fn short(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    /// What the user gives it; the last of its arguments.
    pub fn given<'a>(&self, cluster: &'a Cluster) -> &'a [String] {
        cluster.arguments.get(self.short()).map(Vec::as_slice).unwrap_or_default()
    }

    /// Its command line.
    pub fn command(&self) -> Vec<String> {
        std::iter::once(show(self.program.clone())).chain(self.arguments.iter().cloned()).collect()
    }

    /// The name of its record in the cluster's `run` folder.
    pub fn record(&self) -> String {
        format!("{}.json", self.name.replace('/', "."))
    }
}

/// Flags with values; an empty value is left out.
fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    let set = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    set.flat_map(|(flag, value)| [format!("--{flag}"), value]).collect()
}

fn show(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// What etcd's clients and peers call it. It takes no paths, so this is a file in the folder it runs in.
const ETCD: &str = "localhost:2379";
const ETCD_PEER: &str = "localhost:2380";

/// etcd's socket. Only who may enter its folder reaches it.
fn etcd_socket(cluster: &Cluster) -> PathBuf {
    cluster.control_plane_dir().join(ETCD)
}

/// Where etcd listens that runs in a pod, for those who show a certificate. A socket would be in the way of the next
/// container, and nobody would be there to remove it.
const ETCD_IN_POD: &str = "https://127.0.0.1:2379";

/// Where it tells then, over plain HTTP, how it is.
pub const ETCD_HEALTH_PORT: u16 = 2381;

/// The store as the API server's `--store` takes it.
pub fn store_flag(cluster: &Cluster) -> String {
    match &cluster.store {
        Store::Etcd if cluster.control_plane == ControlPlane::Pods => format!("etcd:{ETCD_IN_POD}"),
        Store::Etcd => format!("etcd:unix://{}", etcd_socket(cluster).display()),
        Store::ExternalEtcd(urls) => format!("etcd:{}", urls.join(",")),
        Store::File(None) => format!("file:{}", cluster.control_plane_dir().join("store.db").display()),
        Store::File(Some(path)) => format!("file:{}", path.display()),
        Store::Memory => "memory".into(),
    }
}

struct Table<'a> {
    cluster: &'a Cluster,
    daemons: Vec<Daemon>,
}

impl Table<'_> {
    fn add(&mut self, node: Option<&Node>, program: PathBuf, after: Vec<Awaited>, arguments: Vec<String>) {
        let short = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.daemons.push(Daemon {
            name: node.map_or(short.clone(), |node| format!("{}/{short}", node.name)),
            folder: "/".into(),
            sockets: Vec::new(),
            netns: node.map_or(self.cluster.control_plane_netns(), |node| node.netns.clone()),
            hostname: node.map(|node| node.name.clone()),
            log: self.cluster.log_dir(node).join(format!("{short}.log")),
            program,
            arguments,
            after,
            pod: None,
        });
    }

    fn ours(&mut self, node: Option<&Node>, program: &str, after: Vec<Awaited>, mut arguments: Vec<String>) {
        let common =
            flags([("cluster", self.cluster.name.clone()), ("v", self.cluster.verbosity.to_string())]);
        arguments.splice(0..0, common);
        arguments.extend(self.cluster.arguments.get(program).into_iter().flatten().cloned());
        self.add(node, self.cluster.bin_dir.join(program), after, arguments);
    }
}

/// Checks what the user gives daemons, before any of them is touched: with certificates of its own, since the cluster's
/// may not be there yet.
///
/// # Errors
/// A flag that a daemon has from here already, or, in its own words, one that it does not take.
pub fn check_given(cluster: &Cluster) -> Result<()> {
    if cluster.arguments.is_empty() {
        return Ok(());
    }
    let dir = tempfile::tempdir().context("cannot make a folder to check flags in")?;
    let cluster = &Cluster { dir: dir.path().into(), ..cluster.clone() };
    pki::ensure(cluster, machinery::clock::now())?;
    let mut seen = BTreeSet::new();
    for daemon in table(cluster) {
        let given = daemon.given(cluster);
        if given.is_empty() || !seen.insert(daemon.short().to_owned()) {
            continue;
        }
        let flag = |argument: &String| argument.split('=').next().unwrap_or_default().to_owned();
        let own: BTreeSet<_> =
            daemon.arguments[..daemon.arguments.len() - given.len()].iter().map(flag).collect();
        let name = daemon.short();
        if let Some(twice) = given.iter().map(flag).find(|given| own.contains(given)) {
            bail!("the {name} has the flag {twice} from skiff up itself: it cannot be given once more");
        }
        let mut command = crate::program::command(cluster.bin_dir.join(name));
        command.args(&daemon.arguments).arg("--check-flags").current_dir(&daemon.folder);
        // It is to say nothing but what is wrong.
        let told = command.envs([("RUST_LOG", "off"), ("RUST_BACKTRACE", "0")]).output();
        let told = told.with_context(|| format!("cannot ask the {name} for its flags"))?;
        if !told.status.success() {
            let words = String::from_utf8_lossy(&told.stderr);
            let why = words.split("\n\n").filter(|part| !part.starts_with("Usage: "));
            let why: Vec<_> = why.filter(|part| !part.starts_with("For more information")).collect();
            bail!("the {name} does not take what it is given: {}", why.join("\n").trim_end());
        }
    }
    Ok(())
}

/// All daemons of a cluster, in the order in which they are started.
pub fn table(cluster: &Cluster) -> Vec<Daemon> {
    let mut table = Table { cluster, daemons: Vec::new() };
    control_plane(cluster, &mut table);
    if cluster.control_plane == ControlPlane::Pods {
        for daemon in &mut table.daemons {
            daemon.program = Path::new("/").join(&daemon.name);
            daemon.pod = Some(format!("{}{}", if daemon.name == "etcd" { "" } else { "kube-" }, daemon.name));
        }
    }
    for node in cluster.all_nodes() {
        workers(cluster, &node, &mut table);
    }
    table.daemons
}

fn etcd(cluster: &Cluster, table: &mut Table<'_>) {
    let in_pod = cluster.control_plane == ControlPlane::Pods;
    let (clients, peers) = match in_pod {
        true => (ETCD_IN_POD.to_owned(), "https://127.0.0.1:2380".to_owned()),
        false => (format!("unix://{ETCD}"), format!("unix://{ETCD_PEER}")),
    };
    let mut arguments = flags([
        ("name", "skiff".into()),
        ("data-dir", show(cluster.etcd_dir())),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers.clone()),
        ("initial-cluster", format!("skiff={peers}")),
        // One member needs no patience with others: it elects itself sooner.
        ("heartbeat-interval", "50".into()),
        ("election-timeout", "250".into()),
        ("logger", "zap".into()),
    ]);
    if in_pod {
        let (own, ca) = (pki::pair(cluster, "etcd"), show(pki::pair(cluster, "etcd-ca").cert));
        for whom in ["", "peer-"] {
            arguments.extend([format!("--{whom}client-cert-auth"), format!("--{whom}trusted-ca-file={ca}")]);
            arguments.push(format!("--{whom}cert-file={}", own.cert.display()));
            arguments.push(format!("--{whom}key-file={}", own.key.display()));
        }
        arguments.push(format!("--listen-metrics-urls=http://127.0.0.1:{ETCD_HEALTH_PORT}"));
    }
    table.add(None, "etcd".into(), Vec::new(), arguments);
    if let Some(etcd) = table.daemons.last_mut().filter(|_| !in_pod) {
        etcd.folder = cluster.control_plane_dir();
        etcd.sockets = [ETCD, ETCD_PEER].map(|socket| etcd.folder.join(socket)).to_vec();
    }
}

fn control_plane(cluster: &Cluster, table: &mut Table<'_>) {
    let address = cluster.ranges.control_plane().to_string();
    let answers = |ip: Ipv4Addr, port: u16| vec![Awaited::Tcp(SocketAddrV4::new(ip, port))];
    let server = answers(cluster.ranges.control_plane(), 6443);
    let (ca, clients) = (pki::pair(cluster, pki::CA), pki::pair(cluster, pki::CLIENT_CA));
    let serving = pki::pair(cluster, "apiserver");
    let client = pki::pair(cluster, "apiserver-kubelet-client");
    let front = pki::pair(cluster, pki::FRONT_PROXY);
    let (public, private) = pki::service_account_keys(cluster);

    if cluster.store == Store::Etcd {
        etcd(cluster, table);
    }
    let store = match cluster.store {
        Store::Etcd => vec![Awaited::Unix(etcd_socket(cluster))],
        _ => Vec::new(),
    };
    let to_etcd = pki::pair(cluster, "apiserver-etcd-client");
    let mut arguments = flags([
        ("store", store_flag(cluster)),
        ("bind-address", "0.0.0.0".into()),
        ("secure-port", "6443".into()),
        ("advertise-address", address),
        ("tls-cert-file", show(serving.cert)),
        ("tls-private-key-file", show(serving.key)),
        ("client-ca-file", show(&clients.cert)),
        ("authorization-mode", "Node,RBAC".into()),
        ("enable-bootstrap-token-auth", "true".into()),
        ("service-account-key-file", show(public)),
        ("service-account-signing-key-file", show(&private)),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".into()),
        ("service-cluster-ip-range", cluster.ranges.services.to_string()),
        ("service-node-port-range", "30000-32767".into()),
        ("kubelet-client-certificate", show(client.cert)),
        ("kubelet-client-key", show(client.key)),
        ("kubelet-certificate-authority", show(&ca.cert)),
        ("proxy-client-cert-file", show(front.cert)),
        ("proxy-client-key-file", show(front.key)),
        ("requestheader-client-ca-file", show(pki::pair(cluster, pki::FRONT_PROXY_CA).cert)),
        ("requestheader-allowed-names", pki::FRONT_PROXY.into()),
    ]);
    if cluster.store == Store::Etcd && cluster.control_plane == ControlPlane::Pods {
        arguments.extend(flags([
            ("etcd-cafile", show(pki::pair(cluster, "etcd-ca").cert)),
            ("etcd-certfile", show(to_etcd.cert)),
            ("etcd-keyfile", show(to_etcd.key)),
        ]));
    }
    table.ours(None, "apiserver", store, arguments);
    let mut arguments = flags([
        ("kubeconfig", show(cluster.kubeconfig_of("scheduler"))),
        ("bind-address", "127.0.0.1".into()),
        ("secure-port", "10259".into()),
        ("client-ca-file", show(&clients.cert)),
    ]);
    arguments.push("--leader-elect=true".into());
    table.ours(None, "scheduler", server.clone(), arguments);
    let mut arguments = flags([
        ("kubeconfig", show(cluster.kubeconfig_of("controller-manager"))),
        ("bind-address", "127.0.0.1".into()),
        ("secure-port", "10257".into()),
        ("client-ca-file", show(&clients.cert)),
        ("cluster-cidr", cluster.ranges.pods.to_string()),
        ("node-cidr-mask-size", NODE_PREFIX.to_string()),
        ("load-balancer-ip-range", cluster.ranges.load_balancers().to_string()),
        ("root-ca-file", show(&ca.cert)),
        ("service-account-private-key-file", show(private)),
        ("cluster-signing-kubelet-serving-cert-file", show(&ca.cert)),
        ("cluster-signing-kubelet-serving-key-file", show(&ca.key)),
        ("cluster-signing-legacy-unknown-cert-file", show(&ca.cert)),
        ("cluster-signing-legacy-unknown-key-file", show(&ca.key)),
        ("cluster-signing-kubelet-client-cert-file", show(&clients.cert)),
        ("cluster-signing-kubelet-client-key-file", show(&clients.key)),
        ("cluster-signing-kube-apiserver-client-cert-file", show(&clients.cert)),
        ("cluster-signing-kube-apiserver-client-key-file", show(&clients.key)),
        ("volume-helper-image", containerd::PAUSE_IMAGE.into()),
    ]);
    arguments.push("--leader-elect=true".into());
    table.ours(None, "controller-manager", server, arguments);
}

fn workers(cluster: &Cluster, node: &Node, table: &mut Table<'_>) {
    let server = Awaited::Tcp(SocketAddrV4::new(cluster.ranges.control_plane(), 6443));
    let config = flags([("config", show(containerd::config_path(node)))]);
    table.add(Some(node), "containerd".into(), Vec::new(), config);

    let serving = pki::pair(cluster, &format!("{}-server", pki::kubelet(node)));
    let address = node.address.to_string();
    let arguments = flags([
        ("hostname-override", node.name.clone()),
        ("node-ip", address.clone()),
        ("kubeconfig", show(cluster.kubeconfig_of(&pki::kubelet(node)))),
        ("root-dir", show(node.kubelet_dir())),
        ("pod-manifest-path", show(node.manifests_dir())),
        ("pod-log-dir", show(node.dir.join("logs/pods"))),
        ("container-runtime-endpoint", format!("unix://{}", node.socket().display())),
        ("client-ca-file", show(pki::pair(cluster, pki::CLIENT_CA).cert)),
        ("tls-cert-file", show(serving.cert)),
        ("tls-private-key-file", show(serving.key)),
        ("address", address.clone()),
        ("port", "10250".into()),
        ("cluster-dns", cluster.ranges.dns().to_string()),
        ("cluster-domain", "cluster.local".into()),
        ("cluster-cidr", cluster.ranges.pods.to_string()),
        ("load-balancer-ip-range", cluster.ranges.load_balancers().to_string()),
        ("cgroup-root", node.cgroup.clone()),
        ("cni-conf-dir", show(containerd::cni_conf_dir(node))),
        ("resolv-conf", show(cluster.resolver.clone())),
        // The disk is the machine's, and images that were loaded by hand come from nowhere again.
        ("image-gc-high-threshold", "100".into()),
    ]);
    // Whose pods are the control plane cannot wait for it.
    let apart = (node.netns != cluster.control_plane_netns()).then(|| server.clone());
    let after = std::iter::once(Awaited::Unix(node.socket())).chain(apart);
    table.ours(Some(node), "kubelet", after.collect(), arguments);
    let arguments = flags([
        ("hostname-override", node.name.clone()),
        ("node-ip", address.clone()),
        ("kubeconfig", show(cluster.kubeconfig_of("proxy"))),
        ("cluster-cidr", cluster.ranges.pods.to_string()),
        ("healthz-bind-address", format!("{address}:10256")),
        ("metrics-bind-address", "127.0.0.1:10249".into()),
    ]);
    table.ours(Some(node), "proxy", vec![server], arguments);
}

#[cfg(test)]
mod tests;
