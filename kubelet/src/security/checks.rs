//! The checks of the table. Pure.

use api::{Message, message};
use k8s_openapi::api::core::v1::{AppArmorProfile, Container, Pod, SELinuxOptions, VolumeMount};

use super::{Abilities, Refusal, Subject};
use crate::pod_spec;

/// AppArmor profiles were annotations once; such pods are still there.
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The AppArmor profile of a container.
pub(crate) fn app_armor_profile(pod: &Pod, container: &Container) -> Option<AppArmorProfile> {
    let own = container.security_context.as_ref().and_then(|c| c.app_armor_profile.clone());
    let annotated = || {
        let key = format!("{APP_ARMOR_ANNOTATION}{}", container.name);
        let value = pod.metadata.annotations.as_ref()?.get(&key)?;
        let profile = |kind: &str, name: Option<&str>| AppArmorProfile {
            type_: kind.to_owned(),
            localhost_profile: name.map(str::to_owned),
        };
        Some(match value.as_str() {
            "runtime/default" => profile("RuntimeDefault", None),
            "unconfined" => profile("Unconfined", None),
            other => profile("Localhost", other.strip_prefix("localhost/")),
        })
    };
    let of_pod = || pod_spec::spec(pod).security_context.as_ref()?.app_armor_profile.clone();
    own.or_else(annotated).or_else(of_pod)
}

pub(super) fn app_armor(subject: &Subject<'_>, node: &Abilities) -> Result<(), Refusal> {
    let cannot =
        |why: String| Err(Refusal { reason: "AppArmor", message: format!("Cannot enforce AppArmor: {why}") });
    for container in &subject.containers {
        let Some(profile) = app_armor_profile(subject.pod, container) else { continue };
        let name = profile.localhost_profile.as_deref().unwrap_or_default().trim();
        match profile.type_.as_str() {
            "Unconfined" => {}
            _ if !node.app_armor => return cannot("AppArmor is not enabled on the host".to_owned()),
            "RuntimeDefault" => {}
            "Localhost" if name.is_empty() => {
                return cannot(format!("invalid empty AppArmor profile name: {name:?}"));
            }
            "Localhost" => {}
            other => return cannot(format!("unknown AppArmor profile type {other:?}")),
        }
    }
    Ok(())
}

/// Whether options ask for more confinement than a host without SELinux has: for another type, role or user than
/// those that SELinux lets do everything. A level alone labels files, so that pods with the same one share them; upstream's
/// conformance suite sets one on nodes without SELinux.
fn confines(options: &SELinuxOptions) -> bool {
    let one_of = |value: Option<&String>, free: &[&str]| {
        value.is_none_or(|value| value.is_empty() || free.contains(&value.as_str()))
    };
    !(one_of(options.type_.as_ref(), &["spc_t", "unconfined_t"])
        && one_of(options.role.as_ref(), &["system_r", "unconfined_r"])
        && one_of(options.user.as_ref(), &["system_u", "unconfined_u"]))
}

pub(super) fn selinux(subject: &Subject<'_>, node: &Abilities) -> Result<(), Refusal> {
    let of_pod = pod_spec::spec(subject.pod).security_context.as_ref();
    let of_pod = of_pod.and_then(|c| c.se_linux_options.as_ref());
    let confined = subject.containers.iter().any(|container| {
        let context = container.security_context.as_ref();
        let own = context.and_then(|c| c.se_linux_options.as_ref());
        // A privileged container is not confined, whatever its options say.
        let privileged = context.is_some_and(|c| c.privileged == Some(true));
        !privileged && own.or(of_pod).is_some_and(confines)
    });
    match confined && !node.selinux {
        true => Err(Refusal {
            reason: "SELinux",
            message: "Cannot enforce SELinux: SELinux is not enabled on the host or in the container runtime"
                .to_owned(),
        }),
        false => Ok(()),
    }
}

pub(super) fn groups_policy(subject: &Subject<'_>, node: &Abilities) -> Result<(), Refusal> {
    let context = pod_spec::spec(subject.pod).security_context.as_ref();
    match context.and_then(|c| c.supplemental_groups_policy.as_deref()) {
        None | Some("" | "Merge") => Ok(()),
        Some("Strict") if node.groups_policy => Ok(()),
        Some(policy) => Err(Refusal {
            reason: "SupplementalGroupsPolicyNotSupported",
            message: format!("SupplementalGroupsPolicy={policy} is not supported in this node"),
        }),
    }
}

