//! The defaults of pods and pod templates.
//!
//! Counterpart of upstream's `pkg/apis/core/v1/defaults.go`, as far as it is about pods.

use std::collections::BTreeMap;

use api::{
    pod,
    resource_names::{is_huge_page, may_overcommit},
};
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, EnvVar, EphemeralContainer, HTTPGetAction, Lifecycle,
    ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe, ResourceFieldSelector, ResourceRequirements,
    Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::builtin::{
    defaults::{absent_when_zero, canonical, canonical_list, set, set_number, set_text},
    persistent_volume_claim,
};

/// The defaults of a pod template: those of its pods but for what only a pod itself gets.
pub fn pod_template(template: &mut PodTemplateSpec) {
    set(&mut template.metadata, k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default());
    let spec = template.spec.get_or_insert_default();
    pod_spec(spec);
}

/// What only a pod itself gets: a grace period that makes sense, service links, requests that follow from limits, host
/// ports.
pub fn pod_only(spec: &mut PodSpec) {
    if spec.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0) {
        spec.termination_grace_period_seconds = Some(1);
    }
    set(&mut spec.enable_service_links, true);
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        if let Some(resources) = &mut container.resources {
            requests_from_limits(resources, |_| true);
        }
    }
    if let Some(mut resources) = spec.resources.take() {
        resources_of_whole(&mut resources, spec);
        spec.resources = Some(resources);
    }
    if spec.host_network == Some(true) {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            for port in container.ports.iter_mut().flatten() {
                let number = port.container_port;
                if number != 0 {
                    set_number(&mut port.host_port, number);
                }
            }
        }
    }
}

/// What a pod as a whole does not say although it says something: limits of huge pages and requests are what its
/// containers have together, other requests the limits.
fn resources_of_whole(resources: &mut ResourceRequirements, spec: &PodSpec) {
    let says = |list: &Option<BTreeMap<_, _>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if says(&resources.limits) || says(&resources.requests) {
        for (name, limit) in
            pod::limits_of_containers(spec).into_iter().filter(|(name, _)| is_huge_page(name))
        {
            if !resources.requests.as_ref().is_some_and(|requests| requests.contains_key(name)) {
                let limits = resources.limits.get_or_insert_default();
                limits.entry(name.to_owned()).or_insert_with(|| limit.wire());
            }
        }
    }
    if says(&resources.limits) {
        for (name, asked) in pod::requests_of_containers(spec) {
            if pod::is_resource_of_whole_pods(name) && may_overcommit(name) {
                let requests = resources.requests.get_or_insert_default();
                requests.entry(name.to_owned()).or_insert_with(|| asked.wire());
            }
        }
        requests_from_limits(resources, pod::is_resource_of_whole_pods);
    }
}

