//! Whether this node enforces what a pod's spec says about its isolation. What it does not enforce it refuses
//! before anything of the pod runs.
//!
//! [`TABLE`] has a row for every field that can say something about isolation, and for those of other types whose new
//! fields must not be passed over in silence; a test holds it against the API's schema. Reasons and words are
//! upstream's where it has them (`lifecycle`, `security/apparmor`, `sysctl`, `userns`); upstream passes over SELinux
//! options on nodes without SELinux.

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

/// What becomes of a field.
#[derive(Clone, Copy)]
enum Rule {
    /// Done by this kubelet or the runtime, or the container that has it is not made.
    Enforced,
    /// The pod fails unless the node can do it.
    Admitted(Check),
    /// The pod gets no sandbox unless the node can do it.
    AtSandbox(Check),
    /// The container that has it is not made.
    AtContainer(Check),
    /// Means something on other systems, or together with another field, only.
    Moot,
    /// Not about isolation.
    Other,
}

/// A field of a type, and its rule.
type Row = (&'static str, &'static str, Rule);

use Rule::{Admitted, AtContainer, AtSandbox, Enforced, Moot, Other};

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("PodSecurityContext", "appArmorProfile", Admitted(checks::app_armor)),
    ("PodSecurityContext", "fsGroup", Enforced),
    ("PodSecurityContext", "fsGroupChangePolicy", Enforced),
    ("PodSecurityContext", "runAsGroup", Enforced),
    ("PodSecurityContext", "runAsNonRoot", Enforced),
    ("PodSecurityContext", "runAsUser", Enforced),
    // How the labels of seLinuxOptions get onto files.
    ("PodSecurityContext", "seLinuxChangePolicy", Moot),
    ("PodSecurityContext", "seLinuxOptions", Admitted(checks::selinux)),
    ("PodSecurityContext", "seccompProfile", Enforced),
    ("PodSecurityContext", "supplementalGroups", Enforced),
    ("PodSecurityContext", "supplementalGroupsPolicy", Admitted(checks::groups_policy)),
    ("PodSecurityContext", "sysctls", Admitted(checks::sysctls)),
    ("PodSecurityContext", "windowsOptions", Moot),

    ("SecurityContext", "allowPrivilegeEscalation", Enforced),
    ("SecurityContext", "appArmorProfile", Admitted(checks::app_armor)),
    ("SecurityContext", "capabilities", Enforced),
    ("SecurityContext", "privileged", Enforced),
    ("SecurityContext", "procMount", AtSandbox(checks::proc_mount)),
    ("SecurityContext", "readOnlyRootFilesystem", Enforced),
    ("SecurityContext", "runAsGroup", Enforced),
    ("SecurityContext", "runAsNonRoot", Enforced),
    ("SecurityContext", "runAsUser", Enforced),
    ("SecurityContext", "seLinuxOptions", Admitted(checks::selinux)),
    ("SecurityContext", "seccompProfile", Enforced),
    ("SecurityContext", "windowsOptions", Moot),

    ("VolumeMount", "mountPath", Enforced),
    ("VolumeMount", "mountPropagation", Enforced),
    ("VolumeMount", "name", Enforced),
    ("VolumeMount", "readOnly", Enforced),
    ("VolumeMount", "recursiveReadOnly", Enforced),
    ("VolumeMount", "subPath", Enforced),
    ("VolumeMount", "subPathExpr", Enforced),

    ("Container", "args", Other),
    ("Container", "command", Other),
    ("Container", "env", Other),
    ("Container", "envFrom", Other),
    ("Container", "image", Other),
    ("Container", "imagePullPolicy", Other),
    ("Container", "lifecycle", Other),
    ("Container", "livenessProbe", Other),
    ("Container", "name", Other),
    ("Container", "ports", Other),
    ("Container", "readinessProbe", Other),
    ("Container", "resizePolicy", Other),
    ("Container", "resources", Enforced),
    ("Container", "restartPolicy", Other),
    ("Container", "restartPolicyRules", AtContainer(checks::restart_rules)),
    ("Container", "securityContext", Other),
    ("Container", "startupProbe", Other),
    ("Container", "stdin", Other),
    ("Container", "stdinOnce", Other),
    ("Container", "terminationMessagePath", Other),
    ("Container", "terminationMessagePolicy", Other),
    ("Container", "tty", Other),
    ("Container", "volumeDevices", Other),
    ("Container", "volumeMounts", Other),
    ("Container", "workingDir", Other),

    ("EnvVarSource", "configMapKeyRef", Other),
    ("EnvVarSource", "fieldRef", Other),
    ("EnvVarSource", "fileKeyRef", Other),
    ("EnvVarSource", "resourceFieldRef", Other),
    ("EnvVarSource", "secretKeyRef", Other),

    // Others than memory and the node's disk fail the volume.
    ("EmptyDirVolumeSource", "medium", Enforced),
    // On a disk it bounds nothing.
    ("EmptyDirVolumeSource", "sizeLimit", Other),

    ("PodSpec", "activeDeadlineSeconds", Other),
    ("PodSpec", "affinity", Other),
    ("PodSpec", "automountServiceAccountToken", Enforced),
    ("PodSpec", "containers", Other),
    ("PodSpec", "dnsConfig", Other),
    ("PodSpec", "dnsPolicy", Other),
    ("PodSpec", "enableServiceLinks", Other),
    ("PodSpec", "ephemeralContainers", Other),
    ("PodSpec", "hostAliases", Other),
    ("PodSpec", "hostIPC", Enforced),
    ("PodSpec", "hostNetwork", Enforced),
    ("PodSpec", "hostPID", Enforced),
    ("PodSpec", "hostUsers", AtSandbox(checks::host_users)),
    ("PodSpec", "hostname", Other),
    ("PodSpec", "hostnameOverride", Other),
    ("PodSpec", "imagePullSecrets", Other),
    ("PodSpec", "initContainers", Other),
    ("PodSpec", "nodeName", Other),
    ("PodSpec", "nodeSelector", Other),
    ("PodSpec", "os", Admitted(checks::system)),
    ("PodSpec", "overhead", Enforced),
    ("PodSpec", "preemptionPolicy", Other),
    ("PodSpec", "priority", Other),
    ("PodSpec", "priorityClassName", Other),
    ("PodSpec", "readinessGates", Other),
    ("PodSpec", "resourceClaims", AtSandbox(checks::claims)),
    ("PodSpec", "resources", Enforced),
    ("PodSpec", "restartPolicy", Other),
    // The runtime is asked for the class's handler, and refuses one that it does not have.
    ("PodSpec", "runtimeClassName", Enforced),
    ("PodSpec", "schedulerName", Other),
    ("PodSpec", "schedulingGates", Other),
    ("PodSpec", "schedulingGroup", Other),
    ("PodSpec", "securityContext", Other),
    ("PodSpec", "serviceAccount", Other),
    ("PodSpec", "serviceAccountName", Other),
    ("PodSpec", "setHostnameAsFQDN", Other),
    ("PodSpec", "shareProcessNamespace", Enforced),
    ("PodSpec", "subdomain", Other),
    ("PodSpec", "terminationGracePeriodSeconds", Other),
    ("PodSpec", "tolerations", Other),
    ("PodSpec", "topologySpreadConstraints", Other),
    ("PodSpec", "volumes", Other),
];

