//! What is wrong with a pod's spec, on its own or in a template.
//!
//! Errors come in upstream's order: volumes, containers, then the spec's own fields. Counterpart of
//! `ValidatePodSpec` in upstream's `pkg/apis/core/validation`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements, VolumeDevice},
    apimachinery::pkg::{api::resource::Quantity as Wire, apis::meta::v1::ObjectMeta},
};

use serde::Serialize;

use api::{pod, quantity::Quantity, resource_names::is_huge_page};

use crate::builtin::prelude::*;

pub mod annotations;
mod container;
mod env;
mod foreign;
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
mod windows;

pub use foreign::sources as makers_volumes;
pub use placement::{node_selector, taint_effect, tolerations};
pub use resize::resize_update;
pub use status::status_update;
pub use update::{ephemeral_update, update};
pub use volume::{Sources, csi_driver, escapes, host_path, iscsi_name, nfs, required};

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
    /// Whether its containers do not start again.
    runs_once: bool,
    /// Whether its users are the node's.
    host_users: bool,
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
    let around = Around {
        volumes,
        claims,
        grace: spec.termination_grace_period_seconds.unwrap_or(30),
        runs_once: spec.restart_policy.as_deref() == Some("Never"),
        host_users: spec.host_users != Some(false),
    };
    container::containers(&spec.containers, &around, &at.child("containers"), errors);
    container::init_containers(spec, &around, &at.child("initContainers"), errors);
    container::ephemeral_containers(spec, &around, &at.child("ephemeralContainers"), errors);
    if let Some(pod_level) = &spec.resources {
        let at = at.child("resources");
        if pod_level.claims.is_some() {
            let why = "claims may not be set for Resources at pod-level";
            errors.forbidden(&at.child("claims"), why);
        }
        resources::requirements(pod_level, resources::pod_resource, &around.claims, &at, errors);
        fits_whole(spec, pod_level, &at, errors);
    }
    host_ports(spec, owner, &at.child("containers"), errors);
    given_one_of(
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
        &at.child("restartPolicy"),
        errors,
    );
    given_one_of(
        spec.dns_policy.as_deref(),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &at.child("dnsPolicy"),
        errors,
    );
    label_map(spec.node_selector.as_ref(), &at.child("nodeSelector"), errors);
    security::pod(spec, at, errors);
    placement::affinity(spec.affinity.as_ref(), &at.child("affinity"), errors);
    dns_config(spec, &at.child("dnsConfig"), errors);
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let at = at.child("readinessGates").index(i).child("conditionType");
        each(errors, &at, &gate.condition_type, api::validation::qualified_name(&gate.condition_type));
    }
    scheduling_gates(spec, &at.child("schedulingGates"), errors);
    placement::spread(
        spec.topology_spread_constraints.as_deref().unwrap_or_default(),
        &at.child("topologySpreadConstraints"),
        errors,
    );
    windows::host_process(spec, at, errors);
    host_users(spec, at, errors);
    hostname_override(spec, &at.child("hostnameOverride"), errors);
    names(spec, at, errors);
    os::validate(spec, at, errors);
    env_files(spec, at, errors);
}

/// The containers of every sort, each with its place.
fn all_containers<'a>(spec: &'a PodSpec, at: &Path) -> Vec<(Path, Parts<'a>)> {
    let place = |list: &str, i: usize| at.child(list).index(i);
    let mut found = Vec::new();
    let init = spec.init_containers.iter().flatten().enumerate();
    found.extend(init.map(|(i, c)| (place("initContainers", i), (&c.env, &c.volume_devices))));
    let main = spec.containers.iter().enumerate();
    found.extend(main.map(|(i, c)| (place("containers", i), (&c.env, &c.volume_devices))));
    let late = spec.ephemeral_containers.iter().flatten().enumerate();
    found.extend(late.map(|(i, c)| (place("ephemeralContainers", i), (&c.env, &c.volume_devices))));
    found
}

/// Variables and block devices of a container.
type Parts<'a> = (&'a Option<Vec<EnvVar>>, &'a Option<Vec<VolumeDevice>>);

