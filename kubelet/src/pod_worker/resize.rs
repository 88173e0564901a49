//! Brings cpu and memory of running containers to what their pod says now, without a restart. Corresponds to upstream's
//! `allocation` manager and `doPodResizeAction` (KEP-1287).
//!
//! A change that the node has no room for waits, and the status says so; containers then keep what they have.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::Pod;

use super::Worker;
use crate::admission::Room;
use crate::pod_spec::{self, Role};
use crate::pod_status::Unresized;
use crate::runtime_config::{names, resources};
use crate::runtime_state::PodView;

/// When to look again for room, or after a failure.
const AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What of a container's resources changes while it runs.
pub(super) fn changeable(resources: &LinuxContainerResources) -> LinuxContainerResources {
    LinuxContainerResources { oom_score_adj: 0, ..resources.clone() }
}

impl Worker {
    /// Resizes what has to be; on failure notes why and answers when to try again.
    pub(super) async fn resize(&mut self, pod: &Arc<Pod>, view: &PodView) -> Option<Timestamp> {
        self.sizes.retain(|id, _| view.by_id(id).is_some());
        let memory = self.kubelet.memory;
        let wanted = view.running().filter_map(|running| {
            let (container, role) = pod_spec::container(pod, &running.name)?;
            let resized = matches!(role, Role::Main | Role::Sidecar)
                && running.hash == pod_spec::container_hash(&container);
            let size = changeable(&resources::of_container(pod, &container, role, memory));
            (resized && self.sizes.get(&running.id) != Some(&size)).then(|| (running.id.clone(), size))
        });
        let wanted: Vec<(String, LinuxContainerResources)> = wanted.collect();
        if wanted.is_empty() {
            self.unresized = None;
            return None;
        }
        self.unresized = self.carry_out_resize(pod, wanted).await.err();
        self.unresized.as_ref().map(|_| Timestamp::now() + AGAIN)
    }

    async fn carry_out_resize(
        &mut self,
        pod: &Arc<Pod>,
        wanted: Vec<(String, LinuxContainerResources)>,
    ) -> Result<(), Unresized> {
        let kubelet = Arc::clone(&self.kubelet);
        match kubelet.resize(pod) {
            Room::Enough => {}
            Room::NotNow(message) => return Err(Unresized::Pending { reason: "Deferred", message }),
            Room::Never(message) => return Err(Unresized::Pending { reason: "Infeasible", message }),
        }
        let failed = |message: String| Unresized::Failed { message };
        let path = names::cgroup(&kubelet.places.cgroup_root, pod_spec::qos(pod), pod_spec::uid(pod));
        let limit = || kubelet.cgroups.limit(&path, &resources::of_pod(pod));
        // A pod that grows has to grow before its containers, one that shrinks may have to shrink after them.
        let before = limit();
        for (id, size) in wanted {
            let updated = kubelet.runtime.update_container(&id, size.clone()).await;
            updated.map_err(|error| failed(error.message))?;
            self.sizes.insert(id, size);
        }
        before.or_else(|_| limit()).map_err(|error| failed(error.to_string()))
    }
}
