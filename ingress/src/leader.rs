//! What one of several controllers does: tell where Ingresses are reached, and what is wrong with them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use kube::Api;
use kube::api::{Patch, PatchParams};
use machinery::events::{EventType, Recorder};
use machinery::logging::chain;
use serde_json::json;
use tokio::sync::watch;

use crate::table::{Feeds, Table};

/// What is wrong for a shorter time than this is not told: what belongs together is often made one after the other.
const PAUSE: Duration = Duration::from_secs(1);

/// What the leader works with.
pub struct Duties {
    /// Whom it tells.
    pub client: kube::Client,
    /// The caches.
    pub feeds: Feeds,
    /// What is served.
    pub tables: watch::Receiver<Arc<Table>>,
    /// Namespace and name of the service under whose addresses controllers answer.
    pub service: (String, String),
    /// Who tells of problems.
    pub recorder: Recorder,
}

impl Duties {
    /// Does them whenever something has changed, until it is cut off.
    pub async fn fulfil(&self) {
        let mut tables = self.tables.clone();
        let mut services = self.feeds.services.subscribe();
        let mut told = HashSet::new();
        loop {
            tokio::time::sleep(PAUSE).await;
            let table = Arc::clone(&tables.borrow_and_update());
            let problems: HashSet<_> = table.problems.iter().map(|problem| problem.key()).collect();
            for problem in &table.problems {
                if told.insert(problem.key()) {
                    let message = problem.message.clone();
                    self.recorder.event(&*problem.about, EventType::Warning, problem.reason, message);
                }
            }
            told.retain(|key| problems.contains(key));
            let written = self.tell_addresses(&table).await;
            if let Err(error) = &written {
                tracing::warn!(error = chain(error), "Cannot tell where Ingresses are reached");
            }
            let retry = async {
                match written {
                    Ok(()) => std::future::pending().await,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            };
            tokio::select! {
                changed = tables.changed() => if changed.is_err() { return },
                () = services.changed() => {}
                () = retry => {}
            }
        }
    }

    async fn tell_addresses(&self, table: &Table) -> Result<(), kube::Error> {
        let (namespace, name) = &self.service;
        let wanted = addresses(self.feeds.services.get(Some(namespace), name).as_deref());
        let mut told = Ok(());
        for ingress in table.ingresses.iter().filter(|ingress| told_addresses(ingress) != wanted) {
            let meta = &ingress.metadata;
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            let (Some(namespace), Some(name)) = (namespace, name) else { continue };
            let api: Api<Ingress> = Api::namespaced(self.client.clone(), namespace);
            let status = json!({"status": {"loadBalancer": {"ingress": wanted}}});
            match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                // The others are told all the same.
                Err(error) => told = told.and(Err(error)),
                Ok(_) => {}
            }
        }
        told
    }
}

fn told_addresses(ingress: &Ingress) -> Vec<IngressLoadBalancerIngress> {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.clone()).unwrap_or_default()
}

/// The addresses under which a service answers to people: its load balancer's, else external ones, else its own, which
/// the machine of the cluster reaches, too.
fn addresses(service: Option<&Service>) -> Vec<IngressLoadBalancerIngress> {
    let of_ip = |ip: &String| IngressLoadBalancerIngress { ip: Some(ip.clone()), ..Default::default() };
    let Some(service) = service else { return Vec::new() };
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balanced = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    if !balanced.is_empty() {
        let told = balanced.iter().map(|point| IngressLoadBalancerIngress {
            ip: point.ip.clone(),
            hostname: point.hostname.clone(),
            ports: None,
        });
        return told.collect();
    }
    let Some(spec) = &service.spec else { return Vec::new() };
    let external = spec.external_ips.as_deref().unwrap_or_default();
    let own = spec.cluster_ips.as_deref().unwrap_or_default();
    let chosen = if external.is_empty() { own } else { external };
    chosen.iter().filter(|ip| *ip != "None").map(of_ip).collect()
}

#[cfg(test)]
mod tests;
