//! Leader election by a Lease: of several instances of a daemon one works.
//!
//! A leader that cannot renew in time stops its process, and writes nothing more: one that was held up, by its machine
//! or a signal, learns too late that another may lead. One that stops in order gives the lease back after its tasks have
//! ended. Times of others' clocks are never compared: a lease is expired when it has not changed for its duration as
//! seen from here. Upstream counterpart: client-go's `tools/leaderelection`.

use api::{Message, message};
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::client::Body;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;
use tower::BoxError;

use crate::backoff::Backoff;
use crate::logging::chain;
use crate::tasks::Tasks;

/// Which lease to hold, as whom, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderConfig {
    /// Namespace of the lease.
    pub namespace: String,
    /// Name of the lease, usually the daemon's.
    pub name: String,
    /// Who holds it: different for each process.
    pub identity: String,
    /// How long others wait for a leader that is silent.
    pub lease_duration: Duration,
    /// How long the leader tries to renew before it gives up.
    pub renew_deadline: Duration,
    /// Pause between tries.
    pub retry_period: Duration,
}

impl LeaderConfig {
    /// Kubernetes' own times, for a lease in `kube-system`.
    pub fn new(name: &str) -> Self {
        Self {
            namespace: "kube-system".to_owned(),
            name: name.to_owned(),
            identity: Process::current().identity(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// How long a leader may be silent beyond its lease before it counts as ill: long enough for one that
/// cannot renew to have stopped by itself.
const TOLERANCE: Duration = Duration::from_secs(20);

/// The part that a process has in an election. Clones share it.
#[derive(Debug, Clone)]
pub struct Leadership {
    config: LeaderConfig,
    /// When the lease was last renewed, if this process leads.
    renewed: Arc<Mutex<Option<Instant>>>,
}

impl Leadership {
    /// Not elected yet.
    pub fn new(config: LeaderConfig) -> Self {
        Self { config, renewed: Arc::default() }
    }

    /// The health check `leaderElection`: fails in a process that still takes itself for the leader long after
    /// its lease has run out. One that waits for its turn is well.
    pub fn check(&self) -> Result<(), Message> {
        self.check_at(Instant::now())
    }

    fn check_at(&self, now: Instant) -> Result<(), Message> {
        let renewed = *self.renewed.lock();
        match renewed {
            Some(at) if now.duration_since(at) > self.config.lease_duration + TOLERANCE => {
                Err(message!("failed election to renew leadership on lease {}", self.config.name))
            }
            _ => Ok(()),
        }
    }

    /// Whether nobody else can lead.
    fn is_sure(&self) -> bool {
        self.renewed.lock().is_some_and(|at| at.elapsed() < self.config.renew_deadline)
    }

    /// A client that only reads (by GET) while this process is not sure to lead.
    #[must_use]
    pub fn fenced(&self, client: kube::Client) -> kube::Client {
        let (leadership, namespace) = (self.clone(), client.default_namespace().to_owned());
        let fence = tower::service_fn(move |request: Request<Body>| {
            let refused = request.method() != Method::GET && !leadership.is_sure();
            let client = client.clone();
            async move {
                if refused {
                    return Err(BoxError::from("the lease may be another's by now"));
                }
                client.send(request).await.map_err(BoxError::from)
            }
        });
        kube::Client::new(fence, namespace)
    }

    /// Says in a registry whether this process leads, under upstream's name.
    #[must_use]
    pub fn told_to(self, registry: &mut Registry) -> Self {
        registry.register_collector(Box::new(self.clone()));
        self
    }

    /// Waits to become the leader; from then on holds the lease until the process stops, and
    /// stops the process if it cannot. Returns false if the process is to stop before that.
    pub async fn lead(&self, client: kube::Client, tasks: &Tasks) -> bool {
        let mut election = Election::new(client, self.clone());
        let stop = tasks.token();
        if stop.run_until_cancelled(election.acquire()).await.is_none() {
            return false;
        }
        let held = Arc::new(tokio::sync::Mutex::new(election));
        let holder = Arc::clone(&held);
        tasks.spawn_loop("leader election", async move { holder.lock().await.hold().await });
        tasks.at_end("leader election", async move { held.lock().await.release().await });
        true
    }

    /// Works whenever this process leads, for a daemon that has other things to do besides: where the lease is lost the
    /// work is cut off, and begun anew with the next one. Ends when the process is to stop.
    pub async fn lead_at_times<W: Future>(self, client: kube::Client, tasks: &Tasks, work: impl Fn() -> W) {
        let mut election = Election::new(client, self);
        let leading = async {
            loop {
                election.acquire().await;
                tokio::select! {
                    lost = election.hold() => tracing::warn!(?lost, "No longer leading"),
                    _ = work() => {}
                }
            }
        };
        tasks.token().run_until_cancelled(leading).await;
        election.release().await;
    }
}

impl Collector for Leadership {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let help = "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 \
            indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.";
        let name = "leader_election_master_status";
        let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, MetricType::Gauge)?;
        let leads = i64::from(self.renewed.lock().is_some());
        ConstGauge::new(leads).encode(family.encode_family(&[("name", self.config.name.as_str())])?)
    }
}

/// What to do about the lease.
#[derive(Debug, Clone, PartialEq)]
enum Decision {
    /// Write this.
    Write(LeaseSpec),
    /// Somebody else leads.
    Wait,
}

/// The lease as last seen, and since when it has looked like that.
#[derive(Debug, Clone)]
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

struct Election {
    api: Api<Lease>,
    config: LeaderConfig,
    observed: Option<Observed>,
    /// When the lease was last renewed, while it is ours.
    renewed: Arc<Mutex<Option<Instant>>>,
}

impl Election {
    fn new(client: kube::Client, leadership: Leadership) -> Self {
        let Leadership { config, renewed } = leadership;
        Self { api: Api::namespaced(client, &config.namespace), config, observed: None, renewed }
    }

    fn leading(&self) -> bool {
        self.renewed.lock().is_some()
    }

    fn set_renewed(&self, at: Option<Instant>) {
        *self.renewed.lock() = at;
    }

    async fn acquire(&mut self) {
        tracing::info!(lease = self.config.name, "Attempting to acquire leader lease");
        let mut backoff = Backoff::new(Duration::from_millis(100), self.config.retry_period);
        let began = loop {
            let began = Instant::now();
            let pause = match self.try_once().await {
                Ok(true) => break began,
                Ok(false) => self.config.retry_period,
                Err(error) => {
                    tracing::debug!(error = chain(&error), "Cannot ask for the lease");
                    backoff.pause()
                }
            };
            tokio::time::sleep(pause).await;
        };
        self.set_renewed(Some(began));
        tracing::info!(lease = self.config.name, identity = self.config.identity, "Leading");
    }

    /// Renews until that fails for too long.
    async fn hold(&mut self) -> anyhow::Result<()> {
        let mut renewed = self.renewed.lock().unwrap_or_else(Instant::now);
        loop {
            tokio::time::sleep(self.config.retry_period).await;
            let began = Instant::now();
            let left = self.config.renew_deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_once()).await {
                Ok(Ok(true)) => {
                    // Others count from when they see it, which is later.
                    renewed = began;
                    self.set_renewed(Some(renewed));
                }
                Ok(Ok(false)) => {
                    self.set_renewed(None);
                    anyhow::bail!("another instance leads");
                }
                Ok(Err(error)) => tracing::warn!(error = chain(&error), "Cannot renew the lease"),
                Err(_) => {
                    self.set_renewed(None);
                    anyhow::bail!("could not renew the lease in time");
                }
            }
        }
    }

    /// Takes or renews the lease if it may be; says whether it is ours now.
    async fn try_once(&mut self) -> Result<bool, kube::Error> {
        let lease = self.api.get_opt(&self.config.name).await?;
        let found = lease.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        self.observe(found);
        let gone = self.holder_is_gone();
        let decision =
            decide(&self.config, self.observed.as_ref(), gone, Instant::now(), crate::clock::now());
        let Decision::Write(spec) = decision else { return Ok(false) };
        let metadata = lease.as_ref().map_or_else(
            || ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            },
            |lease| lease.metadata.clone(),
        );
        let wanted = Lease { metadata, spec: Some(spec) };
        let written = match lease {
            None => self.api.create(&PostParams::default(), &wanted).await,
            Some(_) => self.api.replace(&self.config.name, &PostParams::default(), &wanted).await,
        };
        match written {
            Ok(lease) => {
                self.observe(lease.spec.unwrap_or_default());
                Ok(true)
            }
            // Somebody was quicker: look again before saying that the lease is lost.
            Err(kube::Error::Api(status)) if status.code == 409 && !self.leading() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, spec: LeaseSpec) {
        if self.observed.as_ref().is_none_or(|seen| seen.spec != spec) {
            self.observed = Some(Observed { spec, since: Instant::now() });
        }
    }

    fn holder_is_gone(&self) -> bool {
        let holder = self.observed.as_ref().and_then(|seen| seen.spec.holder_identity.as_deref());
        holder.and_then(Process::from_identity).is_some_and(|process| process.is_gone())
    }

    /// Gives the lease back, so that another instance need not wait for its end.
    async fn release(&mut self) {
        if !self.leading() {
            return;
        }
        self.set_renewed(None);
        let released = async {
            let Some(mut lease) = self.api.get_opt(&self.config.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.config.identity) {
                return Ok(());
            }
            let now = Some(MicroTime(crate::clock::now()));
            *spec = LeaseSpec {
                holder_identity: Some(String::new()),
                lease_duration_seconds: Some(1),
                acquire_time: now.clone(),
                renew_time: now,
                lease_transitions: spec.lease_transitions,
                ..LeaseSpec::default()
            };
            self.api.replace(&self.config.name, &PostParams::default(), &lease).await.map(drop)
        };
        let released: Result<(), kube::Error> = released.await;
        match released {
            Ok(()) => tracing::info!(lease = self.config.name, "Released the lease"),
            Err(error) => tracing::warn!(error = chain(&error), "Cannot release the lease"),
        }
    }
}

/// Whether to take or renew the lease as it was observed.
fn decide(
    config: &LeaderConfig,
    observed: Option<&Observed>,
    holder_is_gone: bool,
    now: Instant,
    wall_clock: Timestamp,
) -> Decision {
    let duration = i32::try_from(config.lease_duration.as_secs()).unwrap_or(i32::MAX);
    let mut spec = LeaseSpec {
        holder_identity: Some(config.identity.clone()),
        lease_duration_seconds: Some(duration),
        acquire_time: Some(MicroTime(wall_clock)),
        renew_time: Some(MicroTime(wall_clock)),
        lease_transitions: Some(0),
        ..LeaseSpec::default()
    };
    let Some(Observed { spec: old, since }) = observed else { return Decision::Write(spec) };
    let holder = old.holder_identity.as_deref().unwrap_or_default();
    let transitions = old.lease_transitions.unwrap_or(0);
    if holder == config.identity {
        spec.acquire_time.clone_from(&old.acquire_time);
        spec.lease_transitions = Some(transitions);
        return Decision::Write(spec);
    }
    let theirs = old.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let patience = theirs.map_or(config.lease_duration, Duration::from_secs);
    if !holder.is_empty() && !holder_is_gone && now < *since + patience {
        return Decision::Wait;
    }
    let never_held = holder.is_empty() && old.renew_time.is_none();
    spec.lease_transitions = Some(if never_held { transitions } else { transitions.saturating_add(1) });
    Decision::Write(spec)
}

/// A process, named so that another process on the same machine can tell whether it still
/// runs: a daemon that was killed and started again need not wait for its own old lease.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    host: String,
    /// Start of the machine and process id namespace: where `pid` means something.
    machine: String,
    pid: u32,
    started: String,
}

