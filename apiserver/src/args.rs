//! The command line, and the checked [`Config`] it becomes before anything binds.

mod audit;
mod authentication;
mod runtime_config;
mod service_accounts;
mod store;

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use api::duration;
use clap::Parser;
use ipnet::Ipv4Net;
use machinery::args::CommonArgs;

use audit::AuditArgs;
use authentication::AuthenticationArgs;
use service_accounts::ServiceAccountArgs;
use store::StoreArgs;

pub use crate::admission::Choice;
pub use crate::auth::{authorize::Mode, oidc::Authentication};
use crate::store::{EncryptionConfig, StoreConfig};
pub use audit::{AuditConfig, LogArgs, LogMode};
pub use runtime_config::RuntimeConfig;
pub use service_accounts::{TokenKeys, TokenRules};

/// Skiff's API server.
#[derive(Debug, Parser)]
#[command(name = "apiserver", version = api::VERSION, args_override_self = true)]
pub struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Address to listen on.
    #[arg(long, default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 6443)]
    secure_port: u16,
    /// Address under which members of the cluster reach this server; published as the endpoint of the
    /// `kubernetes` service.
    #[arg(long)]
    advertise_address: Option<IpAddr>,
    /// Serving certificate (PEM); self-signed when absent.
    #[arg(long, requires = "tls_private_key_file")]
    tls_cert_file: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "tls_cert_file")]
    tls_private_key_file: Option<PathBuf>,
    /// Folder where the serving certificate is, or is put, if no file of it is named: `apiserver.crt` and `apiserver.key`.
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Whether this server keeps itself among the endpoints of the `kubernetes` service.
    #[arg(long, value_enum, default_value_t = Endpoints::Lease)]
    endpoint_reconciler_type: Endpoints,
    /// Authorities whose client certificates identify callers.
    #[arg(long)]
    client_ca_file: Option<PathBuf>,
    /// Who decides what callers may do, asked in this order: Node, RBAC, AlwaysAllow or AlwaysDeny.
    #[arg(long, value_delimiter = ',', default_value = "AlwaysAllow")]
    authorization_mode: Vec<Mode>,
    /// Admission plugins that are asked beside the usual ones.
    #[arg(long, value_delimiter = ',', value_name = "PLUGIN,…")]
    enable_admission_plugins: Vec<String>,
    /// Usual admission plugins that are not asked.
    #[arg(long, value_delimiter = ',', value_name = "PLUGIN,…")]
    disable_admission_plugins: Vec<String>,
    /// Which of the built-in APIs are served beside the stable ones, which always are: `api/all`, `api/beta`,
    /// `GROUP/VERSION` or `GROUP/VERSION/RESOURCE`, each `=true` or `=false`.
    #[arg(long, value_delimiter = ',', value_name = "KEY=BOOL,…")]
    runtime_config: Vec<String>,
    #[command(flatten)]
    authentication: AuthenticationArgs,
    /// Static bearer tokens: `token,user,uid[,"group,…"]` a line.
    #[arg(long)]
    token_auth_file: Option<PathBuf>,
    /// Whether Secrets of type `bootstrap.kubernetes.io/token` in `kube-system` are tokens that nodes join with.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = false, num_args = 0..=1, default_missing_value = "true")]
    enable_bootstrap_token_auth: bool,
    #[command(flatten)]
    service_accounts: ServiceAccountArgs,
    /// Range of cluster addresses for services.
    #[arg(long, default_value = "10.96.0.0/16")]
    service_cluster_ip_range: Ipv4Net,
    /// Range of node ports, both ends included.
    #[arg(long, default_value = "30000-32767")]
    service_node_port_range: String,
    /// How many requests that change nothing are served at once; with fairness it adds to the seats of all
    /// priority levels. 0 for any number.
    #[arg(long, default_value_t = 400)]
    max_requests_inflight: u32,
    /// How many requests that change something are served at once; likewise.
    #[arg(long, default_value_t = 200)]
    max_mutating_requests_inflight: u32,
    /// Serve requests by priority levels and flow schemas; without it the two limits above stand alone.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    enable_priority_and_fairness: bool,
    /// How long a request may take; watches and streams have their own time.
    #[arg(long, default_value = "1m0s", value_parser = duration::parse_unsigned)]
    request_timeout: Duration,
    /// How long the server goes on as before, but unready, when told to stop, so that load balancers see it.
    #[arg(long, default_value = "0s", value_parser = duration::parse_unsigned)]
    shutdown_delay_duration: Duration,
    /// Whether pods may be privileged, which nothing here but Pod Security forbids.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    allow_privileged: bool,
    /// By which of its addresses a node is reached: the first of these types that it has. Names are passed over.
    #[arg(long, value_delimiter = ',', value_name = "TYPE,…", default_value = "InternalIP,ExternalIP")]
    kubelet_preferred_address_types: Vec<String>,
    /// Client certificate shown to kubelets.
    #[arg(long, requires = "kubelet_client_key")]
    kubelet_client_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long)]
    kubelet_client_key: Option<PathBuf>,
    /// Authority of the kubelets' serving certificates.
    #[arg(long)]
    kubelet_certificate_authority: Option<PathBuf>,
    /// Client certificate shown to the servers of other group versions, which know by it that callers are as this one says.
    #[arg(long, requires = "proxy_client_key_file")]
    proxy_client_cert_file: Option<PathBuf>,
    /// Its key.
    #[arg(long, requires = "proxy_client_cert_file")]
    proxy_client_key_file: Option<PathBuf>,
    /// Its authority; published for those servers in the ConfigMap `extension-apiserver-authentication`.
    #[arg(long)]
    requestheader_client_ca_file: Option<PathBuf>,
    /// The names that certificates of that authority may have; all if empty. Published likewise.
    #[arg(long, value_delimiter = ',')]
    requestheader_allowed_names: Vec<String>,
    /// The header that tells those servers the caller's name; this one alone.
    #[arg(long, value_name = "HEADER", value_parser = ["X-Remote-User"])]
    requestheader_username_headers: Option<String>,
    /// The header of the caller's groups; this one alone.
    #[arg(long, value_name = "HEADER", value_parser = ["X-Remote-Group"])]
    requestheader_group_headers: Option<String>,
    /// How the headers begin that say what else is known of the caller; so alone.
    #[arg(long, value_name = "PREFIX", value_parser = ["X-Remote-Extra-"])]
    requestheader_extra_headers_prefix: Option<String>,
    #[command(flatten)]
    audit: AuditArgs,
}

