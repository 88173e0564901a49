//! The configuration of one container.

use api::{Message, message};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile, VolumeMount};
use proto::cri::{
    Capability, ContainerConfig, ContainerMetadata, ImageSpec, Int64Value, KeyValue, LinuxContainerConfig,
    LinuxContainerResources, LinuxContainerSecurityContext, Mount, MountPropagation, SecurityProfile,
    security_profile::ProfileType,
};

use super::expansion::{self, Environment};
use super::{names, resources, sandbox};
use crate::labels;
use crate::pod_spec::{self, Role};
use crate::security;

/// Paths of /proc that ordinary containers do not see.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// Paths of /proc that ordinary containers cannot write to.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where a volume of the pod can be mounted from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePath {
    /// On the node.
    pub path: PathBuf,
    /// The kind of volume cannot be written to.
    pub read_only: bool,
}

/// What the kubelet prepared for a container.
#[derive(Debug, Clone)]
pub struct Prepared<'a> {
    /// Its environment.
    pub env: Environment,
    /// Its volumes and files of the kubelet's own.
    pub mounts: Vec<Mount>,
    /// The image by content.
    pub image: String,
    /// The user that the image runs as, as far as it is a number.
    pub image_user: Option<i64>,
    /// The name of the user that the image runs as, when it is none.
    pub image_username: &'a str,
    /// Memory of the node.
    pub node_memory: i64,
    /// The sizes of huge pages that the node's kernel has, in bytes.
    pub huge_page_sizes: &'a [u64],
    /// The runtime's id of the container whose processes it shall see.
    pub target: Option<String>,
    /// The folder of the node's own seccomp profiles.
    pub seccomp_profiles: &'a Path,
}

/// The configuration of a container; on refusal a sentence for its status.
pub fn config(
    pod: &Pod,
    container: &Container,
    role: Role,
    attempt: u32,
    prepared: Prepared<'_>,
) -> Result<ContainerConfig, Message> {
    run_as_non_root(pod, container, prepared.image_user, prepared.image_username)?;
    let expanded = |words: &Option<Vec<String>>| {
        expansion::expand_all(words.as_deref().unwrap_or_default(), |name| prepared.env.get(name))
    };
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(ImageSpec {
            image: prepared.image.clone(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        }),
        command: expanded(&container.command)?,
        args: expanded(&container.args)?,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: prepared
            .env
            .iter()
            .map(|(key, value)| KeyValue { key: key.to_owned(), value: value.to_owned() })
            .collect(),
        mounts: prepared.mounts.clone(),
        labels: container_labels(pod, container),
        annotations: annotations(pod, container, attempt),
        log_path: names::log_path(&container.name, attempt),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        linux: Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources {
                hugepage_limits: resources::huge_page_limits(pod, container, prepared.huge_page_sizes),
                ..resources::of_container(pod, container, role, prepared.node_memory)
            }),
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(sandbox::namespaces(pod, prepared.target.clone())),
                ..security_context(pod, container, &prepared)?
            }),
        }),
        ..ContainerConfig::default()
    })
}

