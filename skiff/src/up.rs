//! `skiff up`: from a name to a cluster whose nodes are Ready.
//!
//! Everything is checked before anything is touched. Each step makes what is
//! missing and keeps what is there, so that `up` also repairs a cluster that was
//! killed, or whose machine was started again.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Node as ApiNode;
use kube::Api;
use tokio_util::sync::CancellationToken;

use crate::addons::{self, Addon, State};
use crate::args::{self, UpArgs};
use crate::cluster::{self, Cluster, ControlPlane, DEFAULT_NAME, DEFAULT_ROOT, Node, Store};
use crate::daemons::Daemon;
use crate::progress::Progress;
use crate::ranges::Ranges;
use crate::{
    containerd, daemons, files, firewall, image, kubeconfig, load, machine, network, nodes, pki, processes,
    registration, static_pods, status, supervisor,
};

/// How long a cluster may take to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long what runs in the cluster may take to work before `up` goes on without it.
const ADDON_PATIENCE: Duration = Duration::from_secs(30);
/// How often `up` looks at what it waits for.
const LOOK: Duration = Duration::from_millis(25);

/// A daemon that has ended this often while `up` waited will do so again.
const HOPELESS: u32 = 5;
/// A kubelet gives a container longer pauses.
const HOPELESS_IN_POD: u32 = 2;
/// As much of the end of a log is looked at.
const LAST_WORDS: u64 = 4096;

/// How long somebody else's etcd may take to answer.
const ETCD_PATIENCE: Duration = Duration::from_secs(2);

/// The cluster that the flags ask for, given the one that is there.
fn describe(
    flags: &UpArgs,
    dir: PathBuf,
    present: Option<Cluster>,
    kubeconfig: PathBuf,
    bin_dir: PathBuf,
    ranges: impl FnOnce() -> Result<Ranges>,
) -> Result<Cluster> {
    let store = flags.store.clone().or_else(|| flags.etcd.clone());
    let Some(mut cluster) = present else {
        return Ok(Cluster {
            name: flags.cluster.name.clone(),
            dir,
            nodes: flags.nodes.unwrap_or(1),
            store: store.unwrap_or(Store::Etcd),
            control_plane: flags.control_plane.unwrap_or_default(),
            ranges: ranges()?,
            outbound: !flags.no_outbound.unwrap_or_default(),
            registries: flags.registry.clone(),
            bin_dir,
            kubeconfig,
            snapshotter: String::new(),
            verbosity: flags.verbosity.unwrap_or(2),
            resolver: machine::resolver(),
            addons: addons::names()
                .into_iter()
                .filter(|name| !flags.without.iter().any(|without| without == name))
                .map(String::from)
                .collect(),
            addons_made: false,
            arguments: flags.arguments(),
        });
    };
    let name = &cluster.name;
    if let Some(nodes) = flags.nodes.filter(|nodes| *nodes != cluster.nodes) {
        bail!(
            "the cluster {name} has {} node(s), not {nodes}: take it down first, or leave --nodes out",
            cluster.nodes
        );
    }
    if store.is_some_and(|store| store != cluster.store) {
        bail!(
            "the cluster {name} keeps its objects in another store: take it down first, or leave --store out"
        );
    }
    if flags.control_plane.is_some_and(|how| how != cluster.control_plane) {
        bail!(
            "the control plane of the cluster {name} runs in another way: take it down first, or leave --control-plane out"
        );
    }
    if let Some(addon) = flags.without.iter().find(|name| cluster.addons.contains(name)) {
        bail!(
            "the cluster {name} has {addon} already: delete its objects with kubectl, or leave --without out"
        );
    }
    for registry in &flags.registry {
        cluster.registries.retain(|known| known.host != registry.host);
        cluster.registries.push(registry.clone());
    }
    if flags.kubeconfig.is_some() {
        cluster.kubeconfig = kubeconfig;
    }
    cluster.outbound = flags.no_outbound.map_or(cluster.outbound, |without| !without);
    cluster.verbosity = flags.verbosity.unwrap_or(cluster.verbosity);
    cluster.arguments.extend(flags.arguments());
    cluster.bin_dir = bin_dir;
    cluster.resolver = machine::resolver();
    Ok(cluster)
}

