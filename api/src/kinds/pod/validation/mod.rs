//! What is wrong with a pod's spec, on its own or in a template.
//!
//! Errors come in upstream's order: volumes, containers, then the spec's own fields. Counterpart of
//! `ValidatePodSpec` in upstream's `pkg/apis/core/validation`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{PodSpec, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    field::{Errors, Path},
    quantity::Quantity,
    validation::{annotation_map, dns_label, dns_subdomain, each, in_range, ip, label_map},
};

mod annotations;
mod container;
mod env;
mod gated;
mod handler;
mod os;
mod placement;
mod resize;
pub mod resources;
mod security;
mod status;
mod update;
mod volume;

pub use placement::{node_selector, taint_effect, tolerations};
pub use resize::resize_update;
pub use status::status_update;
pub use update::{ephemeral_update, update};
pub use volume::{escapes, host_path, iscsi_name, nfs, required};

/// Whose spec it is. A template is held to less: what is made from it gets more defaults, and a name.
#[derive(Clone, Copy)]
pub enum Owner<'a> {
    /// A pod of this metadata.
    Pod(&'a ObjectMeta),
    /// The template of a workload's pods.
    Template,
}

impl Owner<'_> {
    fn is_pod(self) -> bool {
        matches!(self, Self::Pod(_))
    }
}

/// What containers need to know about the pod around them.
struct Around<'a> {
    /// The pod's volumes that are sound; the flag says whether a volume is a claim.
    volumes: BTreeMap<&'a str, bool>,
    /// Names of the pod's resource claims.
    claims: BTreeSet<&'a str>,
    /// The pod's grace period.
    grace: i64,
}

/// The template of a workload's pods.
pub fn template(template: &PodTemplateSpec, at: &Path, errors: &mut Errors) {
    if let Some(meta) = &template.metadata {
        // Upstream's paths leave `metadata` out here.
        label_map(meta.labels.as_ref(), &at.child("labels"), errors);
        annotation_map(meta.annotations.as_ref(), &at.child("annotations"), errors);
        if let Some(pod) = &template.spec {
            annotations::validate(meta.annotations.as_ref(), pod, &at.child("annotations"), errors);
        }
    }
    let at = at.child("spec");
    match &template.spec {
        Some(pod) => {
            spec(pod, Owner::Template, &at, errors);
            if pod.ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
                errors.forbidden(
                    &at.child("ephemeralContainers"),
                    "ephemeral containers not allowed in pod template",
                );
            }
        }
        None => errors.required(&at.child("containers"), ""),
    }
}

/// A name that must be one of some.
fn one_of(value: Option<&str>, allowed: &[&str], at: &Path, errors: &mut Errors) {
    match value {
        None | Some("") => errors.required(at, ""),
        Some(v) if allowed.contains(&v) => {}
        Some(v) => errors.not_supported(at, v, allowed),
    }
}

/// A pod: its spec and what its annotations say of it.
pub fn pod(meta: &ObjectMeta, pod: &PodSpec, errors: &mut Errors) {
    let at = Path::new("spec");
    annotations::validate(meta.annotations.as_ref(), pod, &Path::new("metadata.annotations"), errors);
    spec(pod, Owner::Pod(meta), &at, errors);
    container::images_of_pods(&pod.containers, &at.child("containers"), errors);
    let init = pod.init_containers.as_deref().unwrap_or_default();
    container::images_of_pods(init, &at.child("initContainers"), errors);
}

/// The spec of a pod or of a template.
fn spec(spec: &PodSpec, owner: Owner<'_>, at: &Path, errors: &mut Errors) {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let volumes = volume::volumes(volumes, owner, &at.child("volumes"), errors);
    let claims = resource_claims(spec, &at.child("resourceClaims"), errors);
    let around = Around { volumes, claims, grace: spec.termination_grace_period_seconds.unwrap_or(30) };
    container::containers(&spec.containers, &around, &at.child("containers"), errors);
    container::init_containers(spec, &around, &at.child("initContainers"), errors);
    container::ephemeral_containers(spec, &around, &at.child("ephemeralContainers"), errors);
    if let Some(pod_level) = &spec.resources {
        let at = at.child("resources");
        resources::requirements(pod_level, &around.claims, &at, errors);
        pod_level_requests(spec, &at, errors);
    }
    host_ports(spec, owner, &at.child("containers"), errors);
    one_of(
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
        &at.child("restartPolicy"),
        errors,
    );
    one_of(
        spec.dns_policy.as_deref(),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &at.child("dnsPolicy"),
        errors,
    );
    label_map(spec.node_selector.as_ref(), &at.child("nodeSelector"), errors);
    security::pod(spec, at, errors);
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        if secret.name.is_empty() {
            errors.required(&at.child("imagePullSecrets").index(i).child("name"), "");
        }
    }
    placement::affinity(spec.affinity.as_ref(), &at.child("affinity"), errors);
    dns_config(spec, &at.child("dnsConfig"), errors);
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let at = at.child("readinessGates").index(i).child("conditionType");
        each(errors, &at, &gate.condition_type, crate::validation::qualified_name(&gate.condition_type));
    }
    scheduling_gates(spec, &at.child("schedulingGates"), errors);
    placement::spread(
        spec.topology_spread_constraints.as_deref().unwrap_or_default(),
        &at.child("topologySpreadConstraints"),
        errors,
    );
    host_users(spec, at, errors);
    names(spec, at, errors);
    os::validate(spec, at, errors);
}