/// Who keeps the endpoints of the `kubernetes` service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Endpoints {
    /// Every server itself, by a Lease.
    Lease,
    /// Somebody else.
    None,
}

/// How this server passes requests on to others.
#[derive(Debug, Clone)]
pub struct FrontProxy {
    /// Authority of our client certificate.
    pub authority: PathBuf,
    /// The names that the authority's certificates may have.
    pub allowed_names: Vec<String>,
    /// Our client certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How to talk to kubelets.
#[derive(Debug, Clone)]
pub struct KubeletTls {
    /// Authority of their certificates.
    pub authority: PathBuf,
    /// Our client certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The ranges services draw from.
#[derive(Debug, Clone)]
pub struct Ranges {
    /// `--service-cluster-ip-range`
    pub addresses: Ipv4Net,
    /// `--service-node-port-range`
    pub node_ports: RangeInclusive<u16>,
}

impl Ranges {
    /// The address of the `kubernetes` service: the first of the range.
    pub fn first_address(&self) -> Ipv4Addr {
        self.addresses.hosts().next().unwrap_or(self.addresses.addr())
    }
}

/// How many requests are served at once, as the flags have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Requests that change nothing; 0 for any number.
    pub reading: u32,
    /// Requests that do; 0 for any number.
    pub mutating: u32,
    /// Whether levels share the sum of both, or each is a limit of its own.
    pub fair: bool,
}

impl Default for InFlight {
    fn default() -> Self {
        Self { reading: 400, mutating: 200, fair: true }
    }
}

/// Everything the server needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where state is kept.
    pub store: StoreConfig,
    /// What is encrypted in it.
    pub encryption: Option<EncryptionConfig>,
    /// Address and port to listen on.
    pub listen: (IpAddr, u16),
    /// The endpoint of the `kubernetes` service; none is published without it.
    pub advertise: Option<IpAddr>,
    /// Whether it is published by this server itself.
    pub listed: bool,
    /// Serving certificate and key.
    pub serving: Option<(PathBuf, PathBuf)>,
    /// The folder of those that are made if they are not there.
    pub cert_dir: Option<PathBuf>,
    /// Authorities of client certificates.
    pub client_ca: Option<PathBuf>,
    /// Who decides what callers may do.
    pub authorization: Vec<Mode>,
    /// What else looks at what is written.
    pub admission: Choice,
    /// Which of the built-in kinds are served.
    pub runtime: RuntimeConfig,
    /// Callers whom other systems know.
    pub authentication: Authentication,
    /// Static tokens.
    pub token_file: Option<PathBuf>,
    /// Whether bootstrap tokens are taken.
    pub bootstrap_tokens: bool,
    /// Signing key and further accepted keys of service account tokens.
    pub service_account_keys: Option<TokenKeys>,
    /// What else holds for them.
    pub tokens: TokenRules,
    /// Ranges of cluster addresses and node ports.
    pub ranges: Ranges,
    /// By which of its addresses a node is reached: types that are no names, the best first.
    pub node_addresses: Vec<String>,
    /// How to talk to kubelets; without it logs and exec answer 501.
    pub kubelet: Option<KubeletTls>,
    /// How to talk to servers of other group versions; without it they do not believe who calls.
    pub front_proxy: Option<FrontProxy>,
    /// How many requests are served at once.
    pub in_flight: InFlight,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long the server goes on, unready, when told to stop.
    pub shutdown_delay: Duration,
    /// Which requests are told of, and where.
    pub audit: Option<AuditConfig>,
    /// How long the server is listed as an endpoint after it was last heard of.
    pub listed_for: Duration,
}

