//! A laboratory: the control plane in one process, on loopback and in memory, with a clock in the test's hand.
//!
//! [`Lab::bare`] is an API server and nothing else; controllers, schedulers and hollow kubelets are started beside it one
//! by one, and any of them may be stopped, left behind or killed in the middle. Whatever goes wrong here is the test's
//! failure: it panics and says what it waited for.

#![allow(clippy::unwrap_used, reason = "a laboratory fails as the test does that it serves")]

mod hollow;
mod objects;

pub use objects::{DEPLOYMENT, deployment};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser as _;
use k8s_openapi::api::core::v1::ServiceAccount;
use machinery::clock::Clock;
use machinery::pki::Authority;
use machinery::serve::Serving;
use machinery::tasks::Tasks;
use machinery::tls::TlsSource;
use serde_json::json;

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long something that is told to stop may take.
const STOP: Duration = Duration::from_secs(10);

/// A control plane. Its tasks end with the test's runtime.
pub struct Lab {
    /// A client of `system:masters`.
    pub client: kube::Client,
    /// The controllers' and the kubelets' clock.
    pub clock: Clock,
    tasks: Tasks,
    folder: tempfile::TempDir,
}

/// Controllers or a scheduler that run.
pub struct Daemon {
    tasks: Tasks,
}

impl Daemon {
    /// Stops it as SIGTERM would.
    pub async fn stop(self) {
        self.tasks.stop_and_join(STOP).await.unwrap();
    }

    /// Leaves one behind whose client reaches nobody any more.
    pub async fn abandon(self) {
        self.tasks.stop_and_join(Duration::ZERO).await.unwrap();
    }
}

/// Who is known beside `system:masters`: the daemons, who have the roles of a cluster.
const DAEMONS: [&str; 2] = [CONTROLLERS, SCHEDULER];
const CONTROLLERS: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// Who may have an authority of its own to sign certificates with.
const SIGNERS: [&str; 4] = ["kubelet-serving", "kubelet-client", "kube-apiserver-client", "legacy-unknown"];

/// Starts an API server on its memory store, whose files lie in `folder`: the kubeconfig of a `system:masters`. It gives
/// tokens to service accounts if the folder has a `sa.key` to sign them with.
pub async fn api_server(folder: &Path, tasks: &Tasks) -> PathBuf {
    api_server_with(folder, tasks, &[]).await
}

