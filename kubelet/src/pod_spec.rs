//! Readings of a pod's spec that several parts of the kubelet share: which container is what, which restart
//! policy holds, what it may use. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use api::pod::is_sidecar;
use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use sha2::{Digest, Sha256};

use crate::labels;

/// The role a container plays in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that keeps running (`restartPolicy: Always`).
    Sidecar,
    /// One of the pod's own containers.
    Main,
    /// Put into a pod that runs, to look into it (`kubectl debug`).
    Ephemeral,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever it answered.
    Always,
    /// When it answered something else than 0.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    fn parse(text: &str) -> Self {
        match text {
            "Never" => Self::Never,
            "OnFailure" => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Whether a container that answered `exit_code` is started again where no rule of its own says so.
    fn restarts(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

static NO_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

/// The pod's spec; a pod without one is like an empty one.
pub fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&NO_SPEC)
}

/// The pod's uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// `NAME_NAMESPACE(UID)`, as messages call a pod.
pub fn described(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The pod's init containers, sidecars among them.
pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

/// The role of an init container.
pub fn init_role(container: &Container) -> Role {
    if is_sidecar(container) { Role::Sidecar } else { Role::Init }
}

/// The pod's ephemeral containers.
pub fn ephemeral_containers(pod: &Pod) -> &[EphemeralContainer] {
    spec(pod).ephemeral_containers.as_deref().unwrap_or_default()
}

/// An ephemeral container as the container that it is: it has the same fields, and its target besides.
pub fn as_container(ephemeral: &EphemeralContainer) -> Container {
    let fields = serde_json::to_value(ephemeral).and_then(serde_json::from_value);
    fields.unwrap_or_else(|_| Container { name: ephemeral.name.clone(), ..Container::default() })
}

/// All containers of a pod, of whatever role.
pub fn all_containers(pod: &Pod) -> impl Iterator<Item = Container> {
    let own = init_containers(pod).iter().chain(&spec(pod).containers).cloned();
    own.chain(ephemeral_containers(pod).iter().map(as_container))
}

/// A container by name, with its role.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<(Cow<'a, Container>, Role)> {
    let init = init_containers(pod).iter().map(|c| (c, init_role(c)));
    let main = spec(pod).containers.iter().map(|c| (c, Role::Main));
    let found = init.chain(main).find(|(c, _)| c.name == name).map(|(c, role)| (Cow::Borrowed(c), role));
    found.or_else(|| {
        let ephemeral = ephemeral_containers(pod).iter().find(|c| c.name == name)?;
        Some((Cow::Owned(as_container(ephemeral)), Role::Ephemeral))
    })
}

/// The restart policy that holds for a container.
pub fn restart_policy(pod: &Pod, container: &Container, role: Role) -> RestartPolicy {
    let of_pod = || RestartPolicy::parse(spec(pod).restart_policy.as_deref().unwrap_or("Always"));
    match (&container.restart_policy, role) {
        (_, Role::Ephemeral) => RestartPolicy::Never,
        (Some(policy), _) => RestartPolicy::parse(policy),
        // An init container that did its work is never run again: `Always` means `OnFailure` to it.
        (None, Role::Init) if of_pod() == RestartPolicy::Always => RestartPolicy::OnFailure,
        (None, _) => of_pod(),
    }
}

/// Whether a container that answered `exit_code` is started again: since one of its own rules matches, else by its
/// restart policy.
pub fn restarts(pod: &Pod, container: &Container, role: Role, exit_code: i32) -> bool {
    let matches = |rule: &ContainerRestartRule| {
        let Some(on) = &rule.exit_codes else { return false };
        let named = on.values.iter().flatten().any(|code| *code == exit_code);
        matches!((on.operator.as_str(), named), ("In", true) | ("NotIn", false))
    };
    container.restart_policy_rules.iter().flatten().any(matches)
        || restart_policy(pod, container, role).restarts(exit_code)
}

/// A pod with other resources of containers, which are known by name; none if it has these already.
pub fn with_resources(pod: &Pod, known: impl Fn(&str) -> Option<ResourceRequirements>) -> Option<Pod> {
    let differs = |container: &Container| {
        let known = known(&container.name)?;
        (known != container.resources.clone().unwrap_or_default()).then_some(known)
    };
    if !init_containers(pod).iter().chain(&spec(pod).containers).any(|c| differs(c).is_some()) {
        return None;
    }
    let mut other = pod.clone();
    let spec = other.spec.get_or_insert_default();
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        container.resources = differs(container).or(container.resources.take());
    }
    Some(other)
}

/// Whether the pod lives on the host's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

/// Where events about a container point to.
pub fn field_path(name: &str, role: Role) -> String {
    match role {
        Role::Main => format!("spec.containers{{{name}}}"),
        Role::Init | Role::Sidecar => format!("spec.initContainers{{{name}}}"),
        Role::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
    }
}

/// Hash of what demands a new container when it changes: the image, and resources that say so. Nothing else may change.
pub fn container_hash(container: &Container) -> String {
    let mut hash = Sha256::new();
    hash.update(container.name.as_bytes());
    hash.update([0]);
    hash.update(container.image.as_deref().unwrap_or_default().as_bytes());
    let policies = container.resize_policy.iter().flatten();
    for policy in policies.filter(|policy| policy.restart_policy == "RestartContainer") {
        let amounts = [request(container, &policy.resource_name), limit(container, &policy.resource_name)];
        hash.update(format!("{} {:?}", policy.resource_name, amounts.map(|q| q.map(|q| q.wire()))));
    }
    hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Seconds between asking the pod to stop and killing it, with what the deletion demands.
pub fn grace_period(pod: &Pod) -> i64 {
    let asked = pod.metadata.deletion_grace_period_seconds;
    asked.or(spec(pod).termination_grace_period_seconds).unwrap_or(30).max(0)
}

fn amount(list: Option<&BTreeMap<String, Wire>>, resource: &str) -> Option<Quantity> {
    list.and_then(|list| list.get(resource)).map(Quantity::of).filter(|q| !q.is_zero())
}

/// What a container asks for; a limit without a request counts as one.
pub fn request(container: &Container, resource: &str) -> Option<Quantity> {
    request_in(container.resources.as_ref(), resource)
}

/// What a container may use at most.
pub fn limit(container: &Container, resource: &str) -> Option<Quantity> {
    limit_in(container.resources.as_ref(), resource)
}

fn request_in(resources: Option<&ResourceRequirements>, resource: &str) -> Option<Quantity> {
    amount(resources?.requests.as_ref(), resource).or_else(|| limit_in(resources, resource))
}

fn limit_in(resources: Option<&ResourceRequirements>, resource: &str) -> Option<Quantity> {
    amount(resources?.limits.as_ref(), resource)
}

/// What a pod as a whole says about its resources, if it does.
fn of_whole(pod: &Pod) -> Option<&ResourceRequirements> {
    spec(pod).resources.as_ref().filter(|whole| whole.requests.is_some() || whole.limits.is_some())
}

/// What a pod as a whole may use at most, if it says so.
pub fn whole_limit(pod: &Pod, resource: &str) -> Option<Quantity> {
    amount(of_whole(pod)?.limits.as_ref(), resource)
}

/// Whether the pod comes from a manifest of the node's own.
pub fn is_static(pod: &Pod) -> bool {
    let source = pod.metadata.annotations.as_ref().and_then(|known| known.get(labels::CONFIG_SOURCE));
    source.is_some_and(|source| source != "api")
}
