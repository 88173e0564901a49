//! What all pod workers of a node share: the runtime, the API, and what the node knows of itself.

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use machinery::cache::Cache;
use machinery::clock::Clock;
use machinery::tasks::Tasks;
use parking_lot::RwLock;
use proto::cri::DnsConfig;

use crate::admission::{Admission, Room};
use crate::cgroups::Cgroups;
use crate::cri::{CriResult, Disk, Features, Runtime};
use crate::downward::NodeFacts;
use crate::eviction::{Evictions, Pressures};
use crate::images::Images;
use crate::pod_status::Ended;
use crate::pod_worker::Notes;
use crate::referenced_objects::Objects;
use crate::security::{self, Abilities, Sysctls};
use crate::sources::Sources;
use crate::stats::{self, Stats, Summary};
use crate::volumes::{Rounds, Volumes};

/// Folders and names, from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Folder of all that the kubelet keeps.
    pub root: PathBuf,
    /// Folder of the pods' logs.
    pub logs: PathBuf,
    /// The node's cgroup.
    pub cgroup_root: String,
    /// Name servers of the cluster.
    pub cluster_dns: Vec<String>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The node's own resolver.
    pub resolver: PathBuf,
}

impl Places {
    /// The node's own resolver; read anew each time, since it changes under us.
    pub fn node_dns(&self) -> DnsConfig {
        match std::fs::read_to_string(&self.resolver) {
            Ok(text) => crate::dns::parse(&text),
            Err(error) => {
                tracing::warn!(path = %self.resolver.display(), %error, "Cannot read the node's resolver");
                DnsConfig::default()
            }
        }
    }
}

/// What all pod workers share.
pub struct Kubelet {
    /// Folders and names.
    pub places: Places,
    /// The node's memory in bytes.
    pub memory: i64,
    /// How many processes a pod may have, if that is limited.
    pub pod_processes: Option<u64>,
    /// The container runtime.
    pub runtime: Arc<Runtime>,
    /// The runtime's name, for container ids.
    pub runtime_name: String,
    /// The node's images.
    pub images: Arc<Images>,
    /// The pods' volumes.
    pub volumes: Volumes,
    /// When volumes are brought up to date.
    pub rounds: Rounds,
    /// ConfigMaps, Secrets and tokens.
    pub objects: Arc<Objects>,
    /// The cgroups above containers.
    pub cgroups: Cgroups,
    /// What is used, for those who ask.
    pub stats: Stats,
    /// The kernel settings that pods may have.
    pub sysctls: Sysctls,
    /// Who may run here.
    pub admission: Admission,
    /// Who is to go.
    pub evictions: Evictions,
    /// What the node is short of.
    pub pressures: Pressures,
    /// The pods of this node.
    pub pods: Sources,
    /// All services.
    pub services: Cache<Service>,
    /// All nodes.
    pub nodes: Cache<Node>,
    /// This node's name.
    pub node_name: String,
    /// What pods may learn of the node.
    pub node: RwLock<NodeFacts>,
    /// The API.
    pub client: kube::Client,
    /// Events.
    pub notes: Notes,
    /// The time that pods go by.
    pub clock: Clock,
    /// Owner of the workers.
    pub tasks: Tasks,
}

impl Kubelet {
    /// What of a pod's wishes about its isolation the node can enforce, with a handler of the runtime.
    pub async fn abilities(&self, pod: &Pod, handler: &str) -> CriResult<Abilities> {
        let runtime = match security::asks_runtime(pod) {
            true => self.runtime.features(handler).await?,
            false => Features::default(),
        };
        Ok(Abilities::now(&self.sysctls, &runtime))
    }

    /// Lets a pod run here if the node enforces what it says, and if it fits beside the others; else says why not.
    pub fn admit(&self, pod: &Arc<Pod>, abilities: &Abilities) -> Result<(), Ended> {
        self.pressures.admit(pod)?;
        security::admit(pod, abilities)?;
        self.admission.admit(pod, self.nodes.get(None, &self.node_name).as_deref())
    }

    /// Whether a pod that runs here may have what it asks for now; from then on it has it.
    pub fn resize(&self, pod: &Arc<Pod>) -> Room {
        self.admission.resize(pod, self.nodes.get(None, &self.node_name).as_deref())
    }

    /// What the node and its pods use now; of their disks only where it is known what the runtime says of them.
    pub fn summary(&self, disk: Option<&Disk>) -> Summary {
        self.stats.read(&stats::Sources {
            node: &self.node_name,
            cgroup_root: &self.places.cgroup_root,
            cgroups: &self.cgroups,
            root: &self.places.root,
            logs: &self.places.logs,
            pods: &self.pods.list(),
            disk,
        })
    }

    /// What pods may learn of the node now.
    pub fn node_facts(&self) -> NodeFacts {
        self.node.read().clone()
    }
}