/// Whether a pod may begin on this node.
pub fn admit(pod: &Pod, node: &Abilities) -> Result<(), Ended> {
    let subject = Subject { pod, containers: pod_spec::all_containers(pod).collect() };
    let mut checks =
        TABLE.iter().filter_map(|(_, _, rule)| if let Admitted(check) = rule { Some(check) } else { None });
    checks.try_for_each(|check| check(&subject, node)).map_err(|refusal| Ended {
        reason: refusal.reason.to_owned(),
        message: format!("Pod was rejected: {}", refusal.message),
    })
}

/// Whether a pod may have a sandbox on this node.
pub fn sandbox(pod: &Pod, node: &Abilities) -> Result<(), Refusal> {
    let subject = Subject { pod, containers: pod_spec::all_containers(pod).collect() };
    let mut checks =
        TABLE.iter().filter_map(|(_, _, rule)| if let AtSandbox(check) = rule { Some(check) } else { None });
    checks.try_for_each(|check| check(&subject, node))
}

/// Whether a container may be made in a pod that runs here: it may have come later than the pod, or the pod may
/// have begun under a kubelet that could do more.
pub fn container(pod: &Pod, container: &Container, node: &Abilities) -> Result<(), Message> {
    let subject = Subject { pod, containers: vec![container.clone()] };
    let mut checks = TABLE.iter().filter_map(|(kind, _, rule)| match rule {
        Admitted(check) | AtSandbox(check) if *kind == "SecurityContext" => Some(check),
        AtContainer(check) => Some(check),
        _ => None,
    });
    checks
        .try_for_each(|check| check(&subject, node))
        .map_err(|refusal| refusal.message)
        .map_err(Message::from)
}

/// Whether what becomes of a pod depends on the runtime, so that it has to be asked: whether the answers differ for
/// one that can do nothing and one that can do everything.
pub fn asks_runtime(pod: &Pod) -> bool {
    let subject = Subject { pod, containers: pod_spec::all_containers(pod).collect() };
    let mut mounts = subject.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    let [least, most] = Abilities::of_runtimes();
    let differs = |rule: &Rule| match rule {
        Admitted(check) | AtSandbox(check) | AtContainer(check) => {
            check(&subject, &least) != check(&subject, &most)
        }
        Enforced | Moot | Other => false,
    };
    TABLE.iter().any(|(_, _, rule)| differs(rule))
        || mounts.any(|mount| {
            recursive_read_only(mount, least.recursive_read_only)
                != recursive_read_only(mount, most.recursive_read_only)
        })
}