/// Whether an etcd is at the other end.
fn is_etcd(mut stream: TcpStream, host: &str) -> std::io::Result<bool> {
    stream.set_read_timeout(Some(ETCD_PATIENCE))?;
    stream.set_write_timeout(Some(ETCD_PATIENCE))?;
    // In one piece: whoever answers before all of it has come may close the connection on the rest.
    stream.write_all(format!("GET /version HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer.contains("etcdserver"))
}

/// Fails if an etcd that is not ours does not answer.
fn check_etcd(store: &Store) -> Result<()> {
    let Store::ExternalEtcd(urls) = store else { return Ok(()) };
    let answers = |url: &String| {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let host = rest.trim_end_matches('/');
        let addresses = host.to_socket_addrs().into_iter().flatten();
        addresses.into_iter().any(|address| {
            let stream = TcpStream::connect_timeout(&address, ETCD_PATIENCE);
            // What speaks TLS is only known to be there.
            stream.is_ok_and(|stream| scheme == "https" || is_etcd(stream, host).unwrap_or(false))
        })
    };
    if !urls.iter().any(answers) {
        bail!("no etcd answers at {}", urls.join(", "));
    }
    Ok(())
}

/// Fails if objects cannot be kept in the file that the flags name.
fn check_file(store: &Store) -> Result<()> {
    let Store::File(Some(path)) = store else { return Ok(()) };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let words = || format!("cannot keep objects in {}", path.display());
    files::make_dir(folder).with_context(words)?;
    anyhow::ensure!(!path.exists() || path.is_file(), "{}: it is no file", words());
    tempfile::tempfile_in(folder).map(drop).with_context(words)
}

/// Chooses addresses for a new cluster; fails if another one keeps its objects in the same place.
fn choose_ranges(name: &str, root: &Path, store: &Store) -> Result<Ranges> {
    let mut taken = network::routed_ranges()?;
    for other in registration::known(root).iter().filter(|other| other.name != name) {
        let own = matches!(store, Store::Etcd | Store::File(None) | Store::Memory);
        anyhow::ensure!(own || other.store != *store, "the cluster {} keeps its objects there", other.name);
        taken.extend([other.ranges.nodes, other.ranges.pods, other.ranges.services]);
    }
    Ranges::choose(u8::from(name != DEFAULT_NAME), &taken)
}

/// Checks everything and reserves name and addresses.
fn prepare(flags: &UpArgs) -> Result<Cluster> {
    let name = &flags.cluster.name;
    cluster::check_name(name)?;
    let dir = flags.cluster.dir();
    cluster::check_dir(&dir, name)?;
    let present = Cluster::load(&dir)?;
    let store =
        flags.store.as_ref().or(flags.etcd.as_ref()).or(present.as_ref().map(|cluster| &cluster.store));
    let store = store.cloned().unwrap_or(Store::Etcd);
    let bin_dir = args::bin_dir()?;
    machine::check(&machine::observe(&bin_dir)?, &store)?;
    check_etcd(&store)?;
    check_file(&store)?;
    flags.image.iter().try_for_each(|archive| image::names_in(archive).map(drop))?;
    let variable = std::env::var("KUBECONFIG").ok();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let kubeconfig = kubeconfig::path(flags.kubeconfig.as_deref(), variable.as_deref(), home.as_deref())?;
    kubeconfig::check(&kubeconfig)?;

    let lock = registration::lock()?;
    let root = dir.parent().unwrap_or(Path::new(DEFAULT_ROOT)).to_path_buf();
    let ranges = || choose_ranges(name, &root, &store);
    let mut cluster = describe(flags, dir.clone(), present.clone(), kubeconfig, bin_dir, ranges)?;
    daemons::check_given(&cluster)?;
    if let Some(present) = present.filter(|present| present.store == Store::Memory) {
        let flags = |cluster| {
            let server = daemons::table(cluster).into_iter().find(|daemon| daemon.name == "apiserver");
            server.map(|server| server.arguments)
        };
        let same = flags(&present) == flags(&cluster);
        anyhow::ensure!(
            same || !supervisor::any_runs(&present),
            "the objects of the cluster {name} are in the memory of its API server, which cannot get other flags while it runs"
        );
    }
    registration::register(name, &dir)?;
    files::make_dir(&dir)?;
    if cluster.snapshotter.is_empty() {
        cluster.snapshotter = containerd::choose_snapshotter(&dir)?;
    }
    cluster.save()?;
    if cluster.outbound {
        registration::switch_forwarding_on(&lock)?;
    }
    Ok(cluster)
}

/// Does independent things at the same time and returns the first failure.
fn together(jobs: &[&(dyn Fn() -> Result<()> + Sync)]) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(job)).collect();
        let results: Vec<Result<()>> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        results.into_iter().collect()
    })
}

