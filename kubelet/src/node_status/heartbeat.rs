//! The node's heartbeat: its Lease in `kube-node-lease`, renewed every ten seconds.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

/// How long a heartbeat counts, in seconds.
pub(super) const DURATION: i32 = 40;
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// How soon a failed renewal is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// The leases of all nodes.
pub(super) fn leases(client: &kube::Client) -> Api<Lease> {
    Api::namespaced(client.clone(), "kube-node-lease")
}

/// Renews the lease of a node.
pub struct Heartbeat {
    leases: Api<Lease>,
    nodes: Api<Node>,
    node: String,
}

impl Heartbeat {
    /// The heartbeat of a node.
    pub fn new(client: kube::Client, node: &str) -> Self {
        Self { leases: leases(&client), nodes: Api::all(client), node: node.to_owned() }
    }

    /// Beats for ever.
    pub async fn run(self) {
        loop {
            let pause = match self.beat().await {
                Ok(()) => RENEW,
                Err(error) => {
                    tracing::warn!(%error, "Cannot renew the node's lease");
                    RETRY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Beats once.
    pub(super) async fn beat(&self) -> Result<(), kube::Error> {
        let now = MicroTime(machinery::clock::now());
        let patch = Patch::Merge(json!({"spec": {
            "holderIdentity": self.node, "leaseDurationSeconds": DURATION, "renewTime": now,
        }}));
        match self.leases.patch(&self.node, &PatchParams::default(), &patch).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => self.create(now).await,
            other => other.map(drop),
        }
    }

    async fn create(&self, now: MicroTime) -> Result<(), kube::Error> {
        // The lease goes with the node.
        let owner = self.nodes.get(&self.node).await?;
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.node.clone()),
                owner_references: Some(vec![OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Node".to_owned(),
                    name: self.node.clone(),
                    uid: owner.metadata.uid.unwrap_or_default(),
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.node.clone()),
                lease_duration_seconds: Some(DURATION),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        self.leases.create(&PostParams::default(), &lease).await.map(drop)
    }
}