fn requests_from_limits(resources: &mut ResourceRequirements, counts: impl Fn(&str) -> bool) {
    for (name, limit) in resources.limits.iter().flatten().filter(|(name, _)| counts(name)) {
        let requests = resources.requests.get_or_insert_default();
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// The defaults of a pod's spec, in a pod as in a template.
pub fn pod_spec(spec: &mut PodSpec) {
    set_text(&mut spec.dns_policy, "ClusterFirst");
    set_text(&mut spec.restart_policy, "Always");
    set(&mut spec.security_context, k8s_openapi::api::core::v1::PodSecurityContext::default());
    set(&mut spec.termination_grace_period_seconds, 30);
    set_text(&mut spec.scheduler_name, "default-scheduler");
    for flag in [&mut spec.host_network, &mut spec.host_pid, &mut spec.host_ipc] {
        absent_when_zero(flag);
    }
    for text in [
        &mut spec.node_name,
        &mut spec.hostname,
        &mut spec.subdomain,
        &mut spec.priority_class_name,
        &mut spec.service_account,
        &mut spec.service_account_name,
    ] {
        absent_when_zero(text);
    }
    absent_when_zero(&mut spec.node_selector);
    absent_when_zero(&mut spec.tolerations);
    absent_when_zero(&mut spec.init_containers);
    absent_when_zero(&mut spec.volumes);
    absent_when_zero(&mut spec.image_pull_secrets);
    absent_when_zero(&mut spec.host_aliases);
    absent_when_zero(&mut spec.topology_spread_constraints);
    absent_when_zero(&mut spec.readiness_gates);
    absent_when_zero(&mut spec.scheduling_gates);
    absent_when_zero(&mut spec.ephemeral_containers);
    if spec.service_account_name.is_none() {
        spec.service_account_name.clone_from(&spec.service_account);
    }
    spec.service_account.clone_from(&spec.service_account_name);
    canonical_list(&mut spec.overhead);
    if let Some(resources) = &mut spec.resources {
        resource_requirements(resources);
    }
    for toleration in spec.tolerations.iter_mut().flatten() {
        for text in
            [&mut toleration.key, &mut toleration.operator, &mut toleration.value, &mut toleration.effect]
        {
            absent_when_zero(text);
        }
    }
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        pod_container(container);
    }
    for container in spec.ephemeral_containers.iter_mut().flatten() {
        ephemeral_container(container);
    }
    for volume in spec.volumes.iter_mut().flatten() {
        pod_volume(volume);
    }
    drop_disabled(spec);
}

/// Takes away what belongs to features that are off by default in this version, as upstream does without a word.
fn drop_disabled(spec: &mut PodSpec) {
    spec.scheduling_group = None;
    let own = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    let lifecycles = own.map(|c| &mut c.lifecycle);
    let ephemeral = spec.ephemeral_containers.iter_mut().flatten().map(|c| &mut c.lifecycle);
    for lifecycle in lifecycles.chain(ephemeral) {
        if let Some(hooks) = lifecycle
            && hooks.stop_signal.take().is_some()
            && *hooks == Lifecycle::default()
        {
            *lifecycle = None;
        }
    }
    for projected in spec.volumes.iter_mut().flatten().filter_map(|v| v.projected.as_mut()) {
        for source in projected.sources.iter_mut().flatten() {
            source.pod_certificate = None;
        }
    }
}

/// The tag of an image: `latest` where its name implies it, none where it cannot be read as an image's name.
///
/// Counterpart of `ParseNormalizedNamed` of `github.com/distribution/reference`.
fn tag_of(image: &str) -> Option<&str> {
    let (named, digest) =
        image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named[last..].find(':') {
        Some(colon) => (&named[..last + colon], Some(&named[last + colon + 1..])),
        None => (named, None),
    };
    let (host, path) = match name.split_once('/') {
        Some((host, path))
            if host == "localhost" || host.contains(|c: char| ".:".contains(c) || c.is_uppercase()) =>
        {
            (Some(host), path)
        }
        _ => (None, name),
    };
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_sound = host.is_none_or(is_registry)
        && path.split('/').all(is_path_part)
        && name.len() <= 255
        && !(image.len() == 64 && is_hex(image))
        && tag.is_none_or(is_tag)
        && digest.is_none_or(|digest| {
            digest.split_once(':').is_some_and(|(how, hex)| !how.is_empty() && hex.len() >= 32 && is_hex(hex))
        });
    is_sound.then(|| tag.unwrap_or(if digest.is_some() { "" } else { "latest" }))
}

/// `example.com:5000`
fn is_registry(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.split('.').all(is_label) && port.is_none_or(is_number)
}

/// Letters and digits with `.`, `_`, `__` or dashes between them.
fn is_path_part(part: &str) -> bool {
    let own = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let joins =
        |between: &str| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-');
    part.starts_with(own) && part.ends_with(own) && part.split(own).all(joins)
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || ".-".contains(c))
}

fn pull_policy(policy: &mut Option<String>, image: Option<&str>) {
    let is_latest = tag_of(image.unwrap_or_default()) == Some("latest");
    set_text(policy, if is_latest { "Always" } else { "IfNotPresent" });
}

/// What containers and ephemeral ones get.
macro_rules! default_container {
    ($c:ident) => {
        absent_when_zero(&mut $c.image);
        pull_policy(&mut $c.image_pull_policy, $c.image.as_deref());
        set_text(&mut $c.termination_message_path, "/dev/termination-log");
        set_text(&mut $c.termination_message_policy, "File");
        resource_requirements($c.resources.get_or_insert_default());
        for flag in [&mut $c.stdin, &mut $c.stdin_once, &mut $c.tty] {
            absent_when_zero(flag);
        }
        for variable in $c.env.iter_mut().flatten() {
            env(variable);
        }
    };
}

fn pod_container(c: &mut Container) {
    default_container!(c);
    absent_when_zero(&mut c.working_dir);
    absent_when_zero(&mut c.command);
    absent_when_zero(&mut c.args);
    absent_when_zero(&mut c.env);
    absent_when_zero(&mut c.env_from);
    absent_when_zero(&mut c.ports);
    absent_when_zero(&mut c.volume_mounts);
    absent_when_zero(&mut c.volume_devices);
    for port in c.ports.iter_mut().flatten() {
        set_text(&mut port.protocol, "TCP");
        absent_when_zero(&mut port.host_port);
        absent_when_zero(&mut port.host_ip);
        absent_when_zero(&mut port.name);
    }
    for mount in c.volume_mounts.iter_mut().flatten() {
        absent_when_zero(&mut mount.read_only);
        absent_when_zero(&mut mount.sub_path);
        absent_when_zero(&mut mount.sub_path_expr);
    }
    if let Some(lifecycle) = &mut c.lifecycle {
        hooks(lifecycle);
    }
    for probe in [&mut c.liveness_probe, &mut c.readiness_probe, &mut c.startup_probe].into_iter().flatten() {
        container_probe(probe);
    }
}

fn ephemeral_container(c: &mut EphemeralContainer) {
    default_container!(c);
    absent_when_zero(&mut c.target_container_name);
}

