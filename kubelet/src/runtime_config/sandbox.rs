//! The configuration of a pod's sandbox.

use std::collections::HashMap;
use std::path::Path;

use api::pod::Qos;
use api::{Message, message};
use k8s_openapi::api::core::v1::{Pod, SELinuxOptions};
use proto::cri::{
    DnsConfig, Int64Value, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol, SeLinuxOption,
    SecurityProfile, SupplementalGroupsPolicy, security_profile::ProfileType,
};

use super::{names, resources};
use crate::labels;
use crate::{pod_spec, security};

/// What the node adds to a pod's spec.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Folder of all pods' logs.
    pub log_root: &'a Path,
    /// The node's cgroup.
    pub cgroup_root: &'a str,
    /// The pod's resolver.
    pub dns: &'a DnsConfig,
    /// The cluster's domain.
    pub cluster_domain: &'a str,
}

/// The longest name of a host that the kernel takes.
const LONGEST_HOSTNAME: usize = 64;

/// The configuration of the pod's sandbox.
///
/// # Errors
/// When its host name is longer than the kernel takes.
pub fn config(pod: &Pod, attempt: u32, around: &Around<'_>) -> Result<PodSandboxConfig, Message> {
    let host_network = pod_spec::host_network(pod);
    let limits = resources::of_pod(pod);
    Ok(PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: pod_spec::name(pod).to_owned(),
            uid: pod_spec::uid(pod).to_owned(),
            namespace: pod_spec::namespace(pod).to_owned(),
            attempt,
        }),
        hostname: if host_network { String::new() } else { hostname(pod, around.cluster_domain)? },
        log_directory: names::log_dir(around.log_root, pod).to_string_lossy().into_owned(),
        dns_config: Some(around.dns.clone()),
        port_mappings: if host_network { Vec::new() } else { port_mappings(pod) },
        labels: pod_labels(pod),
        annotations: annotations(pod),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: names::cgroup(around.cgroup_root, Qos::of(pod), pod_spec::uid(pod)),
            security_context: Some(security_context(pod)),
            sysctls: sysctls(pod),
            overhead: None,
            resources: Some(proto::cri::LinuxContainerResources {
                cpu_period: resources::PERIOD,
                cpu_quota: limits.quota,
                cpu_shares: limits.shares,
                memory_limit_in_bytes: limits.memory,
                ..proto::cri::LinuxContainerResources::default()
            }),
        }),
        windows: None,
    })
}

fn hostname(pod: &Pod, cluster_domain: &str) -> Result<String, Message> {
    let name = names::hostname(pod);
    match names::domain(pod, cluster_domain) {
        Some(domain) if pod_spec::spec(pod).set_hostname_as_fqdn == Some(true) => {
            let (fqdn, length) = (format!("{name}.{domain}"), name.len() + 1 + domain.len());
            match length <= LONGEST_HOSTNAME {
                true => Ok(fqdn),
                false => Err(message!(
                    "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long \
                     ({LONGEST_HOSTNAME} characters is the max, {length} characters requested)"
                )),
            }
        }
        _ => Ok(name),
    }
}

fn pod_labels(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    let ours = [
        (labels::POD_NAME, pod_spec::name(pod)),
        (labels::POD_NAMESPACE, pod_spec::namespace(pod)),
        (labels::POD_UID, pod_spec::uid(pod)),
    ];
    own.chain(ours.map(|(key, value)| (key.to_owned(), value.to_owned()))).collect()
}

fn annotations(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.annotations.iter().flatten().map(|(key, value)| (key.clone(), value.clone()));
    let source = if pod_spec::is_static(pod) { "file" } else { "api" };
    own.chain([(labels::CONFIG_SOURCE.to_owned(), source.to_owned())]).collect()
}

fn sysctls(pod: &Pod) -> HashMap<String, String> {
    let context = pod_spec::spec(pod).security_context.as_ref();
    let sysctls = context.and_then(|c| c.sysctls.as_ref()).into_iter().flatten();
    sysctls.map(|sysctl| (security::dotted(&sysctl.name), sysctl.value.clone())).collect()
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let containers = pod_spec::init_containers(pod).iter().chain(&pod_spec::spec(pod).containers);
    let ports = containers.flat_map(|c| c.ports.iter().flatten()).filter(|port| port.host_port.is_some());
    ports
        .map(|port| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            } as i32,
            container_port: port.container_port,
            host_port: port.host_port.unwrap_or(0),
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

/// Which namespaces a pod's containers live in; one with a target sees that container's processes.
pub(super) fn namespaces(pod: &Pod, target: Option<String>) -> NamespaceOption {
    let spec = pod_spec::spec(pod);
    let of = |host: Option<bool>| if host == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        _ if target.is_some() => NamespaceMode::Target,
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(true)) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: of(spec.host_network) as i32,
        pid: pid as i32,
        ipc: of(spec.host_ipc) as i32,
        target_id: target.unwrap_or_default(),
        ..NamespaceOption::default()
    }
}

/// What SELinux is to label processes with.
pub(super) fn selinux(options: Option<&SELinuxOptions>) -> Option<SeLinuxOption> {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    options.map(|options| SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        r#type: text(&options.type_),
        level: text(&options.level),
    })
}

/// Whether the groups that the image gives to its user count.
pub(super) fn groups_policy(pod: &Pod) -> i32 {
    let context = pod_spec::spec(pod).security_context.as_ref();
    let policy = match context.and_then(|c| c.supplemental_groups_policy.as_deref()) {
        Some("Strict") => SupplementalGroupsPolicy::Strict,
        _ => SupplementalGroupsPolicy::Merge,
    };
    policy as i32
}

fn security_context(pod: &Pod) -> LinuxSandboxSecurityContext {
    let context = pod_spec::spec(pod).security_context.clone().unwrap_or_default();
    let value = |id: Option<i64>| id.map(|value| Int64Value { value });
    let containers = pod_spec::init_containers(pod).iter().chain(&pod_spec::spec(pod).containers);
    let privileged = containers
        .filter_map(|c| c.security_context.as_ref())
        .any(|context| context.privileged.unwrap_or(false));
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, None)),
        run_as_user: value(context.run_as_user),
        // A group without a user is refused by the runtime.
        run_as_group: value(context.run_as_group.filter(|_| context.run_as_user.is_some())),
        supplemental_groups: supplemental_groups(pod),
        selinux_options: selinux(context.se_linux_options.as_ref()),
        supplemental_groups_policy: groups_policy(pod),
        privileged,
        seccomp: Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault as i32,
            localhost_ref: String::new(),
        }),
        ..LinuxSandboxSecurityContext::default()
    }
}

/// The groups that every process of the pod belongs to besides its own.
pub(super) fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let Some(context) = pod_spec::spec(pod).security_context.as_ref() else { return Vec::new() };
    let mut groups: Vec<i64> = context.fs_group.into_iter().collect();
    groups.extend(context.supplemental_groups.iter().flatten().copied());
    groups
}
