//! The kubelet's own certificates: asked for by CertificateSigningRequests, kept in files, and asked for again before they
//! run out. Clients and servers look at the files themselves, so nobody is told. Upstream: `pkg/kubelet/certificate` and
//! client-go's `util/certificate`.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::Context as _;
use base64::Engine as _;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::config::Kubeconfig;
use machinery::backoff::Backoff;
use machinery::clock::Clock;
use machinery::metrics::Registry;
use machinery::pki::{self, IssueRequest, Key, PkiError};
use machinery::tasks::Tasks;
use machinery::tls::{self, TlsError, TlsSource};
use machinery::{client, files};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::{MetricType, counter::Counter, gauge::ConstGauge, histogram::Histogram};
use serde_json::json;
use sha2::{Digest as _, Sha512_256};

use crate::args::Config;

/// How often a request is looked at, and when it is given up.
const LOOK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Pauses between requests.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// Somebody may set the time of day, and a machine that sleeps does not count.
const NAP: Duration = Duration::from_secs(3600);

/// Why there is no new certificate.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("cannot ask for a certificate")]
    Api(#[from] kube::Error),
    #[error("cannot make a request for a certificate")]
    Request(#[from] PkiError),
    #[error("certificate signing request {0} is {1}")]
    Refused(String, String),
    #[error("certificate signing request {0} was not answered in time")]
    Unanswered(String),
    #[error("what was issued is of no use")]
    Useless(#[from] TlsError),
    #[error("cannot keep a certificate")]
    File(#[from] io::Error),
}

/// The client of the API server. Without credentials of the node's own it asks for some first; then it sees to it that
/// they, and the server's certificate if that is issued here, are renewed in time.
///
/// # Errors
/// When a kubeconfig cannot be used or written.
pub async fn client(
    config: &Config,
    clock: &Clock,
    tasks: &Tasks,
    metrics: &mut Registry,
) -> anyhow::Result<kube::Client> {
    let own = Certificate::new(config, clock, "client", IssueRequest::client);
    let mut joining = None;
    if let Some(bootstrap) = &config.bootstrap_kubeconfig {
        let by_token = client::connect(bootstrap, "kubelet")?;
        if !client::certificate(&config.kubeconfig).is_some_and(|known| is_good(&known, clock.now())) {
            own.bootstrap(&by_token).await;
            let content = kubeconfig(bootstrap, &own.file())?;
            files::replace_durably(&config.kubeconfig, content.as_bytes(), 0o600)
                .with_context(|| format!("cannot write {}", config.kubeconfig.display()))?;
        }
        joining = Some(by_token);
    }
    let rotated = config.rotate_certificates.then(|| own.file());
    let client = client::connect_as(&config.kubeconfig, rotated.as_deref(), "kubelet")?;
    if rotated.is_some() {
        let own = Certificate { before: Some(config.kubeconfig.clone()), ..own };
        metrics.register_collector(Box::new(own.clone()));
        tasks.spawn_loop("client certificate", own.keep(client.clone(), joining));
    }
    if matches!(config.tls, TlsSource::Awaited(_)) {
        let names = |user: &str, groups: &[&str]| IssueRequest {
            dns: vec![config.node.clone()],
            ips: vec![config.node_ip],
            ..IssueRequest::client(user, groups)
        };
        let own = Certificate::new(config, clock, "server", names);
        metrics.register_collector(Box::new(own.clone()));
        metrics.register(
            "kubelet_certificate_manager_server_rotation_seconds",
            "Histogram of the number of seconds the previous certificate lived before being rotated.",
            own.ages.clone(),
        );
        tasks.spawn_loop("serving certificate", own.keep(client.clone(), None));
    }
    Ok(client)
}

/// The file of the latest certificate of a kind, followed by its key: a link to the one that was written then.
pub fn current(folder: &Path, kind: &str) -> PathBuf {
    folder.join(format!("kubelet-{kind}-current.pem"))
}

/// One of the kubelet's certificates.
#[derive(Debug, Clone)]
struct Certificate {
    /// `client` or `server`.
    kind: &'static str,
    names: IssueRequest,
    folder: PathBuf,
    clock: Clock,
    /// The kubeconfig whose certificate it is as long as there is no file.
    before: Option<PathBuf>,
    /// How often it could not be renewed.
    errors: Counter,
    /// How many seconds those lived that were replaced.
    ages: Histogram,
}

/// From a minute to four years.
const AGES: [f64; 10] =
    [60., 3600., 14400., 86400., 604800., 2592000., 7776000., 15552000., 31104000., 124416000.];
const CLIENT_TTL: &str = "Gauge of the TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds \
    until certificate expiry (negative if already expired). If client certificate is invalid or unused, the value will \
    be +INF..";
const SERVER_TTL: &str = "Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate. The value is \
    in seconds until certificate expiry (negative if already expired). If serving certificate is invalid or unused, \
    the value will be +INF..";

/// How long it holds, and how often it could not be renewed, under upstream's names.
impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (ttl, errors) = match self.kind {
            "client" => (CLIENT_TTL, "kubelet_certificate_manager_client_expiration_renew_errors"),
            _ => (SERVER_TTL, "kubelet_server_expiration_renew_errors"),
        };
        let end = self.known().as_deref().and_then(pki::validity).map(|(_, end)| end);
        let left = end.map(|end| end.duration_since(self.clock.now()).as_secs() as f64);
        let name = format!("kubelet_certificate_manager_{}_ttl_seconds", self.kind);
        let ttl = encoder.encode_descriptor(&name, ttl, None, MetricType::Gauge)?;
        ConstGauge::new(left.unwrap_or(f64::INFINITY)).encode(ttl)?;
        let help = "Counter of certificate renewal errors..";
        let failed = encoder.encode_descriptor(errors, help, None, MetricType::Counter)?;
        ConstGauge::new(self.errors.get() as i64).encode(failed)
    }
}

impl Certificate {
    fn new(
        config: &Config,
        clock: &Clock,
        kind: &'static str,
        names: impl Fn(&str, &[&str]) -> IssueRequest,
    ) -> Self {
        let names = names(&format!("system:node:{}", config.node), &["system:nodes"]);
        Self {
            kind,
            names,
            folder: config.cert_dir.clone(),
            clock: clock.clone(),
            before: None,
            errors: Counter::default(),
            ages: Histogram::new(AGES),
        }
    }

    fn file(&self) -> PathBuf {
        current(&self.folder, self.kind)
    }

    fn known(&self) -> Option<Vec<u8>> {
        fs::read(self.file()).ok().or_else(|| client::certificate(self.before.as_deref()?))
    }

    /// Asks for the first one, as long as it takes. Who starts again meanwhile has the same key, and asks for nothing twice.
    async fn bootstrap(&self, client: &kube::Client) {
        let draft = self.folder.join(format!("kubelet-{}.key.tmp", self.kind));
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let ask = async || {
            let kept = fs::read_to_string(&draft).ok().and_then(|pem| Key::read(&pem).ok());
            let key = match kept {
                Some(key) => key,
                None => {
                    let key = Key::generate()?;
                    fs::create_dir_all(&self.folder)?;
                    files::replace_durably(&draft, key.pem().as_bytes(), 0o600)?;
                    key
                }
            };
            let digest = Sha512_256::digest([&key.public(), self.names.common_name.as_bytes()].concat());
            let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
            let name = Some(format!("node-csr-{digest}"));
            self.obtain(client, &key, ObjectMeta { name, ..ObjectMeta::default() }).await?;
            Ok::<_, CertificateError>(fs::remove_file(&draft)?)
        };
        while let Err(error) = ask().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "Cannot join the cluster yet");
            tokio::time::sleep(backoff.pause()).await;
        }
    }

    /// Sees to it that there is a good one. Who has none that is good asks as one who joins, if that is possible.
    async fn keep(self, client: kube::Client, joining: Option<kube::Client>) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut draw = rand::random();
        loop {
            let (now, known) = (self.clock.now(), self.known());
            let due = known.as_deref().and_then(|known| rotation(known, &self.names, draw));
            let left =
                due.and_then(|due| Duration::try_from(due.duration_since(now)).ok()).unwrap_or_default();
            if !left.is_zero() {
                backoff.reset();
                self.clock.sleep_until(self.clock.instant() + left.min(NAP)).await;
                continue;
            }
            let life = known.as_deref().and_then(pki::validity);
            let is_good = life.is_some_and(|(_, end)| now < end);
            let asking = joining.as_ref().filter(|_| !is_good).unwrap_or(&client);
            match self.renew(asking).await {
                Ok(()) => {
                    draw = rand::random();
                    let age = life.map(|(from, _)| self.clock.now().duration_since(from));
                    age.into_iter().for_each(|age| self.ages.observe(age.as_secs_f64()));
                }
                Err(error) => {
                    self.errors.inc();
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, kind = self.kind, "Cannot renew a certificate");
                }
            }
            // Also one that is due as soon as it comes is not asked for all the time.
            self.clock.sleep_until(self.clock.instant() + backoff.pause()).await;
        }
    }

    async fn renew(&self, client: &kube::Client) -> Result<(), CertificateError> {
        let generate_name = Some("csr-".to_owned());
        self.obtain(client, &Key::generate()?, ObjectMeta { generate_name, ..ObjectMeta::default() }).await
    }

    /// Asks for a certificate of a key, waits for it, and keeps both.
    async fn obtain(
        &self,
        client: &kube::Client,
        key: &Key,
        metadata: ObjectMeta,
    ) -> Result<(), CertificateError> {
        let requests: Api<CertificateSigningRequest> = Api::all(client.clone());
        let signer = if self.kind == "client" { "kube-apiserver-client-kubelet" } else { "kubelet-serving" };
        let request = CertificateSigningRequest {
            spec: CertificateSigningRequestSpec {
                request: ByteString(key.request(&self.names)?.into_bytes()),
                signer_name: format!("kubernetes.io/{signer}"),
                usages: Some(vec!["digital signature".to_owned(), format!("{} auth", self.kind)]),
                ..CertificateSigningRequestSpec::default()
            },
            metadata,
            status: None,
        };
        let name = match requests.create(&PostParams::default(), &request).await {
            Err(kube::Error::Api(status)) if status.is_already_exists() => request.metadata.name,
            made => made?.metadata.name,
        };
        let name = name.unwrap_or_default();
        tracing::info!(name, kind = self.kind, "Waiting for a certificate to be issued");
        let issued = tokio::time::timeout(PATIENCE, issued(&requests, &name)).await;
        let mut content = issued.map_err(|_| CertificateError::Unanswered(name))??;
        tls::certified_key(&content, key.pem().as_bytes())?;
        content.extend(key.pem().into_bytes());
        self.keep_file(&content).map_err(CertificateError::File)
    }

    fn keep_file(&self, content: &[u8]) -> io::Result<()> {
        let link = self.folder.join(format!("kubelet-{}-updated.pem", self.kind));
        let at = self.clock.now().strftime("%Y-%m-%d-%H-%M-%S");
        let file = self.folder.join(format!("kubelet-{}-{at}.pem", self.kind));
        fs::create_dir_all(&self.folder)?;
        files::replace_durably(&file, content, 0o600)?;
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::os::unix::fs::symlink(file, &link)?,
        }
        fs::rename(&link, self.file())
    }
}

