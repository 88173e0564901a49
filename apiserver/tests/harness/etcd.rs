//! etcd, started by the tests that need one. Shared with the crate's own tests.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

/// A member of our own; killed when dropped.
pub struct Etcd {
    child: Child,
    /// Where its data is, as long as this is.
    _folder: TempDir,
    arguments: Vec<String>,
    secure: bool,
    port: u16,
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|l| l.local_addr().unwrap().port()).collect()
}

impl Etcd {
    /// Starts one, or says why not and returns `None`.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// Starts one with further arguments; with TLS if they name a certificate.
    pub async fn start_with(arguments: &[String]) -> Option<Self> {
        Self::cluster(1, arguments).await?.pop()
    }

    /// Starts a cluster of so many members.
    pub async fn cluster(members: usize, arguments: &[String]) -> Option<Vec<Self>> {
        let ports = free_ports(2 * members);
        let peer = |i: usize| format!("http://127.0.0.1:{}", ports[2 * i + 1]);
        let all: Vec<String> = (0..members).map(|i| format!("m{i}={}", peer(i))).collect();
        let secure = arguments.iter().any(|a| a.starts_with("--cert-file"));
        let mut started = Vec::new();
        for i in 0..members {
            let folder = tempfile::tempdir().unwrap();
            let client = format!("{}://127.0.0.1:{}", if secure { "https" } else { "http" }, ports[2 * i]);
            let mut own = vec![
                format!("--name=m{i}"),
                "--logger=zap".into(),
                "--log-outputs=/dev/null".into(),
                format!("--data-dir={}", folder.path().join("data").display()),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={}", peer(i)),
                format!("--initial-advertise-peer-urls={}", peer(i)),
                format!("--initial-cluster={}", all.join(",")),
            ];
            own.extend(arguments.iter().cloned());
            let child = match spawn(&own) {
                Ok(child) => child,
                Err(error) => {
                    machinery::testing::skip(&format!("cannot run etcd: {error}"));
                    return None;
                }
            };
            started.push(Self { child, _folder: folder, arguments: own, secure, port: ports[2 * i] });
        }
        for member in &started {
            member.ready().await;
        }
        Some(started)
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.secure { "https" } else { "http" }, self.port)
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.arguments).unwrap();
    }

    /// Waits until it answers; with TLS, until it listens.
    pub async fn ready(&self) {
        for _ in 0..300 {
            let answers = if self.secure {
                tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok()
            } else {
                match etcd_client::Client::connect([self.endpoint()], None).await {
                    Ok(mut client) => client.get("ready", None).await.is_ok(),
                    Err(_) => false,
                }
            };
            if answers {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd does not answer");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(arguments: &[String]) -> std::io::Result<Child> {
    Command::new("etcd").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}
