//! The connection to the API server: a `kube::Client` from a kubeconfig file.
//!
//! No rate limit. A connection whose peer is gone is noticed by TCP itself, so that watches
//! need no read timeout; a request whose answer does not begin within a minute fails. A null in an answer is
//! an absent value, as it is in Go.
//! Upstream counterpart: client-go's `rest` and `clientcmd`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderValue, Request, header};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::backoff::Backoff;
use crate::nulls::without_nulls;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the head of an answer may take; its body may take for ever (watch, logs).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Silence after which TCP asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent bytes may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// Idle connections kept for the next burst of requests.
const IDLE_CONNECTIONS: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig file cannot be read or is not one.
    #[error("cannot use kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The user agent is no header value.
    #[error("{0:?} cannot be a user agent")]
    UserAgent(String),
    /// Certificates, keys or tokens of the kubeconfig are unusable.
    #[error("cannot use the credentials in kubeconfig {}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: Box<kube::Error>,
    },
}

/// Makes a client from a kubeconfig file. Does not connect yet: see [`wait_ready`].
pub async fn connect(kubeconfig: &Path, user_agent: &str) -> Result<kube::Client, ClientError> {
    let unusable = |source| ClientError::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
    let file = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(unusable)?;
    let agent =
        HeaderValue::from_str(user_agent).map_err(|_| ClientError::UserAgent(user_agent.to_owned()))?;
    config.headers.push((header::USER_AGENT, agent));
    from_config(&config)
        .map_err(|source| ClientError::Credentials { path: kubeconfig.to_owned(), source: Box::new(source) })
}

/// Makes a client from an already loaded configuration.
pub fn from_config(config: &kube::Config) -> Result<kube::Client, kube::Error> {
    crate::tls::use_ring();
    let mut tcp = legacy::connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE_IDLE));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let connector = config.rustls_https_connector_with_connector(tcp)?;
    let client: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .build(connector);
    let answered_in_time = tower::service_fn(move |request: Request<Body>| {
        let answer = client.request(request);
        async move {
            match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
                Ok(answer) => answer.map(without_nulls).map_err(BoxError::from),
                Err(elapsed) => Err(BoxError::from(elapsed)),
            }
        }
    });
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .service(answered_in_time);
    Ok(kube::Client::new(service, config.default_namespace.clone()))
}

/// Waits until the API server says it is ready, asking again with growing pauses. Returns
/// false when told to stop before that.
pub async fn wait_ready(client: &kube::Client, stop: &CancellationToken) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return false,
            asked = is_ready(client) => asked,
        };
        match asked {
            Ok(()) => return true,
            Err(error) if backoff.is_fresh() => {
                tracing::info!(error = obstacle(&error), "Waiting for the API server");
            }
            Err(error) => {
                tracing::debug!(error = crate::logging::chain(&error), "Waiting for the API server");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return false,
            () = tokio::time::sleep(backoff.pause()) => {}
        }
    }
}

/// Why the API server is not ready, in few words: of its answer only the checks that failed.
fn obstacle(error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else { return crate::logging::chain(error) };
    let failed: Vec<&str> =
        status.message.lines().filter_map(|line| line.strip_prefix("[-]")?.split(' ').next()).collect();
    match failed.is_empty() {
        true => format!("it answers {}", status.code),
        false => format!("it is not done with {}", failed.join(", ")),
    }
}

async fn is_ready(client: &kube::Client) -> Result<(), kube::Error> {
    let request = Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await.map(drop)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::Api;
    use kube::api::{DeleteParams, ListParams};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;
    use crate::cache::{Cache, Selectors};
    use crate::tasks::Tasks;

    #[test]
    fn an_answer_is_told_in_few_words() {
        let refused = |message: &str| {
            kube::Error::Api(Box::new(kube::core::Status {
                message: message.into(),
                code: 500,
                ..Default::default()
            }))
        };
        let answer = "[+]ping ok\n[-]etcd failed: reason withheld\n[-]x failed: reason withheld\nreadyz check failed\n";
        assert_eq!(obstacle(&refused(answer)), "it is not done with etcd, x");
        assert_eq!(obstacle(&refused("")), "it answers 500");
    }

    /// Answers as a server written in Go may: every empty list and map is a null.
    async fn answer_with_nulls(mut stream: tokio::net::TcpStream) -> std::io::Result<()> {
        const POD: &str = r#"{"apiVersion":"v1","kind":"Pod",
            "metadata":{"name":"p","resourceVersion":"7","labels":null,"creationTimestamp":null},
            "spec":{"containers":null,"volumes":null},"status":{"conditions":null}}"#;
        let mut asked = BufReader::new(&mut stream);
        let mut head = String::new();
        while asked.read_line(&mut head).await? > 2 {}
        let list = |items: &str| {
            format!(
                r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":{items}}}"#
            )
        };
        let pod = POD.replace('\n', "");
        let body = match head.split(' ').take(2).collect::<Vec<_>>().as_slice() {
            ["DELETE", _] => list("null"),
            ["GET", path] if path.contains("watch=true") => {
                format!("{{\"type\":\"ADDED\",\"object\":{pod}}}\n")
            }
            ["GET", path] if path.contains("/pods/p") => pod,
            ["GET", path] if path.contains("limit=1") => list(&format!("[{pod}]")),
            _ => list("null"),
        };
        let length = body.len();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length:";
        stream.write_all(format!("{head} {length}\r\n\r\n{body}").as_bytes()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
    }

    #[tokio::test]
    async fn a_null_is_an_empty_list_to_whatever_asks_through_the_client() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer_with_nulls(stream).await.unwrap();
            }
        };
        let tasks = Tasks::new();
        let asking = async {
            let pods: Api<Pod> = Api::all(from_config(&kube::Config::new(url)).unwrap());
            let none = pods.list(&ListParams::default()).await.unwrap();
            assert!(none.items.is_empty());
            let one = pods.list(&ListParams::default().limit(1)).await.unwrap();
            assert_eq!(one.items[0].spec.as_ref().unwrap().containers, []);
            assert_eq!(pods.get("p").await.unwrap().metadata.labels, None);
            let deleted = pods.delete_collection(&DeleteParams::default(), &ListParams::default()).await;
            assert!(deleted.unwrap().left().unwrap().items.is_empty());
            let cache = Cache::start(pods, Selectors::all(), &tasks);
            let mut changes = cache.subscribe();
            while cache.get(None, "p").is_none() {
                changes.changed().await;
            }
        };
        tokio::select! {
            () = server => {}
            () = asking => {}
        }
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let error = connect(Path::new("/nowhere/kubeconfig"), "test").await.err().unwrap();
        assert!(error.to_string().contains("/nowhere/kubeconfig"), "{error}");
    }
}
