//! A whole API server on the memory store, inside the test's process, and a client that shows answers raw.

#![allow(clippy::disallowed_methods, reason = "tests start tasks and programs of their own")]
#![allow(clippy::unwrap_used, dead_code, missing_docs)]

pub mod audit;
pub mod etcd;
pub mod namespace;
pub mod raw;

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use apiserver::{
    Api,
    args::{Authentication, Choice, Config, InFlight, Mode, Ranges, RuntimeConfig, TokenRules},
};
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use http::Request;
use machinery::tasks::Tasks;
use serde_json::Value;

pub struct Server {
    pub client: kube::Client,
    pub port: u16,
    tasks: Tasks,
    dir: tempfile::TempDir,
}

/// An answer, as it came.
pub struct Answer {
    pub code: u16,
    pub body: Value,
    pub warnings: Vec<String>,
    pub location: Option<String>,
    pub cache_control: Option<String>,
}

pub fn config(dir: &Path) -> Config {
    let tokens = dir.join("tokens.csv");
    let lines = [
        "secret,tester,1,\"system:masters\"",
        "jane,jane,2",
        "joe,joe,3",
        "scheduler,system:kube-scheduler,4",
    ];
    std::fs::write(&tokens, lines.join("\n")).unwrap();
    let key = dir.join("sa.key");
    std::fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    Config {
        store: "memory".parse().unwrap(),
        listen: (Ipv4Addr::LOCALHOST.into(), 0),
        advertise: None,
        serving: None,
        cert_dir: None,
        listed: true,
        node_addresses: vec!["InternalIP".into()],
        client_ca: None,
        authorization: vec![Mode::AlwaysAllow],
        admission: Choice::default(),
        runtime: RuntimeConfig::default(),
        authentication: Authentication::default(),
        token_file: Some(tokens),
        service_account_keys: Some((key, Vec::new())),
        bootstrap_tokens: false,
        tokens: TokenRules::default(),
        ranges: Ranges { addresses: "10.96.0.0/16".parse().unwrap(), node_ports: 30000..=30009 },
        kubelet: None,
        front_proxy: None,
        in_flight: InFlight::default(),
        request_timeout: Duration::from_secs(60),
        shutdown_delay: Duration::ZERO,
        encryption: None,
        audit: None,
        listed_for: Duration::from_secs(15),
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts a server whose configuration differs.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_as(change, async |config, tasks| apiserver::start(config, &tasks).await.unwrap()).await
    }

    /// Starts one in another way.
    pub async fn start_as(
        change: impl FnOnce(&mut Config),
        start: impl AsyncFnOnce(Config, Tasks) -> Arc<Api>,
    ) -> Self {
        machinery::tls::use_ring();
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let mut config = config(dir.path());
        change(&mut config);
        let api = start(config, tasks.clone()).await;
        while api.bootstrapped().is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let client = client(api.port(), Some("secret"));
        let server = Self { client, port: api.port(), tasks, dir };
        // Pods need the account that a controller makes.
        let account = serde_json::json!({"metadata": {"name": "default"}});
        server.send("POST", "/api/v1/namespaces/default/serviceaccounts", &account).await;
        server
    }

    /// Tells the server to stop and waits for its end, while `self` is still asked.
    pub fn stopping(&self) -> impl Future<Output = ()> + 'static {
        let tasks = self.tasks.clone();
        async move { tasks.stop_and_join(Duration::from_secs(5)).await.unwrap() }
    }

    pub async fn stop(self) {
        self.tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
    }

    /// Sends a JSON body (or none, for `Null`).
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let media = match method {
            "PATCH" => "application/strategic-merge-patch+json",
            _ => "application/json",
        };
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        self.send_raw(method, path, &[("content-type", media)], bytes).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Value::Null).await
    }

    /// Asks until the answer is as wanted.
    pub async fn eventually(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        for _ in 0..1000 {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} stays {}", self.get(path).await.body);
    }

    pub async fn send_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        send(&self.client, method, path, headers, body).await
    }
}

pub fn client(port: u16, token: Option<&str>) -> kube::Client {
    let mut config = kube::Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
    config.accept_invalid_certs = true;
    // Refusals are what the tests are about.
    config.default_retry = false;
    config.auth_info.token = token.map(|t| t.to_owned().into());
    kube::Client::try_from(config).unwrap()
}

pub async fn send(
    client: &kube::Client,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    use http_body_util::BodyExt as _;
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(kube::client::Body::from(body)).unwrap();
    let response = client.send(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let code = parts.status.as_u16();
    let warnings = parts.headers.get_all("warning").iter().map(|w| w.to_str().unwrap().to_owned()).collect();
    let header = |name| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let (location, cache_control) = (header("location"), header("cache-control"));
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Answer { code, body, warnings, location, cache_control }
}

/// Reads events of a watch until there are `count`.
pub async fn events(server: &Server, path: &str, count: usize) -> Vec<Value> {
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let lines = server.client.request_stream(request).await.unwrap().lines();
    let read = lines.map_ok(|line| serde_json::from_str(&line).unwrap()).take(count).try_collect();
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("events in time").unwrap()
}