/// On the host's network, a port is the host's. A template may leave that to the pods.
fn host_ports(spec: &PodSpec, owner: Owner<'_>, at: &Path, errors: &mut Errors) {
    if spec.host_network != Some(true) {
        return;
    }
    for (i, container) in spec.containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let host = port.host_port.unwrap_or(0);
            if (owner.is_pod() || host != 0) && host != port.container_port {
                let at = at.index(i).child("ports").index(j).child("hostPort");
                errors.invalid(&at, host, "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

/// A pod with users of its own shares no other namespace with the host.
fn host_users(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    if spec.host_users != Some(false) {
        return;
    }
    for (field, is_shared) in
        [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if is_shared == Some(true) {
            errors.forbidden(&at.child(field), "when `hostUsers` is false");
        }
    }
}

/// The names that a spec holds, its deadline, tolerations and aliases.
fn names(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let mut check = |field: &str, value: Option<&String>, rule: fn(&str) -> Vec<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            each(errors, &at.child(field), value, rule(value));
        }
    };
    check("serviceAccountName", spec.service_account_name.as_ref(), dns_subdomain);
    check("nodeName", spec.node_name.as_ref(), dns_subdomain);
    if let Some(deadline) = spec.active_deadline_seconds {
        in_range(deadline, 1, i64::from(i32::MAX), &at.child("activeDeadlineSeconds"), errors);
    }
    let mut check = |field: &str, value: Option<&String>, rule: fn(&str) -> Vec<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            each(errors, &at.child(field), value, rule(value));
        }
    };
    check("hostname", spec.hostname.as_ref(), dns_label);
    check("subdomain", spec.subdomain.as_ref(), dns_label);
    tolerations(spec.tolerations.as_deref().unwrap_or_default(), &at.child("tolerations"), errors);
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let at = at.child("hostAliases").index(i);
        each(errors, &at.child("ip"), &alias.ip, ip(&alias.ip));
        for (i, name) in alias.hostnames.iter().flatten().enumerate() {
            each(errors, &at.child("hostnames").index(i), name, dns_subdomain(name));
        }
    }
    let mut check = |field: &str, value: Option<&String>, rule: fn(&str) -> Vec<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            each(errors, &at.child(field), value, rule(value));
        }
    };
    check("priorityClassName", spec.priority_class_name.as_ref(), dns_subdomain);
    check("runtimeClassName", spec.runtime_class_name.as_ref(), dns_subdomain);
    if let Some(policy) = &spec.preemption_policy
        && !["Never", "PreemptLowerPriority"].contains(&policy.as_str())
    {
        errors.not_supported(&at.child("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
    }
    for (name, wire) in spec.overhead.iter().flatten() {
        resources::container_resource(name, wire, &at.child("overhead").key(name), errors);
    }
}

fn resource_claims<'a>(spec: &'a PodSpec, at: &Path, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (i, claim) in spec.resource_claims.iter().flatten().enumerate() {
        let at = at.index(i);
        if claim.name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if !names.insert(claim.name.as_str()) {
            errors.duplicate(&at.child("name"), &claim.name);
        } else {
            each(errors, &at.child("name"), &claim.name, dns_label(&claim.name));
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                errors.invalid(
                    &at,
                    claim,
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
                );
            }
            (None, None) => {
                errors.invalid(
                    &at,
                    claim,
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                );
            }
            _ => {}
        }
    }
    names
}

/// What the containers ask for together may not pass what the pod as a whole asks for.
fn pod_level_requests(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let Some(pod) = &spec.resources else { return };
    for (name, wire) in pod.requests.iter().flatten() {
        let together: Quantity = spec
            .containers
            .iter()
            .filter_map(|c| c.resources.as_ref()?.requests.as_ref()?.get(name))
            .map(Quantity::of)
            .sum();
        let asked = Quantity::of(wire);
        if together > asked {
            errors.invalid(
                &at.child("requests").key(name),
                asked.to_string(),
                format!("must be greater than or equal to aggregate container requests of {together}"),
            );
        }
    }
}

fn scheduling_gates(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let at = at.index(i);
        each(errors, &at.child("name"), &gate.name, crate::validation::qualified_name(&gate.name));
        if !seen.insert(&gate.name) {
            errors.duplicate(&at, gate);
        }
    }
}

fn dns_config(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let servers = spec.dns_config.as_ref().and_then(|c| c.nameservers.as_deref()).unwrap_or_default();
    if spec.dns_policy.as_deref() == Some("None") {
        if spec.dns_config.is_none() {
            let why = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.required(at, why);
            return;
        }
        if servers.is_empty() {
            errors.required(
                &at.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
            return;
        }
    }
    let Some(config) = &spec.dns_config else { return };
    if servers.len() > 3 {
        errors.invalid(&at.child("nameservers"), servers, "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        each(errors, &at.child("nameservers").index(i), server, ip(server));
    }
    let searches = config.searches.as_deref().unwrap_or_default();
    if searches.len() > 32 {
        errors.invalid(&at.child("searches"), searches, "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        errors.invalid(
            &at.child("searches"),
            searches,
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for (i, search) in searches.iter().enumerate() {
        let plain = search.strip_suffix('.').unwrap_or(search);
        let plain = plain.strip_prefix('_').unwrap_or(plain).replace("._", ".");
        if !plain.is_empty() {
            each(errors, &at.child("searches").index(i), search, dns_subdomain(&plain));
        }
    }
    for (i, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().is_none_or(str::is_empty) {
            errors.required(&at.child("options").index(i).child("name"), "");
        }
    }
}

#[cfg(test)]
mod tests;
