//! From the cpu and memory of a spec to the numbers of cgroups. Corresponds to upstream's
//! `cm/helpers_linux.go` and `qos/policy.go`.

use api::quantity::Quantity;
use k8s_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::pod_spec::{self, Qos, Role};

/// One accounting period of the cpu controller, in microseconds.
pub const PERIOD: i64 = 100_000;

/// The cpu shares (cgroup v1) of a request.
pub fn shares(cpu: &Quantity) -> i64 {
    (cpu.milli_value() * 1024 / 1000).clamp(2, 262_144)
}

/// The cpu time per period of a limit.
pub fn quota(cpu: &Quantity) -> i64 {
    (cpu.milli_value() * PERIOD / 1000).max(1000)
}

/// The cgroup v2 weight that is worth as much as `shares`.
pub fn weight(shares: i64) -> i64 {
    1 + ((shares - 2) * 9999) / 262_142
}

/// What a container may use.
pub fn of_container(
    pod: &Pod,
    container: &Container,
    role: Role,
    node_memory: i64,
) -> LinuxContainerResources {
    let cpu_limit = pod_spec::limit(container, "cpu");
    let memory_limit = pod_spec::limit(container, "memory").map_or(0, |limit| limit.value());
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: cpu_limit.as_ref().map_or(0, quota),
        cpu_shares: pod_spec::request(container, "cpu").as_ref().map_or(2, shares),
        memory_limit_in_bytes: memory_limit,
        memory_swap_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod, container, role, node_memory),
        ..LinuxContainerResources::default()
    }
}

/// How readily the kernel kills a container when memory runs out: the less it asked for, the sooner.
pub fn oom_score_adj(pod: &Pod, container: &Container, role: Role, node_memory: i64) -> i64 {
    let critical = pod_spec::spec(pod).priority.unwrap_or(0) >= 2_000_000_000;
    match pod_spec::qos(pod) {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let asked = pod_spec::request(container, "memory").map_or(0, |request| request.value());
            let asked = match role {
                // A sidecar must not go before the containers it serves.
                Role::Sidecar => {
                    let main = pod_spec::spec(pod).containers.iter();
                    let least = main.map(|c| pod_spec::request(c, "memory").map_or(0, |q| q.value())).min();
                    asked.max(least.unwrap_or(0))
                }
                _ => asked,
            };
            let share = asked.saturating_mul(1000) / node_memory.max(1);
            (1000 - share).clamp(3, 999)
        }
    }
}

/// What a whole pod may use; 0 means no limit of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodLimits {
    /// Shares of cpu.
    pub shares: i64,
    /// Cpu time per period.
    pub quota: i64,
    /// Bytes.
    pub memory: i64,
}

/// What a pod may use, by the sums over its containers.
pub fn of_pod(pod: &Pod) -> PodLimits {
    let best_effort = pod_spec::qos(pod) == Qos::BestEffort;
    let cpu = pod_spec::pod_request(pod, "cpu");
    PodLimits {
        shares: if best_effort || cpu.is_zero() { 2 } else { shares(&cpu) },
        quota: pod_spec::pod_limit(pod, "cpu").as_ref().map_or(0, quota),
        memory: pod_spec::pod_limit(pod, "memory").map_or(0, |limit| limit.value()),
    }
}
