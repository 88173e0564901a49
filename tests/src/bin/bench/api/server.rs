//! The servers that are measured: a process each, with certificates and a store of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use machinery::pki::{Authority, IssueRequest};
use machinery::tls;
use rustls::ClientConfig;

/// How long a server may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands behind the server.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// Nothing: the floor.
    #[value(name = "floor")]
    None,
    /// The API server in memory alone.
    Memory,
    /// The API server on its own file.
    File,
    /// The API server on etcd.
    Etcd,
}

/// A running server. It ends with its value.
pub struct Server {
    kind: StoreKind,
    process: Child,
    etcd: Option<Child>,
    address: SocketAddr,
    /// How an administrator talks to it, by his certificate, and how those do who show none.
    tls: [Arc<ClientConfig>; 2],
    token: Option<String>,
    ready_after: Duration,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        for child in [Some(&mut self.process), self.etcd.as_mut()].into_iter().flatten() {
            // It may have ended by itself.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn start_etcd(dir: &Path, endpoint: &str) -> Child {
    let peer = format!("http://127.0.0.1:{}", free_port());
    Command::new("etcd")
        .args(["--name", "bench", "--listen-client-urls", endpoint, "--advertise-client-urls", endpoint])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("bench={peer}"), "--data-dir"])
        .arg(dir.join("etcd"))
        .args(["--quota-backend-bytes", "8589934592"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd is installed")
}

impl Server {
    /// Starts one that lets everybody do everything, and waits until it is ready.
    pub fn start(kind: StoreKind) -> Self {
        Self::start_with(kind, |_| Vec::new())
    }

    /// The same for one with roles and tokens of accounts.
    pub fn start_guarded(kind: StoreKind) -> Self {
        Self::start_with(kind, |key| {
            vec![
                "--authorization-mode=Node,RBAC".to_owned(),
                format!("--service-account-signing-key-file={}", key.display()),
            ]
        })
    }

    /// `flags` are made from the file of a key.
    fn start_with(kind: StoreKind, flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        let authority = Authority::new("bench").expect("an authority");
        authority.save(&path("ca.crt"), &path("ca.key")).expect("files can be written");
        let issue = |name: &str, request: &IssueRequest| {
            let issued = authority.issue(request).expect("a certificate");
            issued.save(&path(&format!("{name}.crt")), &path(&format!("{name}.key"))).expect("files");
        };
        issue("server", &IssueRequest::server("bench", &["localhost"], &[Ipv4Addr::LOCALHOST.into()]));
        issue("client", &IssueRequest::client("bench", &["system:masters"]));
        let (cert, key) = (path("client.crt"), path("client.key"));
        let tls = [Some((cert.as_path(), key.as_path())), None]
            .map(|identity| tls::client_config(&path("ca.crt"), identity).expect("a TLS configuration"));
        let port = free_port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let etcd_endpoint = format!("http://127.0.0.1:{}", free_port());
        let etcd = (kind == StoreKind::Etcd).then(|| start_etcd(dir.path(), &etcd_endpoint));
        if etcd.is_some() {
            wait_for_etcd(etcd_endpoint.trim_start_matches("http://").parse().expect("an address"));
        }
        let store = match kind {
            StoreKind::None | StoreKind::Memory => "memory".to_owned(),
            StoreKind::File => format!("file:{}", path("store").display()),
            StoreKind::Etcd => format!("etcd:{etcd_endpoint}"),
        };
        let mut command = if kind == StoreKind::None {
            let mut command = Command::new(std::env::current_exe().expect("a path of our own"));
            command.args(["floor", &port.to_string()]);
            command.args([path("server.crt"), path("server.key")]);
            command
        } else {
            let mut command = Command::new(e2e::bin_dir().join("apiserver"));
            command.args(["--store", &store, "--bind-address", "127.0.0.1", "--v", "0"]);
            command.args(["--secure-port", &port.to_string()]);
            let file = |flag: &str, name: &str| [PathBuf::from(flag), path(name)];
            command.args(file("--tls-cert-file", "server.crt"));
            command.args(file("--tls-private-key-file", "server.key"));
            command.args(file("--client-ca-file", "ca.crt"));
            command.args(flags(&path("server.key")));
            command
        };
        let log = fs::File::create(path("log")).expect("a file");
        let began = Instant::now();
        let process = command.stdout(Stdio::null()).stderr(log).spawn().expect("the program can be run");
        let mut server =
            Self { kind, process, etcd, address, tls, token: None, ready_after: Duration::ZERO, dir };
        server.wait_ready(began);
        server
    }

    fn wait_ready(&mut self, began: Instant) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        while !runtime.block_on(super::client::is_ready(self)) {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "the server does not get ready: {}", log());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.ready_after = began.elapsed();
    }

    /// What it is.
    pub fn title(&self) -> &'static str {
        match self.kind {
            StoreKind::None => "the floor: hyper and rustls with ready-made answers",
            StoreKind::Memory => "API server, store in memory",
            StoreKind::File => "API server, store in a file",
            StoreKind::Etcd => "API server, store in etcd",
        }
    }

    /// Whether it is the floor, which keeps nothing.
    pub fn is_floor(&self) -> bool {
        self.kind == StoreKind::None
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to talk to it.
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls[usize::from(self.token.is_some())]
    }

    /// The token that clients show, if it is not a certificate.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Has clients show a token from now on, or the administrator's certificate again.
    pub fn act_as(&mut self, token: Option<String>) {
        self.token = token;
    }

    /// A file with which programs find it.
    pub fn kubeconfig(&self) -> PathBuf {
        let (file, path) = (self.dir.path().join("kubeconfig"), |name: &str| self.dir.path().join(name));
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://{}", self.address), "certificate-authority": path("ca.crt")}}],
            "users": [{"name": "bench", "user": {
                "client-certificate": path("client.crt"), "client-key": path("client.key")}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        fs::write(&file, config.to_string()).expect("files can be written");
        file
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Time from its start until it answered that it is ready.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }
}

/// Waits until etcd has elected itself: how long that takes is not the API server's.
fn wait_for_etcd(address: SocketAddr) {
    let health = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let began = Instant::now();
    while !health().is_ok_and(|answer| answer.contains("\"health\":\"true\"")) {
        assert!(began.elapsed() < PATIENCE, "no healthy etcd on {address}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
