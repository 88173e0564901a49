//! From the cpu and memory of a spec to the numbers of cgroups. Corresponds to upstream's
//! `cm/helpers_linux.go` and `qos/policy.go`.

use std::ops::RangeInclusive;

use api::pod::{self, Qos};
use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod};
use kinds::builtin::priority_class::CRITICAL;
use proto::cri::{HugepageLimit, LinuxContainerResources};

use crate::pod_spec::{self, Role};

/// One accounting period of the cpu controller, in microseconds.
pub const PERIOD: i64 = 100_000;

/// The shares that the kernel takes.
const SHARES: RangeInclusive<i64> = 2..=262_144;
/// The microseconds of cpu time per period that the kernel takes; beyond it refuses, in v1 and in v2.
const QUOTA: RangeInclusive<i64> = 1000..=(1 << 44) - 1;

/// `milli` thousandths of `unit`, within what the kernel takes.
fn scaled(milli: i64, unit: i64, range: &RangeInclusive<i64>) -> i64 {
    let exact = i128::from(milli) * i128::from(unit) / 1000;
    i64::try_from(exact).unwrap_or(i64::MAX).clamp(*range.start(), *range.end())
}

/// The cpu shares (cgroup v1) of a request.
pub fn shares(cpu: &Quantity) -> i64 {
    scaled(cpu.milli_value(), 1024, &SHARES)
}

/// The cpu time per period of a limit.
pub fn quota(cpu: &Quantity) -> i64 {
    scaled(cpu.milli_value(), PERIOD, &QUOTA)
}

/// The cgroup v2 weight that is worth as much as `shares`.
pub fn weight(shares: i64) -> i64 {
    let (least, most) = (*SHARES.start(), *SHARES.end());
    1 + (shares.clamp(least, most) - least) * 9999 / (most - least)
}

/// What a container may use.
pub fn of_container(
    pod: &Pod,
    container: &Container,
    role: Role,
    node_memory: i64,
) -> LinuxContainerResources {
    // A container without a limit of its own may use what the pod as a whole may.
    let limit =
        |resource| pod_spec::limit(container, resource).or_else(|| pod_spec::whole_limit(pod, resource));
    let cpu_limit = limit("cpu");
    let memory_limit = limit("memory").map_or(0, |limit| limit.value());
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: cpu_limit.as_ref().map_or(0, quota),
        cpu_shares: pod_spec::request(container, "cpu").or(cpu_limit).as_ref().map_or(2, shares),
        memory_limit_in_bytes: memory_limit,
        memory_swap_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod, container, role, node_memory),
        ..LinuxContainerResources::default()
    }
}

/// How much of each size of huge pages (in bytes) a container may use: what its limits say, and nothing without.
pub fn huge_page_limits(pod: &Pod, container: &Container, sizes: &[u64]) -> Vec<HugepageLimit> {
    let limit = |size: u64| {
        let resource = format!("hugepages-{}i", scaled_down(size, ["", "K", "M", "G", "T"]));
        let limit = pod_spec::limit(container, &resource).or_else(|| pod_spec::whole_limit(pod, &resource));
        let bytes = limit.map_or(0, |limit| u64::try_from(limit.value()).unwrap_or(0));
        HugepageLimit { page_size: scaled_down(size, ["B", "KB", "MB", "GB", "TB"]), limit: bytes }
    };
    sizes.iter().copied().map(limit).collect()
}

/// A number of bytes in the largest unit that leaves no rest.
fn scaled_down(bytes: u64, units: [&str; 5]) -> String {
    let power = (bytes.trailing_zeros() / 10).min(4);
    format!("{}{}", bytes >> (10 * power), units[power as usize])
}

/// How readily the kernel kills a container when memory runs out: the less it asked for, the sooner.
pub fn oom_score_adj(pod: &Pod, container: &Container, role: Role, node_memory: i64) -> i64 {
    let critical = pod_spec::spec(pod).priority.unwrap_or(0) >= CRITICAL;
    match Qos::of(pod) {
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
    let best_effort = Qos::of(pod) == Qos::BestEffort;
    let spec = pod_spec::spec(pod);
    let cpu = pod::requests(spec).get("cpu").copied().unwrap_or_default();
    PodLimits {
        shares: if best_effort || cpu.is_zero() { 2 } else { shares(&cpu) },
        quota: pod::bound(spec, "cpu").as_ref().map_or(0, quota),
        memory: pod::bound(spec, "memory").map_or(0, |limit| limit.value()),
    }
}

#[cfg(test)]
mod tests;