fn container_labels(pod: &Pod, container: &Container) -> HashMap<String, String> {
    [
        (labels::CONTAINER_NAME, container.name.as_str()),
        (labels::POD_NAME, pod_spec::name(pod)),
        (labels::POD_NAMESPACE, pod_spec::namespace(pod)),
        (labels::POD_UID, pod_spec::uid(pod)),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

fn annotations(pod: &Pod, container: &Container, attempt: u32) -> HashMap<String, String> {
    let path = container.termination_message_path.clone().unwrap_or_default();
    let policy = container.termination_message_policy.clone().unwrap_or_default();
    let grace = pod_spec::spec(pod).termination_grace_period_seconds.unwrap_or(30);
    let mut all: HashMap<String, String> = [
        (labels::CONTAINER_HASH, pod_spec::container_hash(container)),
        (labels::RESTART_COUNT, attempt.to_string()),
        (labels::TERMINATION_MESSAGE_PATH, path),
        (labels::TERMINATION_MESSAGE_POLICY, policy),
        (labels::GRACE_PERIOD, grace.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    if let Some(ports) = container.ports.as_ref().and_then(|ports| serde_json::to_string(ports).ok()) {
        all.insert(labels::CONTAINER_PORTS.to_owned(), ports);
    }
    all
}

/// The user that a container runs as by its spec.
pub fn run_as_user(pod: &Pod, container: &Container) -> Option<i64> {
    let of_container = container.security_context.as_ref().and_then(|c| c.run_as_user);
    of_container.or_else(|| pod_spec::spec(pod).security_context.as_ref().and_then(|c| c.run_as_user))
}

fn run_as_non_root(
    pod: &Pod,
    container: &Container,
    image_user: Option<i64>,
    image_username: &str,
) -> Result<(), Message> {
    let own = container.security_context.as_ref().and_then(|c| c.run_as_non_root);
    let of_pod = || pod_spec::spec(pod).security_context.as_ref().and_then(|c| c.run_as_non_root);
    if !own.or_else(of_pod).unwrap_or(false) {
        return Ok(());
    }
    let who = format!("(pod: \"{}\", container: {})", pod_spec::described(pod), container.name);
    match (run_as_user(pod, container), image_user) {
        (Some(0), _) => Err(message!("container's runAsUser breaks non-root policy {who}")),
        (Some(_), _) => Ok(()),
        (None, Some(0)) => Err(message!("container has runAsNonRoot and image will run as root {who}")),
        (None, None) if !image_username.is_empty() => Err(message!(
            "container has runAsNonRoot and image has non-numeric user ({image_username}), cannot verify user is non-root {who}"
        )),
        _ => Ok(()),
    }
}

/// The profile that filters system calls. Without one there is no filter, as upstream's default is.
fn seccomp(profile: Option<&SeccompProfile>, profiles: &Path) -> Result<SecurityProfile, Message> {
    let unconfined = security_profile(ProfileType::Unconfined, String::new());
    let Some(profile) = profile else { return Ok(unconfined) };
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Unconfined", _) => Ok(unconfined),
        ("RuntimeDefault", _) => Ok(security_profile(ProfileType::RuntimeDefault, String::new())),
        ("Localhost", None | Some("")) => {
            Err("localhostProfile must be set if seccompProfile type is Localhost.".into())
        }
        ("Localhost", Some(name)) => {
            let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            let path = inside.then(|| profiles.join(name).to_string_lossy().into_owned());
            let path = path.ok_or_else(|| {
                format!("localhostProfile {name:?} must be a path below the node's folder of profiles")
            })?;
            Ok(security_profile(ProfileType::Localhost, path))
        }
        (other, _) => Err(message!("unknown seccomp profile type {other:?}")),
    }
}

fn security_profile(kind: ProfileType, path: String) -> SecurityProfile {
    SecurityProfile { profile_type: kind as i32, localhost_ref: path }
}

/// The AppArmor profile of a container, if it asks for one.
fn app_armor(pod: &Pod, container: &Container) -> Result<Option<SecurityProfile>, Message> {
    let Some(profile) = security::app_armor_profile(pod, container) else { return Ok(None) };
    let name = profile.localhost_profile.unwrap_or_default();
    Ok(Some(match profile.type_.as_str() {
        "RuntimeDefault" => security_profile(ProfileType::RuntimeDefault, String::new()),
        "Unconfined" => security_profile(ProfileType::Unconfined, String::new()),
        "Localhost" if !name.is_empty() => security_profile(ProfileType::Localhost, name),
        "Localhost" => return Err("missing localhost apparmor profile name".into()),
        other => return Err(message!("unknown AppArmor profile type {other:?}")),
    }))
}

fn security_context(
    pod: &Pod,
    container: &Container,
    prepared: &Prepared<'_>,
) -> Result<LinuxContainerSecurityContext, Message> {
    let own = container.security_context.clone().unwrap_or_default();
    let of_pod = pod_spec::spec(pod).security_context.clone().unwrap_or_default();
    let privileged = own.privileged.unwrap_or(false);
    let value = |id: Option<i64>| id.map(|value| Int64Value { value });
    let user = run_as_user(pod, container);
    let group = own.run_as_group.or(of_pod.run_as_group);
    let (user, username) = match (user, prepared.image_user, prepared.image_username) {
        (Some(user), _, _) => (Some(user), ""),
        (None, Some(user), _) => (Some(user), ""),
        (None, None, name) => (None, name),
    };
    let capabilities = own.capabilities.unwrap_or_default();
    let unmasked = privileged || own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |paths: &[&str]| -> Vec<String> {
        if unmasked { Vec::new() } else { paths.iter().map(|path| (*path).to_owned()).collect() }
    };
    Ok(LinuxContainerSecurityContext {
        capabilities: Some(Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        run_as_user: value(user),
        run_as_username: username.to_owned(),
        run_as_group: value(group),
        readonly_rootfs: own.read_only_root_filesystem.unwrap_or(false),
        supplemental_groups: sandbox::supplemental_groups(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(match privileged {
            true => seccomp(None, prepared.seccomp_profiles)?,
            false => {
                let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
                seccomp(profile, prepared.seccomp_profiles)?
            }
        }),
        apparmor: app_armor(pod, container)?,
        selinux_options: sandbox::selinux(own.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref())),
        supplemental_groups_policy: sandbox::groups_policy(pod),
        ..LinuxContainerSecurityContext::default()
    })
}

/// The mounts of a container's volumes; `sub_path` prepares the path inside a volume that the mount of an index
/// names, and answers where it can be mounted from. `recursive_read_only` says whether the
/// runtime can do that.
pub fn mounts(
    container: &Container,
    volumes: &BTreeMap<String, VolumePath>,
    env: &Environment,
    recursive_read_only: bool,
    sub_path: impl Fn(usize, &VolumeMount, &VolumePath, &str) -> Result<PathBuf, Message>,
) -> Result<Vec<Mount>, Message> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = volumes.get(&mount.name).ok_or_else(|| {
            format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name)
        })?;
        let host_path = match sub_path_of(mount, env)? {
            Some(path) => sub_path(index, mount, volume, &path)?,
            None => volume.path.clone(),
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => MountPropagation::PropagationBidirectional,
            _ => MountPropagation::PropagationPrivate,
        };
        mounts.push(Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host_path.to_string_lossy().into_owned(),
            readonly: mount.read_only.unwrap_or(false) || volume.read_only,
            propagation: propagation as i32,
            recursive_read_only: security::recursive_read_only(mount, recursive_read_only)?,
            ..Mount::default()
        });
    }
    Ok(mounts)
}

