//! Whose the Node object is: a kubelet registers its node, and leaves alone one that another machine keeps alive.
//!
//! A machine is known by its ids and its address, as the Node shows them. Another one lives as long as the
//! node's lease is seen to change; clocks of others are only believed when they say that nothing is new. A
//! kubelet that was started again on its machine finds itself and goes on. Upstream takes the Node over
//! silently (`tryRegisterWithAPIServer`), and two machines run each of its pods.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{heartbeat, machine};

/// How long a lease must not change until its holder counts as gone.
const QUIET: Duration = Duration::from_secs(heartbeat::DURATION as u64);
/// The same when the lease has run out by this machine's clock: longer than a living holder's renewals take.
const QUIET_EXPIRED: Duration = Duration::from_secs(15);

/// By what a machine is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    id: String,
    uuid: String,
    address: String,
}

impl Machine {
    /// This machine, which the node's address leads to.
    pub fn own(address: &IpAddr) -> Self {
        Self { id: machine::id(), uuid: machine::uuid(), address: address.to_string() }
    }

    /// The machine that a Node speaks of; what it does not say is empty.
    pub fn of(node: &Node) -> Self {
        let Some(status) = &node.status else { return Self::default() };
        let info = status.node_info.as_ref();
        let mut addresses = status.addresses.iter().flatten();
        let address = addresses.find(|address| address.type_ == "InternalIP").map(|a| a.address.clone());
        Self {
            id: info.map(|info| info.machine_id.clone()).unwrap_or_default(),
            uuid: info.map(|info| info.system_uuid.clone()).unwrap_or_default(),
            address: address.unwrap_or_default(),
        }
    }

    /// Whether both may be one machine: what is not known of either is no difference.
    pub fn may_be(&self, other: &Self) -> bool {
        let pairs = [(&self.id, &other.id), (&self.uuid, &other.uuid), (&self.address, &other.address)];
        pairs.into_iter().all(|(a, b)| a.is_empty() || b.is_empty() || a == b)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (machine ID {:?}, system UUID {:?})", self.address, self.id, self.uuid)
    }
}

/// Another machine keeps the Node of this name alive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the node {node:?} is kept alive by another machine, {holder}; this one is {own}: stop the kubelet there, \
     or give this one another name with --hostname-override"
)]
pub struct Held {
    node: String,
    holder: Machine,
    own: Machine,
}

/// Why a node could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// It is another machine's.
    #[error(transparent)]
    Held(#[from] Held),
    /// The API server cannot be asked, or refuses.
    #[error("cannot register the node")]
    Api(#[from] kube::Error),
}

/// A lease's time of renewal, and since when it has been seen to be that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    renewed: Timestamp,
    since: Instant,
}

/// Registers one node.
pub struct Registration {
    nodes: Api<Node>,
    leases: Api<Lease>,
    seen: Option<Seen>,
}

impl Registration {
    /// Nothing is known yet of other holders.
    pub fn new(client: &kube::Client) -> Self {
        Self { nodes: Api::all(client.clone()), leases: heartbeat::leases(client), seen: None }
    }

    /// Creates the node's object, or brings labels and annotations of the one that is there up to date if it is this
    /// machine's or nobody's any more.
    pub async fn register(&mut self, node: &Node) -> Result<(), RegistrationError> {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        match self.nodes.create(&PostParams::default(), node).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {}
            Err(error) => return Err(error.into()),
        }
        if let Err(held) = check(&self.nodes.get(name).await?, Machine::of(node)) {
            let lease = self.leases.get_opt(name).await?;
            let renewed = lease.and_then(|lease| lease.spec?.renew_time).map(|time| time.0);
            if lives(&mut self.seen, renewed, Instant::now(), machinery::clock::now()) {
                return Err(held.into());
            }
            tracing::warn!(node = name, holder = %held.holder, "Taking over the node of a machine that is silent");
        }
        let (labels, annotations) = (&node.metadata.labels, &node.metadata.annotations);
        let patch = json!({"metadata": {"labels": labels, "annotations": annotations}});
        self.nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}

/// Fails when a node's object speaks of another machine.
pub fn check(node: &Node, own: Machine) -> Result<(), Held> {
    let holder = Machine::of(node);
    if holder.may_be(&own) {
        return Ok(());
    }
    Err(Held { node: node.metadata.name.clone().unwrap_or_default(), holder, own })
}

/// Whether somebody renews the lease, as far as can be said by now.
fn lives(seen: &mut Option<Seen>, renewed: Option<Timestamp>, now: Instant, clock: Timestamp) -> bool {
    let Some(renewed) = renewed else { return false };
    let since = match seen {
        Some(seen) if seen.renewed == renewed => seen.since,
        _ => now,
    };
    *seen = Some(Seen { renewed, since });
    let expired = clock.duration_since(renewed).unsigned_abs() > QUIET;
    now.duration_since(since) < if expired { QUIET_EXPIRED } else { QUIET }
}

#[cfg(test)]
mod tests;