async fn until<F: Future<Output = Option<T>>, T>(mut look: impl FnMut() -> F) -> Option<T> {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.ok()
}

/// Ends when a daemon has ended often enough to show that it never will do.
async fn given_up(cluster: &Cluster) {
    let restarts = |daemon: &Daemon| match daemon.pod {
        Some(_) => static_pods::restarts(cluster, daemon),
        None => supervisor::record_of(cluster, daemon).map_or(0, |record| record.restarts),
    };
    let most = |daemon: &Daemon| if daemon.pod.is_some() { HOPELESS_IN_POD } else { HOPELESS };
    let table = daemons::table(cluster);
    let before: Vec<u32> = table.iter().map(restarts).collect();
    while table.iter().zip(&before).all(|(daemon, before)| restarts(daemon) < before + most(daemon)) {
        tokio::time::sleep(10 * LOOK).await;
    }
}

/// The last thing that a daemon has said: one line, or how its end came about.
fn last_words(log: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(LAST_WORDS);
        file.seek(SeekFrom::Start(start))?;
        let mut end = Vec::new();
        file.take(LAST_WORDS).read_to_end(&mut end)?;
        std::io::Result::Ok(end)
    };
    // A daemon that could not be started has no log.
    let end = read().unwrap_or_default();
    let end = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = end.lines().filter(|line| !line.trim().is_empty()).collect();
    let is_error = |line: &&str| ["Error: ", "error: "].iter().any(|word| line.starts_with(word));
    let ended = lines.iter().rposition(|line| is_error(line) || line.contains(" F Error: "));
    let last = &lines[ended.unwrap_or(lines.len().saturating_sub(1))..];
    last.iter().map(|line| format!("\n      {line}")).collect()
}

fn waited(what: &str) -> String {
    format!("{what} within {} s", PATIENCE.as_secs())
}

/// Says what the daemons did while `up` waited in vain.
fn complaint(cluster: &Cluster, what: &str) -> anyhow::Error {
    let mut lines = vec![what.to_owned()];
    for daemon in daemons::table(cluster) {
        let record = supervisor::record_of(cluster, &daemon);
        let state = match &record {
            Some(record) if !processes::runs(record.process) => "does not run".to_owned(),
            Some(record) if record.restarts > 0 => format!("was started again {} times", record.restarts),
            Some(_) => continue,
            None => "was not started".to_owned(),
        };
        let words = last_words(&static_pods::log(cluster, &daemon).unwrap_or_else(|| daemon.log.clone()));
        lines.push(format!("  - {0} {state}: skiff logs {0} --name {1}{words}", daemon.name, cluster.name));
    }
    lines.push(format!("the cluster stays as it is; `skiff down --name {}` removes it", cluster.name));
    anyhow::anyhow!(lines.join("\n"))
}

/// Whether the API says Ready, and the kubelet that runs now has said so itself:
/// after a crash the API still holds what an earlier one said.
fn is_ready(node: &ApiNode, kubelet_since: jiff::Timestamp) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
    ready.is_some_and(|ready| {
        let heard = ready.last_heartbeat_time.as_ref().map(|time| time.0.as_second());
        ready.status == "True" && heard.is_some_and(|heard| heard >= kubelet_since.as_second())
    })
}