/// A path inside a container.
pub fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// The path inside its volume that a mount is of, if it is not of the whole.
fn sub_path_of(mount: &VolumeMount, env: &Environment) -> Result<Option<String>, Message> {
    let given = |path: &Option<String>| path.clone().filter(|path| !path.is_empty());
    let path = match given(&mount.sub_path_expr) {
        Some(expression) => {
            let missing = RefCell::new(BTreeSet::new());
            let expanded = expansion::expand(&expression, |name| {
                let value = env.get(name).filter(|value| !value.is_empty());
                if value.is_none() {
                    missing.borrow_mut().insert(name.to_owned());
                }
                value
            })
            .map_err(|why| format!("sub path of volume {:?} is too long: {why}", mount.name))?;
            let missing: Vec<String> = missing.into_inner().into_iter().collect();
            if !missing.is_empty() {
                return Err(message!("missing value for {}", missing.join(", ")));
            }
            Some(expanded).filter(|path| !path.is_empty())
        }
        None => given(&mount.sub_path),
    };
    if let Some(path) = &path {
        if path.starts_with('/') {
            return Err(message!("error SubPath `{path}` must not be an absolute path"));
        }
        if path.split('/').any(|part| part == "..") {
            return Err(message!("unable to provision SubPath `{path}`: must not contain '..'"));
        }
    }
    Ok(path)
}