/// The same, with further flags.
pub async fn api_server_with(folder: &Path, tasks: &Tasks, flags: &[&str]) -> PathBuf {
    machinery::tls::use_ring();
    let (ca, tokens) = (folder.join("ca.crt"), folder.join("tokens.csv"));
    Authority::new("lab").unwrap().save(&ca, &folder.join("ca.key")).unwrap();
    let daemons = DAEMONS.map(|name| format!("{name},system:{name},\n"));
    std::fs::write(&tokens, format!("tester,tester,1,\"system:masters\"\n{}", daemons.concat())).unwrap();
    let fixed = ["apiserver", "--store=memory", "--bind-address=127.0.0.1", "--secure-port=0"];
    let fixed = fixed.into_iter().chain(["--authorization-mode=Node,RBAC", "--enable-bootstrap-token-auth"]);
    let fixed = fixed.chain(["--client-ca-file"]).chain(ca.to_str());
    let key = folder.join("sa.key");
    let signs = key.exists().then(|| format!("--service-account-signing-key-file={}", key.display()));
    let fixed = fixed.chain(["--token-auth-file"]).chain(tokens.to_str()).chain(signs.as_deref());
    let args = apiserver::args::Args::try_parse_from(fixed.chain(flags.iter().copied())).unwrap();
    let port = apiserver::start(args.into_config().unwrap(), tasks).await.unwrap().port();
    for name in DAEMONS.into_iter().chain(["tester"]) {
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster":
                {"server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "lab", "user": {"token": name}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}]});
        std::fs::write(folder.join(name), kubeconfig.to_string()).unwrap();
    }
    folder.join("tester")
}

impl Lab {
    /// An API server and nothing else.
    pub async fn bare() -> Self {
        Self::bare_with(&[]).await
    }

    /// The same, with further flags.
    pub async fn bare_with(flags: &[&str]) -> Self {
        let (folder, tasks) = (tempfile::tempdir().unwrap(), Tasks::new());
        let kubeconfig = api_server_with(folder.path(), &tasks, flags).await;
        let client = machinery::client::connect(&kubeconfig, "lab").unwrap();
        assert!(machinery::client::wait_ready(&client, &tasks.token()).await);
        Self { client, clock: Clock::default(), tasks, folder }
    }

    /// An API server with controllers, and the account that pods need.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with further flags of the controllers.
    pub async fn start_with(flags: &[&str]) -> Self {
        let lab = Self::bare().await;
        lab.controllers(flags).await;
        let accounts = lab.api::<ServiceAccount>();
        let account =
            async || accounts.get_opt("default").await.unwrap().ok_or_else(|| "no account yet".to_owned());
        lab.until(account).await;
        lab
    }

    /// A client like the controllers' own.
    pub async fn new_client(&self) -> kube::Client {
        machinery::client::connect(&self.kubeconfig_of(CONTROLLERS), "lab").unwrap()
    }

    /// Starts controllers with further flags.
    pub async fn controllers(&self, flags: &[&str]) -> Daemon {
        self.controllers_with(self.new_client().await, flags).await
    }

    /// Starts controllers that reach the API server by this client.
    pub async fn controllers_with(&self, client: kube::Client, flags: &[&str]) -> Daemon {
        let (config, tasks) = (self.controllers_config(flags), Tasks::new());
        controller_manager::run(config, client, &tasks).await.unwrap();
        Daemon { tasks }
    }

    /// Starts controllers that `shutdown_background` of what is returned kills wherever they are.
    pub fn mortal_controllers(&self) -> tokio::runtime::Runtime {
        let (config, kubeconfig) = (self.controllers_config(&[]), self.kubeconfig_of(CONTROLLERS));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(async move {
            let tasks = Tasks::new();
            let client = machinery::client::connect(&kubeconfig, "lab").unwrap();
            controller_manager::run(config, client, &tasks).await.unwrap();
            tasks.run_until_stopped().await
        });
        runtime
    }

    fn controllers_config(&self, flags: &[&str]) -> controller_manager::args::Config {
        let [ca, key] = ["ca.crt", "ca.key"].map(|name| self.folder.path().join(name).display().to_string());
        let fixed =
            ["controller-manager", "--kubeconfig", "none", "--secure-port", "0", "--leader-elect=false"];
        let fixed = fixed.into_iter().chain(["--cluster-cidr", "10.244.0.0/16", "--root-ca-file", &ca]);
        let signing = ["--cluster-signing-cert-file", &ca, "--cluster-signing-key-file", &key];
        // Where a signer has an authority of its own, none may be given for all.
        let own = SIGNERS.map(|signer| format!("--cluster-signing-{signer}-"));
        let for_all = !flags.iter().any(|flag| own.iter().any(|own| flag.starts_with(own)));
        let fixed = fixed.chain(signing.into_iter().filter(|_| for_all));
        let fixed = fixed.chain(["--volume-helper-image", "helper"]).chain(flags.iter().copied());
        let args = controller_manager::args::Args::try_parse_from(fixed).unwrap();
        let mut config = args.into_config().unwrap();
        config.clock = self.clock.clone();
        config
    }

    /// Starts a scheduler, which waits to be the leader if told so.
    pub async fn scheduler(&self, leader_elect: bool) -> Daemon {
        let config = scheduler::Config {
            kubeconfig: self.kubeconfig_of(SCHEDULER),
            serving: Serving {
                address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                tls: TlsSource::SelfSigned(vec!["localhost".into()]),
                client_ca: None,
                open_paths: Vec::new(),
            },
            leader_elect,
        };
        let tasks = Tasks::new();
        scheduler::start(config, &tasks).await.unwrap();
        Daemon { tasks }
    }

    /// The kubeconfig of [`client`](Self::client).
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("tester")
    }

    fn kubeconfig_of(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until a look at the cluster says `Ok`; fails with what it said last.
    pub async fn until<T>(&self, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            match look().await {
                Ok(found) => return found,
                Err(why) => assert!(start.elapsed() < PATIENCE, "waited in vain: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