async fn wait_for_nodes(cluster: &Cluster, client: &kube::Client) -> Result<()> {
    let api: Api<ApiNode> = Api::all(client.clone());
    let kubelets: Vec<(Node, Daemon)> = cluster
        .all_nodes()
        .into_iter()
        .filter_map(|node| {
            let name = format!("{}/kubelet", node.name);
            Some((node, daemons::table(cluster).into_iter().find(|daemon| daemon.name == name)?))
        })
        .collect();
    for (node, kubelet) in &kubelets {
        let ready = until(|| async {
            let since = supervisor::record_of(cluster, kubelet)?.since;
            // An API server that is just starting may refuse: look again.
            let known = api.get_opt(&node.name).await.ok()??;
            let route = supervisor::pod_route(&cluster.ranges, &known, &[]).ok()??;
            is_ready(&known, since).then_some(route)
        });
        let route = ready
            .await
            .ok_or_else(|| complaint(cluster, &waited(&format!("{} did not become Ready", node.name))))?;
        if let Some(error) = network::ensure_pod_routes(cluster, &mut Vec::new(), &[route]).pop() {
            return Err(error.context("cannot set a route to pods"));
        }
    }
    if cluster.control_plane == ControlPlane::Pods {
        // A kubelet may not say so itself.
        let role = serde_json::json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
        let (first, role) = (cluster.node(0).name, kube::api::Patch::Merge(role));
        let labelled = api.patch(&first, &Default::default(), &role).await;
        labelled.context("cannot say which node has the control plane")?;
    }
    Ok(())
}

async fn wait_for_runtimes(cluster: &Cluster) -> Result<()> {
    for node in cluster.all_nodes() {
        let socket = node.socket();
        let up = until(|| async { tokio::net::UnixStream::connect(&socket).await.ok() });
        up.await.ok_or_else(|| {
            complaint(cluster, &waited(&format!("containerd on {} did not come up", node.name)))
        })?;
    }
    Ok(())
}

/// Waits until what runs in static pods does so with the flags of now.
async fn wait_for_pods(cluster: &Cluster, client: &kube::Client) -> Result<()> {
    for daemon in daemons::table(cluster).iter().filter(|daemon| daemon.pod.is_some()) {
        let runs = until(|| async { static_pods::record(cluster, daemon) }).await;
        runs.ok_or_else(|| complaint(cluster, &waited(&format!("{} did not start", daemon.name))))?;
    }
    wait_for_server(cluster, client).await
}

async fn wait_for_server(cluster: &Cluster, client: &kube::Client) -> Result<()> {
    let stop = CancellationToken::new();
    match tokio::time::timeout(PATIENCE, machinery::client::wait_ready(client, &stop)).await {
        Ok(true) => Ok(()),
        _ => Err(complaint(cluster, &waited("the API server did not become ready"))),
    }
}

/// Works on files and images of a cluster while others wait for it.
async fn aside(cluster: &Cluster, work: impl FnOnce(&Cluster) -> Result<()> + Send + 'static) -> Result<()> {
    let cluster = cluster.clone();
    tokio::task::spawn_blocking(move || work(&cluster)).await.context("loading images broke off")?
}

/// Loads the images of a cluster, and makes what it has beyond its daemons: each as soon as its image is there. What was
/// made once is the user's. `ran` says whether it ran before this `up`.
async fn fill(cluster: &Cluster, client: &kube::Client, ran: bool) -> Result<()> {
    wait_for_runtimes(cluster).await?;
    let sandbox = aside(cluster, move |cluster| {
        load::program(cluster, cluster.all_nodes(), "pause", containerd::PAUSE_IMAGE)?;
        static_pods::ensure(cluster, ran)
    });
    let image_of = async |addon: &Addon| match addon.program() {
        Some(program) => {
            let load = |cluster: &Cluster| {
                load::program(cluster, cluster.all_nodes(), program, &image::of_program(program))
            };
            aside(cluster, load).await
        }
        None => Ok(()),
    };
    let mut addons = addons::of(cluster).peekable();
    let first = async { if let Some(first) = addons.peek() { image_of(first).await } else { Ok(()) } };
    // No pod can do without the first; names are waited for.
    tokio::try_join!(sandbox, first)?;
    while let Some(addon) = addons.next() {
        if !cluster.addons_made {
            wait_for_server(cluster, client).await?;
            addon.install(cluster, client).await?;
        }
        if let Some(next) = addons.peek() {
            image_of(next).await?;
        }
    }
    Ok(())
}