/// A name of its own for the pod, which may not be the node's or come from elsewhere, too.
fn hostname_override(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    const MOST: usize = 64;
    let Some(name) = &spec.hostname_override else { return };
    if spec.set_hostname_as_fqdn == Some(true) {
        errors.forbidden(at, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.host_network == Some(true) {
        errors.forbidden(at, "may not be specified when hostNetwork is true");
    }
    if name.len() > MOST {
        errors.too_long(at, MOST);
    }
    each(errors, at, name, dns_subdomain(name));
}

/// Files of variables lie in folders of the pod.
fn env_files(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let volumes: BTreeMap<&str, bool> =
        spec.volumes.iter().flatten().map(|v| (v.name.as_str(), v.empty_dir.is_some())).collect();
    for (at, (env, _)) in all_containers(spec, at) {
        for (i, variable) in env.iter().flatten().enumerate() {
            let Some(file) = variable.value_from.as_ref().and_then(|from| from.file_key_ref.as_ref()) else {
                continue;
            };
            let at = at.child("env").index(i).child("valueFrom.fileKeyRef.volumeName");
            match volumes.get(file.volume_name.as_str()) {
                None => errors.not_found(&at, &file.volume_name),
                Some(false) => {
                    errors.invalid(&at, &file.volume_name, "referenced volume must be of type emptyDir");
                }
                Some(true) => {}
            }
        }
    }
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
    for (at, (_, devices)) in all_containers(spec, at) {
        if devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            errors.forbidden(&at.child("volumeDevices"), "when `hostUsers` is false");
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
        errors.not_supported(&at.child("preemptionPolicy"), policy, &["PreemptLowerPriority", "Never"]);
    }
    for (name, wire) in spec.overhead.iter().flatten() {
        resources::container_resource(name, wire, &at.child("overhead.limits").key(name), errors);
    }
}

fn resource_claims<'a>(spec: &'a PodSpec, at: &Path, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, claim) in at.items(spec.resource_claims.iter().flatten()) {
        if claim.name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if !names.insert(claim.name.as_str()) {
            errors.duplicate(&at.child("name"), &claim.name);
        } else {
            each(errors, &at.child("name"), &claim.name, dns_label(&claim.name));
        }
        let sources = (&claim.resource_claim_name, &claim.resource_claim_template_name);
        let shown = ShownClaim {
            name: &claim.name,
            resource_claim_name: sources.0,
            resource_claim_template_name: sources.1,
        };
        match sources {
            (Some(_), Some(_)) => {
                errors.invalid(
                    &at,
                    shown,
                    "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
                );
            }
            (None, None) => {
                errors.invalid(
                    &at,
                    shown,
                    "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
                );
            }
            _ => {}
        }
        for (field, name) in [("resourceClaimName", sources.0), ("resourceClaimTemplateName", sources.1)] {
            if let Some(name) = name {
                each(errors, &at.child(field), name, dns_subdomain(name));
            }
        }
    }
    names
}

/// A pod's claim as upstream shows one that names too much or too little.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownClaim<'a> {
    name: &'a str,
    resource_claim_name: &'a Option<String>,
    resource_claim_template_name: &'a Option<String>,
}

/// What the containers ask for together may not pass what the pod as a whole asks for, nor huge pages what it may use.
fn fits_whole(spec: &PodSpec, whole: &ResourceRequirements, at: &Path, errors: &mut Errors) {
    let mut at_least = |list: &Option<BTreeMap<String, Wire>>, together: pod::Resources<'_>, word: &str| {
        for (name, together) in together {
            let Some(own) = list.as_ref().and_then(|list| list.get(name)).map(Quantity::of) else { continue };
            if together > own {
                let at = at.child(word).key(name);
                let words =
                    format!("must be greater than or equal to aggregate container {word} of {together}");
                errors.invalid(&at, own.to_string(), words);
            }
        }
    };
    at_least(&whole.requests, pod::requests_of_containers(spec), "requests");
    let mut limits = pod::limits_of_containers(spec);
    limits.retain(|name, _| is_huge_page(name));
    at_least(&whole.limits, limits, "limits");
    for (i, container) in spec.containers.iter().enumerate() {
        for (name, wire) in container.resources.iter().filter_map(|own| own.limits.as_ref()).flatten() {
            let limit = Quantity::of(wire);
            let most = whole.limits.as_ref().and_then(|limits| limits.get(name)).map(Quantity::of);
            if let Some(most) = most.filter(|most| limit > *most) {
                // The path is upstream's.
                let at = at.child("containers").index(i).key(name).child("limits");
                let words = format!("must be less than or equal to pod limits of {most}");
                errors.invalid(&at, limit.to_string(), words);
            }
        }
    }
}

fn scheduling_gates(spec: &PodSpec, at: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (at, gate) in at.items(spec.scheduling_gates.iter().flatten()) {
        each(errors, &at, &gate.name, api::validation::qualified_name(&gate.name));
        unique(&mut seen, &gate.name, &at, errors);
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
        if search != "." {
            let plain = search.strip_suffix('.').unwrap_or(search);
            each(errors, &at.child("searches").index(i), plain, dns_search(plain));
        }
    }
    for (i, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().is_none_or(str::is_empty) {
            errors.required(&at.child("options").index(i), "must not be empty");
        }
    }
}

#[cfg(test)]
mod tests;