fn resource_requirements(resources: &mut ResourceRequirements) {
    canonical_list(&mut resources.limits);
    canonical_list(&mut resources.requests);
    absent_when_zero(&mut resources.claims);
}

fn env(variable: &mut EnvVar) {
    absent_when_zero(&mut variable.value);
    if let Some(from) = &mut variable.value_from {
        if let Some(field) = &mut from.field_ref {
            field_ref(field);
        }
        if let Some(resource) = &mut from.resource_field_ref {
            resource_ref(resource);
        }
    }
}

fn field_ref(field: &mut ObjectFieldSelector) {
    set_text(&mut field.api_version, "v1");
}

fn resource_ref(resource: &mut ResourceFieldSelector) {
    absent_when_zero(&mut resource.container_name);
    canonical(resource.divisor.get_or_insert_with(|| Wire("0".into())));
}

fn http_get(get: &mut HTTPGetAction) {
    set_text(&mut get.path, "/");
    set_text(&mut get.scheme, "HTTP");
    absent_when_zero(&mut get.host);
}

fn hooks(lifecycle: &mut Lifecycle) {
    for handler in [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten() {
        if let Some(get) = &mut handler.http_get {
            http_get(get);
        }
    }
}

fn container_probe(probe: &mut Probe) {
    set_number(&mut probe.timeout_seconds, 1);
    set_number(&mut probe.period_seconds, 10);
    set_number(&mut probe.success_threshold, 1);
    set_number(&mut probe.failure_threshold, 3);
    absent_when_zero(&mut probe.initial_delay_seconds);
    if let Some(get) = &mut probe.http_get {
        http_get(get);
    }
    if let Some(grpc) = &mut probe.grpc {
        set(&mut grpc.service, "");
    }
}

/// The mode of projected files: 0644.
const FILE_MODE: i32 = 0o644;

fn downward_items(items: &mut Option<Vec<DownwardAPIVolumeFile>>) {
    for item in items.iter_mut().flatten() {
        if let Some(field) = &mut item.field_ref {
            field_ref(field);
        }
        if let Some(resource) = &mut item.resource_field_ref {
            resource_ref(resource);
        }
    }
}

fn projection(source: &mut VolumeProjection) {
    if let Some(token) = &mut source.service_account_token {
        set(&mut token.expiration_seconds, 3600);
        absent_when_zero(&mut token.audience);
    }
    if let Some(downward) = &mut source.downward_api {
        downward_items(&mut downward.items);
    }
}

fn pod_volume(v: &mut Volume) {
    let named = v.name.clone();
    if *v == (Volume { name: named, ..Volume::default() }) {
        v.empty_dir = Some(k8s_openapi::api::core::v1::EmptyDirVolumeSource::default());
    }
    if let Some(e) = &mut v.empty_dir {
        absent_when_zero(&mut e.medium);
        if let Some(limit) = &mut e.size_limit {
            canonical(limit);
        }
    }
    if let Some(s) = &mut v.secret {
        set(&mut s.default_mode, FILE_MODE);
        absent_when_zero(&mut s.items);
    }
    if let Some(c) = &mut v.config_map {
        set(&mut c.default_mode, FILE_MODE);
        absent_when_zero(&mut c.items);
    }
    if let Some(d) = &mut v.downward_api {
        set(&mut d.default_mode, FILE_MODE);
        downward_items(&mut d.items);
    }
    if let Some(p) = &mut v.projected {
        set(&mut p.default_mode, FILE_MODE);
        p.sources.iter_mut().flatten().for_each(projection);
    }
    if let Some(h) = &mut v.host_path {
        set(&mut h.type_, "");
    }
    if let Some(c) = &mut v.persistent_volume_claim {
        absent_when_zero(&mut c.read_only);
    }
    if let Some(i) = &mut v.iscsi {
        set_text(&mut i.iscsi_interface, "default");
    }
    if let Some(r) = &mut v.rbd {
        set_text(&mut r.pool, "rbd");
        set_text(&mut r.user, "admin");
        set_text(&mut r.keyring, "/etc/ceph/keyring");
    }
    if let Some(a) = &mut v.azure_disk {
        set(&mut a.caching_mode, "ReadWrite");
        set(&mut a.kind, "Shared");
        set(&mut a.fs_type, "ext4");
        set(&mut a.read_only, false);
    }
    if let Some(s) = &mut v.scale_io {
        set_text(&mut s.storage_mode, "ThinProvisioned");
        set_text(&mut s.fs_type, "xfs");
    }
    if let Some(i) = &mut v.image {
        pull_policy(&mut i.pull_policy, i.reference.as_deref());
    }
    if let Some(template) = v.ephemeral.as_mut().and_then(|e| e.volume_claim_template.as_mut()) {
        set(&mut template.metadata, k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default());
        persistent_volume_claim::fill_spec(&mut template.spec);
    }
}

#[cfg(test)]
mod tests;