pub(super) fn sysctls(subject: &Subject<'_>, node: &Abilities) -> Result<(), Refusal> {
    let spec = pod_spec::spec(subject.pod);
    let mut asked = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    let (network, ipc) = (spec.host_network == Some(true), spec.host_ipc == Some(true));
    let refused = asked.try_for_each(|sysctl| node.sysctls.check(&sysctl.name, network, ipc));
    refused.map_err(|why| Refusal { reason: "SysctlForbidden", message: format!("forbidden sysctl: {why}") })
}

pub(super) fn system(subject: &Subject<'_>, _node: &Abilities) -> Result<(), Refusal> {
    match &pod_spec::spec(subject.pod).os {
        Some(os) if os.name != "linux" => Err(Refusal {
            reason: "PodOSNotSupported",
            message: "Failed to admit pod as the OS field doesn't match node OS".to_owned(),
        }),
        _ => Ok(()),
    }
}

fn no_sandbox(why: &str) -> Refusal {
    Refusal { reason: "FailedCreatePodSandBox", message: format!("Failed to create pod sandbox: {why}") }
}

/// Devices of claims come from drivers on the node, of which there are none.
pub(super) fn claims(subject: &Subject<'_>, _node: &Abilities) -> Result<(), Refusal> {
    match pod_spec::spec(subject.pod).resource_claims.as_ref().and_then(|claims| claims.first()) {
        Some(claim) => Err(Refusal {
            reason: "FailedPrepareDynamicResources",
            message: format!(
                "Failed to prepare dynamic resources: this node has no drivers for resource claims such as {:?}",
                claim.name
            ),
        }),
        None => Ok(()),
    }
}

pub(super) fn host_users(subject: &Subject<'_>, _node: &Abilities) -> Result<(), Refusal> {
    match pod_spec::spec(subject.pod).host_users {
        Some(false) => {
            Err(no_sandbox("can't set `spec.hostUsers: false`, this node does not support user namespaces"))
        }
        _ => Ok(()),
    }
}

/// A bare `/proc` is harmless only in a user namespace of the pod's own.
pub(super) fn proc_mount(subject: &Subject<'_>, _node: &Abilities) -> Result<(), Refusal> {
    let bare = |container: &&Container| {
        let mount = container.security_context.as_ref().and_then(|c| c.proc_mount.as_deref());
        !matches!(mount, None | Some("" | "Default"))
    };
    match subject.containers.iter().find(bare) {
        Some(container) if pod_spec::spec(subject.pod).host_users != Some(false) => Err(no_sandbox(
            &format!("`hostUsers` must be false for the procMount of container {:?}", container.name),
        )),
        _ => Ok(()),
    }
}

pub(super) fn restart_rules(subject: &Subject<'_>, _node: &Abilities) -> Result<(), Refusal> {
    let others =
        |c: &&Container| c.restart_policy_rules.iter().flatten().any(|rule| rule.action != "Restart");
    match subject.containers.iter().find(others) {
        Some(container) => Err(Refusal {
            reason: "CreateContainerConfigError",
            message: format!(
                "container {:?} has restartPolicyRules with another action than Restart, which this node does not do",
                container.name
            ),
        }),
        None => Ok(()),
    }
}

/// Whether a mount is to be read-only with all that is mounted below it; when that cannot be had, a sentence.
pub(crate) fn recursive_read_only(mount: &VolumeMount, supported: bool) -> Result<bool, Message> {
    let mode = match mount.recursive_read_only.as_deref() {
        None | Some("" | "Disabled") => return Ok(false),
        Some(mode) => mode,
    };
    let refused = |why: &str| {
        Err(message!("volume {:?} requested recursive read-only mode, but it is {why}", mount.name))
    };
    if mount.read_only != Some(true) {
        return refused("not read-only");
    }
    match mount.mount_propagation.as_deref() {
        None | Some("" | "None") => {}
        Some(other) => return refused(&format!("not compatible with propagation {other:?}")),
    }
    match mode {
        "IfPossible" => Ok(supported),
        "Enabled" if supported => Ok(true),
        "Enabled" => refused("not supported by the runtime"),
        other => Err(message!("unknown recursive read-only mode {other:?}")),
    }
}
