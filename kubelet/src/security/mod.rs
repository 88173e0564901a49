//! Whether this node enforces what a pod's spec says about its isolation. What it does not enforce it refuses
//! before anything of the pod runs.
//!
//! [`TABLE`] has a row for every field that is checked; `docs/fields.md` says what becomes of all of them. Reasons and
//! words are upstream's where it has them (`lifecycle`, `security/apparmor`, `sysctl`, `userns`); upstream passes over
//! SELinux options on nodes without SELinux.

mod checks;
mod host;
mod sysctls;
#[cfg(test)]
mod tests;

use api::Message;
use k8s_openapi::api::core::v1::{Container, Pod};

pub(crate) use checks::{app_armor_profile, recursive_read_only};
pub use host::Abilities;
pub use sysctls::{Sysctls, dotted};

use crate::pod_spec;
use crate::pod_status::Ended;

/// A pod, and those of its containers that a check is about.
pub struct Subject<'a> {
    pod: &'a Pod,
    containers: Vec<Container>,
}

type Check = fn(&Subject<'_>, &Abilities) -> Result<(), Refusal>;

/// Why a pod may not run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// What becomes of a field that the node does not do.
#[derive(Clone, Copy)]
enum Rule {
    /// The pod fails.
    Admitted(Check),
    /// The pod gets no sandbox.
    AtSandbox(Check),
    /// The container that has it is not made.
    AtContainer(Check),
}

impl Rule {
    fn check(self) -> Check {
        match self {
            Admitted(check) | AtSandbox(check) | AtContainer(check) => check,
        }
    }
}

use Rule::{Admitted, AtContainer, AtSandbox};

/// A field, its rule, and whether containers have it, which may come later than their pod.
const TABLE: &[(&str, Rule, bool)] = &[
    ("appArmorProfile", Admitted(checks::app_armor), true),
    ("seLinuxOptions", Admitted(checks::selinux), true),
    ("supplementalGroupsPolicy", Admitted(checks::groups_policy), false),
    ("sysctls", Admitted(checks::sysctls), false),
    ("os", Admitted(checks::system), false),
    ("procMount", AtSandbox(checks::proc_mount), true),
    ("hostUsers", AtSandbox(checks::host_users), false),
    ("resourceClaims", AtSandbox(checks::claims), false),
    ("restartPolicyRules", AtContainer(checks::restart_rules), true),
];

/// Whether a pod may begin on this node.
pub fn admit(pod: &Pod, node: &Abilities) -> Result<(), Ended> {
    let subject = Subject { pod, containers: pod_spec::all_containers(pod).collect() };
    let mut checks =
        TABLE.iter().filter_map(|(_, rule, _)| if let Admitted(check) = rule { Some(check) } else { None });
    checks
        .try_for_each(|check| check(&subject, node))
        .map_err(|refusal| Ended::new(refusal.reason, format!("Pod was rejected: {}", refusal.message)))
}

/// Whether a pod may have a sandbox on this node.
pub fn sandbox(pod: &Pod, node: &Abilities) -> Result<(), Refusal> {
    let subject = Subject { pod, containers: pod_spec::all_containers(pod).collect() };
    let mut checks =
        TABLE.iter().filter_map(|(_, rule, _)| if let AtSandbox(check) = rule { Some(check) } else { None });
    checks.try_for_each(|check| check(&subject, node))
}

/// Whether a container may be made in a pod that runs here: it may have come later than the pod, or the pod may
/// have begun under a kubelet that could do more.
pub fn container(pod: &Pod, container: &Container, node: &Abilities) -> Result<(), Message> {
    let subject = Subject { pod, containers: vec![container.clone()] };
    let mut checks = TABLE.iter().filter(|(_, _, of_containers)| *of_containers);
    checks.try_for_each(|(_, rule, _)| rule.check()(&subject, node)).map_err(|refusal| refusal.message.into())
}

/// Whether what becomes of a pod depends on the runtime, so that it has to be asked: whether the answers differ for
/// one that can do nothing and one that can do everything.
pub fn asks_runtime(pod: &Pod) -> bool {
    let subject = Subject { pod, containers: pod_spec::all_containers(pod).collect() };
    let mut mounts = subject.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    let [least, most] = Abilities::of_runtimes();
    let differs = |rule: Rule| rule.check()(&subject, &least) != rule.check()(&subject, &most);
    TABLE.iter().any(|(_, rule, _)| differs(*rule))
        || mounts.any(|mount| {
            recursive_read_only(mount, least.recursive_read_only)
                != recursive_read_only(mount, most.recursive_read_only)
        })
}
