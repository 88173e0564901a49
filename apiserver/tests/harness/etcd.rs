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
    name: String,
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
        // Between their choice and their use others may take the ports.
        for _ in 0..5 {
            let mut started = match Self::spawn_cluster(members, arguments) {
                Ok(started) => started,
                Err(error) => {
                    machinery::testing::skip(&format!("cannot run etcd: {error}"));
                    return None;
                }
            };
            let mut all = true;
            for member in &mut started {
                all = all && member.comes_up().await;
            }
            if all {
                return Some(started);
            }
        }
        panic!("etcd ends again and again");
    }

    fn spawn_cluster(members: usize, arguments: &[String]) -> std::io::Result<Vec<Self>> {
        let ports = free_ports(2 * members);
        let peer = |i: usize| format!("http://127.0.0.1:{}", ports[2 * i + 1]);
        // No other process has members of these names.
        let names: Vec<String> =
            (0..members).map(|i| format!("m{i}-{}-{}", std::process::id(), ports[0])).collect();
        let all: Vec<String> =
            names.iter().enumerate().map(|(i, name)| format!("{name}={}", peer(i))).collect();
        let secure = arguments.iter().any(|a| a.starts_with("--cert-file"));
        let mut started = Vec::new();
        for (i, name) in names.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let client = format!("{}://127.0.0.1:{}", if secure { "https" } else { "http" }, ports[2 * i]);
            let mut own = vec![
                format!("--name={name}"),
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
            let child = spawn(&own)?;
            started.push(Self { child, name, _folder: folder, arguments: own, secure, port: ports[2 * i] });
        }
        Ok(started)
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", if self.secure { "https" } else { "http" }, self.port)
    }

    /// Has it stand still: its connections stay, and nothing is answered.
    pub fn halt(&self) {
        use nix::{sys::signal, unistd::Pid};
        let pid = Pid::from_raw(self.child.id().cast_signed());
        signal::kill(pid, signal::Signal::SIGSTOP).unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.arguments).unwrap();
    }

    /// Waits until it answers; with TLS, until it listens.
    pub async fn ready(&mut self) {
        assert!(self.comes_up().await, "etcd ended");
    }

    /// Waits until it answers, or has ended: whether it is there.
    async fn comes_up(&mut self) -> bool {
        for _ in 0..300 {
            let answers = self.answers().await;
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if answers {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("etcd does not answer");
    }

    /// Whether what answers at its port is this member, and serves; with TLS, whether something listens.
    async fn answers(&self) -> bool {
        if self.secure {
            return tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
        }
        let Ok(mut client) = etcd_client::Client::connect([self.endpoint()], None).await else {
            return false;
        };
        let members = match client.get("ready", None).await {
            Ok(_) => client.member_list().await,
            Err(_) => return false,
        };
        members.is_ok_and(|list| list.members().iter().any(|member| member.name() == self.name))
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