impl Process {
    fn current() -> Self {
        let pid = std::process::id();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let started = started(pid).unwrap_or_default();
        Self { host: host.trim().to_owned(), machine: machine(), pid, started }
    }

    fn identity(&self) -> String {
        format!("{}_{}-{}-{}", self.host, self.machine, self.pid, self.started)
    }

    fn from_identity(identity: &str) -> Option<Self> {
        let (host, rest) = identity.rsplit_once('_')?;
        let (rest, started) = rest.rsplit_once('-')?;
        let (machine, pid) = rest.rsplit_once('-')?;
        Some(Self {
            host: host.to_owned(),
            machine: machine.to_owned(),
            pid: pid.parse().ok()?,
            started: started.to_owned(),
        })
    }

    /// Whether it is certain that the process has ended.
    fn is_gone(&self) -> bool {
        let here = machine();
        !here.is_empty() && self.machine == here && started(self.pid).as_deref() != Some(&self.started)
    }
}

fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => {
            let digits = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
            let namespace = namespace.to_string_lossy().replace("pid", "");
            format!("{}.{}", digits(&boot), digits(&namespace))
        }
        _ => String::new(),
    }
}

/// When a process started, in ticks since the machine did; none if there is no such process.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The fields after the name are those from the third on; a zombie works no more.
    (fields.first() != Some(&"Z")).then(|| fields.get(22 - 3).map(|&ticks| ticks.to_owned()))?
}

#[cfg(test)]
mod tests;
