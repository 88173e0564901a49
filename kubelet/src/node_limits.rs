//! What all pods of the node may take together, so that pods, with limits or without, leave the node itself
//! alive: a bound on memory and processes of the cgroup above them. Corresponds to upstream's enforcement of
//! node allocatable (`cm/node_container_manager_linux.go`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::pod::Qos;
use api::quantity::Quantity;
use machinery::events::EventType::{Normal, Warning};
use machinery::tasks::Tasks;

use crate::kubelet::Kubelet;
use crate::node_status::machine;
use crate::runtime_config::names;

/// When a failure is followed by another try.
const AGAIN: Duration = Duration::from_secs(60);

/// Sets the bounds now; goes on trying when that fails.
pub fn enforce(kubelet: &Arc<Kubelet>, tasks: &Tasks) {
    if tried(kubelet) {
        return;
    }
    let (kubelet, stop) = (Arc::clone(kubelet), tasks.token());
    tasks.spawn_finite("node limits", async move {
        while stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_some() {
            if tried(&kubelet) {
                return;
            }
        }
    });
}

/// Tries to set the bounds, and tells whether that went well.
fn tried(kubelet: &Kubelet) -> bool {
    let path = names::qos_cgroup(&kubelet.places.cgroup_root, Qos::Guaranteed);
    let (kind, reason, message) = match set(kubelet, &path) {
        Ok(()) => {
            (Normal, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods".to_owned())
        }
        Err(error) => {
            tracing::warn!(path, %error, "Cannot bound what all pods take together");
            let message = format!("Failed to update Node Allocatable Limits {path:?}: {error}");
            (Warning, "FailedNodeAllocatableEnforcement", message)
        }
    };
    kubelet.notes.node(&kubelet.node_name, kind, reason, message);
    kind == Normal
}

fn set(kubelet: &Kubelet, path: &str) -> io::Result<()> {
    let facts = kubelet.node_facts();
    let memory = facts.allocatable.get("memory").map_or(0, |wire| Quantity::of(wire).value());
    let memory = u64::try_from(memory).ok().filter(|bytes| *bytes > 0);
    let memory = memory.ok_or_else(|| io::Error::other("the node's memory is not known"))?;
    let processes = machine::processes_for_pods()?;
    kubelet.cgroups.create(path)?;
    kubelet.cgroups.bound(path, memory, processes)
}
