//! The kubelets of all nodes, asked at once over TLS, as the account that this server runs under.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::Node;
use kube::client::Body;

use crate::args::Args;
use crate::scrape::{Scrape, parse};

/// How long a kubelet may take, and how much it may say.
const IN_TIME: Duration = Duration::from_secs(10);
const MOST: usize = 16 << 20;
/// How many are asked at the same time.
const AT_ONCE: usize = 64;
/// The port of a kubelet that does not say which.
const PORT: i32 = 10250;

/// What is needed to talk to kubelets.
pub struct Kubelets {
    config: kube::Config,
    clients: HashMap<String, kube::Client>,
}

impl Kubelets {
    /// Talks to kubelets with the credentials for the API server.
    ///
    /// # Errors
    /// When the kubelets' authority cannot be read.
    pub fn new(mut config: kube::Config, args: &Args) -> anyhow::Result<Self> {
        if let Some(file) = &args.kubelet_certificate_authority {
            let authorities = machinery::tls::certificates(file).context("the authority of kubelets")?;
            config.root_cert = Some(authorities.into_iter().map(|authority| authority.to_vec()).collect());
        }
        config.accept_invalid_certs |= args.kubelet_insecure_tls;
        // Named by its address, also where the API server goes by another name.
        config.tls_server_name = None;
        Ok(Self { config, clients: HashMap::new() })
    }

    /// What the kubelets of nodes tell, by the nodes' names; of those that tell nothing the log says why.
    pub async fn ask(&mut self, nodes: &[Arc<Node>]) -> Vec<(String, Scrape)> {
        let mut asked = Vec::new();
        let mut clients = HashMap::new();
        for node in nodes {
            let name = node.metadata.name.clone().unwrap_or_default();
            let Some(url) = url(node) else {
                tracing::debug!(node = name, "It has no address");
                continue;
            };
            let client = match self.clients.remove(&url).map_or_else(|| self.connect(&url), Ok) {
                Ok(client) => client,
                Err(error) => {
                    tracing::warn!(node = name, error = format!("{error:#}"), "Cannot ask its kubelet");
                    continue;
                }
            };
            clients.insert(url, client.clone());
            asked.push((name, client));
        }
        self.clients = clients;
        let asked = stream::iter(asked).map(|(name, client)| async move {
            let told = tokio::time::timeout(IN_TIME, text(&client)).await;
            match told.context("it takes too long").flatten() {
                Ok(text) => Some((name, parse(&text, machinery::clock::now()))),
                Err(error) => {
                    tracing::warn!(node = name, error = format!("{error:#}"), "Its kubelet does not tell");
                    None
                }
            }
        });
        asked.buffer_unordered(AT_ONCE).filter_map(std::future::ready).collect().await
    }

    fn connect(&self, url: &str) -> anyhow::Result<kube::Client> {
        let mut config = self.config.clone();
        config.cluster_url = url.parse().context("its address")?;
        Ok(machinery::client::from_config(&config)?)
    }
}

/// Where a node's kubelet is.
fn url(node: &Node) -> Option<String> {
    let status = node.status.as_ref()?;
    let addresses = status.addresses.as_deref().unwrap_or_default();
    let address = &addresses.iter().find(|address| address.type_ == "InternalIP")?.address;
    let endpoint = status.daemon_endpoints.as_ref().and_then(|all| all.kubelet_endpoint.as_ref());
    let port = endpoint.map_or(PORT, |endpoint| endpoint.port);
    Some(if address.contains(':') {
        format!("https://[{address}]:{port}")
    } else {
        format!("https://{address}:{port}")
    })
}

async fn text(client: &kube::Client) -> anyhow::Result<String> {
    let answer = client.send(Request::get("/metrics/resource").body(Body::empty())?).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST).collect().await.map_err(anyhow::Error::from_boxed)?;
    let body: Bytes = body.to_bytes();
    anyhow::ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body).trim());
    String::from_utf8(body.into()).context("what it says is no text")
}
