//! Brings cpu and memory of running containers to what their pod says now, without a restart. Corresponds to upstream's
//! `allocation` manager and `doPodResizeAction` (KEP-1287).
//!
//! A change that the node has no room for waits, and the status says so; until then all that is done for the pod, also a
//! start of its containers, goes by what it was granted before.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use api::pod::Qos;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use machinery::beneath;
use proto::cri::{ContainerConfig, LinuxContainerResources};

use super::Worker;
use crate::admission::Room;
use crate::pod_spec::{self, Role};
use crate::pod_status::Unresized;
use crate::runtime_config::{names, resources};
use crate::runtime_state::PodView;

/// When to look again for room, or after a failure.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What of a container's resources changes while it runs.
fn changeable(resources: &LinuxContainerResources) -> LinuxContainerResources {
    LinuxContainerResources { oom_score_adj: 0, hugepage_limits: Vec::new(), ..resources.clone() }
}

/// Whether the pod's status says that a container has the resources of its spec.
fn is_shown(pod: &Pod, container: &Container) -> bool {
    let status = pod.status.as_ref();
    let lists = status.map(|s| [&s.container_statuses, &s.init_container_statuses]);
    let mut statuses = lists.into_iter().flatten().flatten().flatten();
    let shown = statuses.find(|c| c.name == container.name).and_then(|c| c.resources.as_ref());
    shown.is_some_and(|shown| *shown == container.resources.clone().unwrap_or_default())
}

/// What running containers may use.
#[derive(Default)]
pub(super) struct Sizes {
    /// What the runtime was last told, by container id.
    told: BTreeMap<String, LinuxContainerResources>,
    /// Why they do not have what the pod says.
    pub(super) unresized: Option<Unresized>,
}

impl Sizes {
    /// Remembers what a container was made with.
    pub(super) fn made(&mut self, id: &str, config: &ContainerConfig) {
        let size = config.linux.as_ref().and_then(|linux| linux.resources.as_ref()).map(changeable);
        self.told.extend(size.map(|size| (id.to_owned(), size)));
    }
}

impl Worker {
    /// The pod with what it is granted: what it asks for if there is room, else what it was granted before.
    pub(super) fn allot(&mut self, pod: Arc<Pod>) -> Arc<Pod> {
        self.sizes.unresized = None;
        let Some(before) = self.kubelet.admission.granted(&pod) else { return pod };
        let (reason, message) = match self.kubelet.resize(&pod) {
            Room::Enough => return pod,
            Room::NotNow(message) => ("Deferred", message),
            Room::Never(message) => ("Infeasible", message),
        };
        self.sizes.unresized = Some(Unresized::Pending { reason, message });
        Arc::new(before)
    }

    /// Resizes what has to be; on failure notes why and answers when to try again.
    pub(super) async fn resize(&mut self, pod: &Arc<Pod>, view: &PodView) -> Option<Timestamp> {
        self.sizes.told.retain(|id, _| view.by_id(id).is_some());
        let mut wanted = Vec::new();
        for running in view.running() {
            let Some((container, role)) = pod_spec::container(pod, &running.name) else { continue };
            let resized = matches!(role, Role::Main | Role::Sidecar)
                && running.hash == pod_spec::container_hash(&container);
            let size = changeable(&resources::of_container(pod, &container, role, self.kubelet.memory));
            if !resized || self.sizes.told.get(&running.id) == Some(&size) {
                continue;
            }
            // A kubelet that just started believes what the one before it told the API.
            if !self.sizes.told.contains_key(&running.id) && is_shown(pod, &container) {
                self.sizes.told.insert(running.id.clone(), size);
                continue;
            }
            wanted.push((running.id.clone(), size));
        }
        if !wanted.is_empty()
            && let Err(failed) = self.carry_out_resize(pod, wanted).await
        {
            self.sizes.unresized.get_or_insert(failed);
        }
        self.sizes.unresized.as_ref().map(|_| self.now() + AGAIN)
    }

    async fn carry_out_resize(
        &mut self,
        pod: &Arc<Pod>,
        wanted: Vec<(String, LinuxContainerResources)>,
    ) -> Result<(), Unresized> {
        let kubelet = Arc::clone(&self.kubelet);
        let failed = |message: String| Unresized::Failed { message };
        // A pod that grows has to grow before its containers, one that shrinks may have to shrink after them.
        let before = self.limit(pod).await;
        for (id, size) in wanted {
            let updated = kubelet.runtime.update_container(&id, size.clone()).await;
            updated.map_err(|error| failed(error.message))?;
            self.sizes.told.insert(id, size);
        }
        let after = if before.is_err() { self.limit(pod).await } else { Ok(()) };
        after.map_err(|error| failed(error.to_string()))
    }

    /// Has the pod's cgroup hold as much as the pod is granted.
    pub(super) async fn limit(&self, pod: &Pod) -> io::Result<()> {
        let (kubelet, limits) = (Arc::clone(&self.kubelet), resources::of_pod(pod));
        let path = names::cgroup(&kubelet.places.cgroup_root, Qos::of(pod), pod_spec::uid(pod));
        beneath::blocking(move || kubelet.cgroups.limit(&path, &limits)).await
    }
}

#[cfg(test)]
mod tests;
