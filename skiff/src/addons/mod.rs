//! What a cluster has beyond its daemons, laid out by the manifests in this folder: pods of our own programs, and the
//! class of volumes on the nodes' disks.
//!
//! They are made once, with the cluster; from then on they are the user's, who may change or delete them and put
//! something else in their place.

use anyhow::{Context, Result};
use api::volume_binding::LOCAL_PROVISIONER;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::{Api, Client};

use crate::cluster::Cluster;
use crate::image;

/// One of them.
#[derive(Debug)]
pub struct Addon {
    /// What `--without` calls it.
    pub name: &'static str,
    /// Its objects.
    manifest: &'static str,
    /// What runs for it; a daemon does its work without.
    pods: Option<Pods>,
}

/// Pods of one of our programs.
#[derive(Debug)]
struct Pods {
    /// The program that their image holds.
    program: &'static str,
    /// The Deployment in kube-system that tells when they work.
    deployment: &'static str,
    /// What the API server answers then.
    path: Option<&'static str>,
}

/// How far an add-on is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Works,
    /// Its pods are not ready.
    Starting,
    /// The user does without it.
    Removed,
}

/// All of them, in the order in which they are made: names first, then what takes longest until it works.
pub const ALL: &[Addon] = &[
    Addon {
        name: "dns",
        manifest: include_str!("dns.yaml"),
        pods: Some(Pods { program: "dns", deployment: "coredns", path: None }),
    },
    Addon {
        name: "metrics-server",
        manifest: include_str!("metrics-server.yaml"),
        pods: Some(Pods {
            program: "metrics-server",
            deployment: "metrics-server",
            path: Some("/apis/metrics.k8s.io/v1beta1/nodes"),
        }),
    },
    Addon {
        name: "ingress",
        manifest: include_str!("ingress.yaml"),
        pods: Some(Pods { program: "ingress", deployment: "ingress", path: None }),
    },
    Addon { name: "storage", manifest: include_str!("storage.yaml"), pods: None },
];

/// The names of all, for flags.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|addon| addon.name).collect()
}

/// Those that a cluster has.
pub fn of(cluster: &Cluster) -> impl Iterator<Item = &'static Addon> {
    ALL.iter().filter(|addon| cluster.addons.iter().any(|name| name == addon.name))
}

/// Whether a pod is ready; and whether what it says is of containers that have run since `began`.
fn ready_and_fresh(pod: &Pod, began: Timestamp) -> (bool, bool) {
    let Some(status) = &pod.status else { return (false, true) };
    let ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
    let states = status.container_statuses.iter().flatten().filter_map(|status| status.state.as_ref());
    let mut since = states.filter_map(|state| state.running.as_ref()?.started_at.as_ref());
    (ready, since.all(|time| time.0.as_second() >= began.as_second()))
}

impl Addon {
    /// The program that its pods run, if it has any.
    pub fn program(&self) -> Option<&'static str> {
        self.pods.as_ref().map(|pods| pods.program)
    }

    fn objects(&self, cluster: &Cluster) -> Result<Vec<DynamicObject>> {
        let text = self
            .manifest
            .replace("@IMAGE@", &self.program().map(image::of_program).unwrap_or_default())
            .replace("@LOCAL_PROVISIONER@", LOCAL_PROVISIONER)
            .replace("@CLUSTER_DNS@", &cluster.ranges.dns().to_string());
        let documents = serde_yaml_ng::Deserializer::from_str(&text);
        let read = documents.map(serde::Deserialize::deserialize).collect::<Result<_, _>>();
        read.with_context(|| format!("the manifest of {} is damaged", self.name))
    }

    /// Makes its objects; what is there already stays as it is.
    ///
    /// # Errors
    /// What the API server refuses.
    pub async fn install(&self, cluster: &Cluster, client: &Client) -> Result<()> {
        for object in self.objects(cluster)? {
            let types = object.types.clone().unwrap_or_default();
            let resource = resource(&types)?;
            let api: Api<DynamicObject> = match &object.metadata.namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => Api::all_with(client.clone(), &resource),
            };
            match api.create(&PostParams::default(), &object).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
                made => {
                    drop(made.with_context(|| format!("cannot make the {} of {}", types.kind, self.name))?)
                }
            }
        }
        Ok(())
    }

    /// How far it is in a cluster that has run since `began`: the API still holds what was so before. An API server that
    /// does not answer may do so soon.
    pub async fn state(&self, client: &Client, began: Timestamp) -> State {
        let Some(pods) = &self.pods else { return State::Works };
        let api: Api<Deployment> = Api::namespaced(client.clone(), "kube-system");
        let deployment = match api.get_opt(pods.deployment).await {
            Ok(Some(deployment)) => deployment,
            Ok(None) => return State::Removed,
            Err(_) => return State::Starting,
        };
        let Some(spec) = deployment.spec.filter(|spec| spec.replicas != Some(0)) else {
            return State::Removed;
        };
        let labels =
            spec.selector.match_labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}"));
        let labels = ListParams::default().labels(&labels.collect::<Vec<_>>().join(","));
        let Ok(found) = Api::<Pod>::namespaced(client.clone(), "kube-system").list(&labels).await else {
            return State::Starting;
        };
        let found: Vec<_> =
            found.iter().map(|pod| ready_and_fresh(pod, began)).filter(|(ready, _)| *ready).collect();
        if found.is_empty() || found.iter().any(|(_, fresh)| !fresh) {
            return State::Starting;
        }
        let Some(Ok(request)) = pods.path.map(|path| http::Request::get(path).body(Vec::new())) else {
            return State::Works;
        };
        if client.request_text(request).await.is_ok() { State::Works } else { State::Starting }
    }
}

/// The URLs under which Ingresses answer on this machine, once they have one: at the address of the load balancer of their
/// service, or until there is one at a node's.
pub fn ingress_urls(cluster: &Cluster, services: &[Service]) -> Option<String> {
    let name = |of: &ObjectMeta| {
        (of.namespace.as_deref(), of.name.as_deref()) == (Some("kube-system"), Some("ingress"))
    };
    let service = services.iter().find(|service| name(&service.metadata))?;
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balanced = status.and_then(|status| status.ingress.as_ref()?.first()?.ip.as_ref());
    let urls = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).filter_map(|port| {
        let scheme = port.name.as_ref()?;
        Some(match balanced {
            Some(address) => format!("{scheme}://{address}"),
            None => format!("{scheme}://{}:{}", cluster.node(0).address, port.node_port?),
        })
    });
    let urls: Vec<String> = urls.collect();
    (!urls.is_empty()).then(|| urls.join(" and "))
}

fn resource(types: &TypeMeta) -> Result<ApiResource> {
    let kind = GroupVersionKind::try_from(types).context("a manifest has an unreadable apiVersion")?;
    Ok(ApiResource::from_gvk(&kind))
}

#[cfg(test)]
mod tests;
