//! Facts that follow from a pod's spec and status, read in one way by all who ask: validation, the scheduler, the
//! kubelet, quotas, controllers. Pure. Upstream: component-helpers' `resource` and `scheduling/corev1`, `qos`,
//! `pkg/api/pod`.

mod host_port;
pub mod placement;
mod qos;
pub mod references;
mod resources;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

pub use host_port::{HostPort, HostPorts};
pub use qos::Qos;
pub use resources::{
    Resources, bound, is_resource_of_whole_pods, limits, limits_of_containers, requests, requests_held,
    requests_of_containers,
};

/// The annotation that tells a mirror of a static pod; its value is that pod's uid.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether an init container goes on to run beside the containers.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The containers that run for as long as the pod does: its own, then its sidecars.
pub fn lasting_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    spec.containers.iter().chain(sidecars)
}

/// The names of the claims that a pod mounts, in the order of its volumes, and of each whether it is made for the pod.
pub fn claims<'a>(pod: &'a str, spec: &'a PodSpec) -> impl Iterator<Item = (String, bool)> + 'a {
    spec.volumes.iter().flatten().filter_map(move |volume| match &volume.persistent_volume_claim {
        Some(source) => Some((source.claim_name.clone(), false)),
        None => volume.ephemeral.as_ref().map(|_| (ephemeral_claim(pod, &volume.name), true)),
    })
}

/// The name of the claim that is made for a pod's ephemeral volume.
pub fn ephemeral_claim(pod: &str, volume: &str) -> String {
    format!("{pod}-{volume}")
}

/// The ports that a pod takes of its node.
pub fn host_ports(spec: &PodSpec) -> impl Iterator<Item = HostPort> {
    lasting_containers(spec).flat_map(|container| container.ports.iter().flatten()).filter_map(HostPort::of)
}

/// Whether a pod in this phase never runs again.
pub fn is_final(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

/// Whether a pod has run to its end.
pub fn is_finished(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).is_some_and(is_final)
}