/// Brings the cluster up.
pub async fn run(flags: UpArgs) -> Result<()> {
    let progress = Progress::default();
    let step = progress.begin("Check this machine");
    let mut cluster = prepare(&flags)?;
    step.done();

    let step = progress.begin("Certificates, network and files");
    if processes::of(&cluster)?.is_empty() {
        // What the daemons of before were is of no use to the next ones.
        files::remove_tree(&cluster.run_dir())?;
    }
    together(&[
        &|| pki::ensure(&cluster, machinery::clock::now()),
        &|| network::ensure(&cluster),
        &|| nodes::ensure(&cluster),
        &|| firewall::ensure(&cluster),
    ])?;
    kubeconfig::add(&cluster.kubeconfig, &pki::admin(&cluster)?)?;
    step.done();

    let step = progress.begin("Start the daemons");
    let ran = supervisor::any_runs(&cluster);
    supervisor::end_outdated(&cluster)?;
    let began = supervisor::began(&cluster)?;
    supervisor::ensure(&cluster)?;
    let client = machinery::client::connect(&cluster.kubeconfig_of(pki::ADMIN), "skiff")?;
    let started = async {
        let fill = fill(&cluster, &client, ran);
        let wait = async {
            wait_for_server(&cluster, &client).await?;
            step.done();
            let what = match cluster.nodes {
                1 => "Wait for the node".to_owned(),
                count => format!("Wait for {count} nodes"),
            };
            let step = progress.begin(&what);
            wait_for_nodes(&cluster, &client).await?;
            step.done();
            anyhow::Ok(progress.begin("Load images"))
        };
        let done = tokio::try_join!(wait, fill)?;
        wait_for_pods(&cluster, &client).await?;
        anyhow::Ok(done)
    };
    let (step, ()) = tokio::select! {
        started = started => started?,
        () = given_up(&cluster) => return Err(complaint(&cluster, "the daemons do not start")),
    };
    if !cluster.addons_made {
        cluster.addons_made = true;
        cluster.save()?;
    }
    let images = flags.image.clone();
    aside(&cluster, move |cluster| load::into(cluster, &cluster.all_nodes(), &images)).await?;
    step.done();

    if addons::of(&cluster).any(|addon| addon.program().is_some()) {
        let step = progress.begin("Wait for what runs in it");
        wait_for_addons(&cluster, &client, began).await;
        step.done();
    }
    farewell(&cluster, progress.elapsed());
    status::tell_services(&cluster, &client).await;
    Ok(())
}

/// Waits until it works. The cluster is of use without, so it is no failure if not; and the user may have removed it.
async fn wait_for_addons(cluster: &Cluster, client: &kube::Client, began: jiff::Timestamp) {
    let deadline = tokio::time::Instant::now() + ADDON_PATIENCE;
    for addon in addons::of(cluster) {
        loop {
            match addon.state(client, began).await {
                State::Works | State::Removed => break,
                State::Starting if tokio::time::Instant::now() > deadline => {
                    say!(
                        "  {} does not work yet: kubectl get pods --namespace kube-system says why",
                        addon.name
                    );
                    break;
                }
                State::Starting => tokio::time::sleep(LOOK).await,
            }
        }
    }
}

fn farewell(cluster: &Cluster, seconds: f32) {
    let name = if cluster.name == DEFAULT_NAME { String::new() } else { format!(" --name {}", cluster.name) };
    let nodes = if cluster.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", cluster.nodes) };
    say!(
        "Cluster {} is up with {nodes} after {seconds:.1} s. The context {} is in {}.\n\n  kubectl get nodes\n  skiff status{name}\n  skiff down{name}",
        cluster.name,
        cluster.context(),
        cluster.kubeconfig.display(),
    );
    if !cluster.outbound {
        say!("\n{} `skiff up --no-outbound=false{name}` lets them.", status::SHUT_IN);
    }
}

#[cfg(test)]
mod tests;