/// Waits for the answer to a request.
async fn issued(requests: &Api<CertificateSigningRequest>, name: &str) -> Result<Vec<u8>, CertificateError> {
    loop {
        let status = requests.get(name).await?.status.unwrap_or_default();
        for condition in status.conditions.into_iter().flatten() {
            if matches!(condition.type_.as_str(), "Denied" | "Failed") {
                let (reason, message) = (condition.reason, condition.message);
                let why = [Some(condition.type_), reason, message].into_iter().flatten().collect::<Vec<_>>();
                return Err(CertificateError::Refused(name.to_owned(), why.join(": ")));
            }
        }
        if let Some(certificate) = status.certificate.filter(|certificate| !certificate.0.is_empty()) {
            return Ok(certificate.0);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_good(certificate: &[u8], now: Timestamp) -> bool {
    pki::validity(certificate).is_some_and(|(_, end)| now < end)
}

/// When a certificate is to be replaced: at a point between 70 % and 90 % of its life that is drawn (from 0 to 1), so that
/// nodes that were made together do not ask together; at once, if it does not say what it should.
fn rotation(certificate: &[u8], names: &IssueRequest, draw: f64) -> Option<Timestamp> {
    names.is_met_by(certificate).then(|| pki::at_share(certificate, 0.7 + 0.2 * draw)).flatten()
}

/// The kubeconfig that shows the certificate in a file to the API server of another one.
fn kubeconfig(bootstrap: &Path, own: &Path) -> anyhow::Result<String> {
    let read = Kubeconfig::read_from(bootstrap)?;
    let current = read.contexts.iter().find(|context| Some(&context.name) == read.current_context.as_ref());
    let named = current.and_then(|context| Some(&context.context.as_ref()?.cluster));
    let cluster = read.clusters.iter().find(|cluster| Some(&cluster.name) == named);
    let context = json!({"cluster": "default-cluster", "user": "default-auth", "namespace": "default"});
    let file = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default-cluster", "cluster": cluster.map(|cluster| &cluster.cluster)}],
        "users": [{"name": "default-auth", "user": {"client-certificate": own, "client-key": own}}],
        "contexts": [{"name": "default-context", "context": context}],
        "current-context": "default-context",
    });
    Ok(serde_yaml_ng::to_string(&file)?)
}

#[cfg(test)]
mod tests;