/// As upstream.
const LISTED_FOR: Duration = Duration::from_secs(15);

impl Args {
    /// The arguments every daemon has.
    pub fn common(&self) -> &CommonArgs {
        &self.common
    }

    /// Checks the arguments.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let (low, high) = self
            .service_node_port_range
            .split_once('-')
            .and_then(|(a, b)| Some((a.trim().parse::<u16>().ok()?, b.trim().parse::<u16>().ok()?)))
            .filter(|(a, b)| *a > 0 && a <= b)
            .with_context(|| {
                format!("--service-node-port-range {:?} is not LOW-HIGH", self.service_node_port_range)
            })?;
        anyhow::ensure!(
            (12..=29).contains(&self.service_cluster_ip_range.prefix_len()),
            "--service-cluster-ip-range {} must have a prefix of 12 to 29 bits",
            self.service_cluster_ip_range
        );
        anyhow::ensure!(!self.request_timeout.is_zero(), "--request-timeout must be longer than nothing");
        anyhow::ensure!(
            self.allow_privileged,
            "--allow-privileged=false is not followed: forbid privileged pods by Pod Security"
        );
        let mut node_addresses = self.kubelet_preferred_address_types;
        node_addresses.retain(|kind| ["InternalIP", "ExternalIP"].contains(&&**kind));
        anyhow::ensure!(
            !node_addresses.is_empty(),
            "--kubelet-preferred-address-types: names are not looked up, and there is neither InternalIP nor ExternalIP"
        );
        let listed = self.endpoint_reconciler_type == Endpoints::Lease;
        let (store, encryption) = self.store.into_config()?;
        let (service_account_keys, tokens) = self.service_accounts.into_config()?;
        Ok(Config {
            store,
            encryption,
            listen: (self.bind_address, self.secure_port),
            advertise: self.advertise_address.map(|address| address.to_canonical()).or_else(|| {
                let address = self.bind_address.to_canonical();
                (!address.is_unspecified() && !address.is_loopback()).then_some(address)
            }),
            listed,
            serving: self.tls_cert_file.zip(self.tls_private_key_file),
            cert_dir: self.cert_dir,
            client_ca: self.client_ca_file,
            authorization: self.authorization_mode,
            admission: Choice {
                enabled: self.enable_admission_plugins,
                disabled: self.disable_admission_plugins,
            },
            runtime: RuntimeConfig::read(&self.runtime_config)?,
            authentication: self.authentication.into_config()?,
            token_file: self.token_auth_file,
            bootstrap_tokens: self.enable_bootstrap_token_auth,
            service_account_keys,
            tokens,
            ranges: Ranges { addresses: self.service_cluster_ip_range.trunc(), node_ports: low..=high },
            in_flight: InFlight {
                reading: self.max_requests_inflight,
                mutating: self.max_mutating_requests_inflight,
                fair: self.enable_priority_and_fairness,
            },
            request_timeout: self.request_timeout,
            shutdown_delay: self.shutdown_delay_duration,
            audit: self.audit.into_config()?,
            listed_for: LISTED_FOR,
            front_proxy: self.requestheader_client_ca_file.map(|authority| FrontProxy {
                authority,
                allowed_names: self.requestheader_allowed_names,
                identity: self.proxy_client_cert_file.zip(self.proxy_client_key_file),
            }),
            node_addresses,
            kubelet: self.kubelet_certificate_authority.map(|authority| KubeletTls {
                authority,
                identity: self.kubelet_client_certificate.zip(self.kubelet_client_key),
            }),
        })
    }
}

#[cfg(test)]
mod tests;
