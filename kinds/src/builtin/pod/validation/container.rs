//! Containers of every sort: what each must have, what only some may.

use std::collections::{BTreeSet, HashSet};

use api::pod::{HostPort, is_sidecar};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerResizePolicy, EphemeralContainer, PodSpec, VolumeDevice, VolumeMount,
};

use super::{
    Around, env,
    handler::{Purpose, lifecycle, probe},
    resources::{container_resource, requirements},
    security,
    volume::{descending_path, escapes},
};

use crate::builtin::prelude::*;

/// The main containers.
pub fn containers(containers: &[Container], around: &Around<'_>, at: &Path, errors: &mut Errors) {
    if containers.is_empty() {
        errors.required(at, "");
        return;
    }
    let mut names = BTreeSet::new();
    for (at, c) in at.items(containers.iter()) {
        common(c, around, &at, errors);
        if !names.insert(&c.name) && !c.name.is_empty() {
            errors.duplicate(&at.child("name"), &c.name);
        }
        hooks_and_probes(c, around.grace, &at, errors);
        restart_policy(c, &at, errors);
    }
    host_ports(containers, at, errors);
}

fn hooks_and_probes(c: &Container, grace: i64, at: &Path, errors: &mut Errors) {
    lifecycle(c.lifecycle.as_ref(), grace, &at.child("lifecycle"), errors);
    probe(c.liveness_probe.as_ref(), Purpose::Liveness, grace, &at.child("livenessProbe"), errors);
    probe(c.readiness_probe.as_ref(), Purpose::Readiness, grace, &at.child("readinessProbe"), errors);
    probe(c.startup_probe.as_ref(), Purpose::Startup, grace, &at.child("startupProbe"), errors);
}

fn restart_policy(c: &Container, at: &Path, errors: &mut Errors) {
    const POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
    const ACTIONS: &[&str] = &["Restart", "RestartAllContainers"];
    let rules = c.restart_policy_rules.as_deref().unwrap_or_default();
    let at_policy = at.child("restartPolicy");
    match c.restart_policy.as_deref() {
        Some(policy) if !POLICIES.contains(&policy) => errors.not_supported(&at_policy, policy, POLICIES),
        None if !rules.is_empty() => {
            errors.required(&at_policy, "must specify restartPolicy when restart rules are used");
        }
        _ => {}
    }
    let at = at.child("restartPolicyRules");
    if rules.len() > 20 {
        errors.too_many(&at, rules.len(), 20);
    }
    for (at, rule) in at.items(rules.iter()) {
        one_of(rule.action.as_str(), ACTIONS, &at.child("action"), errors);
        let at = at.child("exitCodes");
        let Some(codes) = &rule.exit_codes else {
            errors.required(&at, "must be specified");
            continue;
        };
        one_of(codes.operator.as_str(), &["In", "NotIn"], &at.child("operator"), errors);
        let count = codes.values.as_ref().map_or(0, Vec::len);
        if count > 255 {
            errors.too_many(&at.child("values"), count, 255);
        }
    }
}

/// Init containers, sidecars among them.
pub fn init_containers(spec: &PodSpec, around: &Around<'_>, at: &Path, errors: &mut Errors) {
    let mut names: BTreeSet<&String> = spec.containers.iter().map(|c| &c.name).collect();
    let all = spec.init_containers.as_deref().unwrap_or_default();
    for (at, c) in at.items(all.iter()) {
        common(c, around, &at, errors);
        restart_policy(c, &at, errors);
        unique(&mut names, &c.name, &at.child("name"), errors);
        host_ports(std::slice::from_ref(c), &at, errors);
        if is_sidecar(c) {
            hooks_and_probes(c, around.grace, &at, errors);
        } else {
            for (j, policy) in c.resize_policy.iter().flatten().enumerate() {
                if policy.restart_policy == "RestartContainer" {
                    let at = at.child("resizePolicy").index(j).child("restartPolicy");
                    let words = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    errors.invalid(&at, &policy.restart_policy, words);
                }
            }
            for (field, is_set) in [
                ("lifecycle", c.lifecycle.is_some()),
                ("livenessProbe", c.liveness_probe.is_some()),
                ("readinessProbe", c.readiness_probe.is_some()),
                ("startupProbe", c.startup_probe.is_some()),
            ] {
                if is_set {
                    let why = "may not be set for init containers without restartPolicy=Always";
                    errors.forbidden(&at.child(field), why);
                }
            }
        }
    }
}

/// Ephemeral containers: only what debugging needs.
pub fn ephemeral_containers(spec: &PodSpec, around: &Around<'_>, at: &Path, errors: &mut Errors) {
    let fixed: BTreeSet<&String> =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| &c.name).collect();
    let mut names = fixed.clone();
    for (at, e) in at.items(spec.ephemeral_containers.iter().flatten()) {
        let plain = plain(e);
        common(&plain, around, &at, errors);
        image_of_pod(&plain, &at, errors);
        unique(&mut names, &e.name, &at.child("name"), errors);
        if let Some(target) = e.target_container_name.as_ref().filter(|t| !t.is_empty() && !fixed.contains(t))
        {
            errors.not_found(&at.child("targetContainerName"), target);
        }
        let resources = e.resources.as_ref();
        for (field, is_set) in [
            ("ports", e.ports.as_ref().is_some_and(|p| !p.is_empty())),
            ("livenessProbe", e.liveness_probe.is_some()),
            ("readinessProbe", e.readiness_probe.is_some()),
            ("startupProbe", e.startup_probe.is_some()),
            ("lifecycle", e.lifecycle.is_some()),
            ("resources", resources.is_some_and(|r| r.limits.is_some() || r.requests.is_some())),
            ("restartPolicy", e.restart_policy.is_some()),
            ("restartPolicyRules", e.restart_policy_rules.as_ref().is_some_and(|r| !r.is_empty())),
            ("resizePolicy", e.resize_policy.is_some()),
        ] {
            if is_set {
                errors.forbidden(&at.child(field), "cannot be set for an Ephemeral Container");
            }
        }
        for (j, mount) in e.volume_mounts.iter().flatten().enumerate() {
            let at = at.child("volumeMounts").index(j);
            for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
                if value.as_deref().is_some_and(|v| !v.is_empty()) {
                    errors.forbidden(&at.child(field), "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

/// The part of an ephemeral container that other containers have too.
fn plain(e: &EphemeralContainer) -> Container {
    Container {
        name: e.name.clone(),
        image: e.image.clone(),
        image_pull_policy: e.image_pull_policy.clone(),
        termination_message_policy: e.termination_message_policy.clone(),
        env: e.env.clone(),
        env_from: e.env_from.clone(),
        volume_mounts: e.volume_mounts.clone(),
        volume_devices: e.volume_devices.clone(),
        security_context: e.security_context.clone(),
        ..Container::default()
    }
}

/// The images of a pod's containers. A template may keep their place with spaces.
pub fn images_of_pods(containers: &[Container], at: &Path, errors: &mut Errors) {
    for (i, c) in containers.iter().enumerate() {
        image_of_pod(c, &at.index(i), errors);
    }
}

fn image_of_pod(c: &Container, at: &Path, errors: &mut Errors) {
    let image = c.image.as_deref().unwrap_or_default();
    if image.trim() != image {
        errors.invalid(&at.child("image"), image, "must not have leading or trailing whitespace");
    }
}

/// What every container is checked for.
fn common(c: &Container, around: &Around<'_>, at: &Path, errors: &mut Errors) {
    let name_at = at.child("name");
    formed(&c.name, dns_label, &name_at, errors);
    let image = c.image.as_deref().unwrap_or_default();
    given(image, &at.child("image"), errors);
    given_one_of(
        c.termination_message_policy.as_deref(),
        &["File", "FallbackToLogsOnError"],
        &at.child("terminationMessagePolicy"),
        errors,
    );
    ports(c.ports.as_deref().unwrap_or_default(), &at.child("ports"), errors);
    for (i, variable) in c.env.iter().flatten().enumerate() {
        env::variable(variable, &at.child("env").index(i), errors);
    }
    for (i, source) in c.env_from.iter().flatten().enumerate() {
        env::variables_from(source, &at.child("envFrom"), i, errors);
    }
    let devices = c.volume_devices.as_deref().unwrap_or_default();
    mounts(c, devices, around, &at.child("volumeMounts"), errors);
    volume_devices(c, devices, around, &at.child("volumeDevices"), errors);
    given_one_of(
        c.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
        &at.child("imagePullPolicy"),
        errors,
    );
    if let Some(resources) = &c.resources {
        requirements(resources, container_resource, &around.claims, &at.child("resources"), errors);
    }
    let policies = c.resize_policy.as_deref().unwrap_or_default();
    resize_policies(policies, around.runs_once, &at.child("resizePolicy"), errors);
    security::container(c.security_context.as_ref(), around.host_users, &at.child("securityContext"), errors);
}

fn ports(ports: &[ContainerPort], at: &Path, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (at, port) in at.items(ports.iter()) {
        if let Some(name) = port.name.as_ref().filter(|n| !n.is_empty()) {
            let wrong = port_name(name);
            if !wrong.is_empty() {
                each(errors, &at.child("name"), name, wrong);
            } else if !names.insert(name) {
                errors.duplicate(&at.child("name"), name);
            }
        }
        if port.container_port == 0 {
            errors.required(&at.child("containerPort"), "");
        } else {
            in_range(i64::from(port.container_port), 1, 65535, &at.child("containerPort"), errors);
        }
        if let Some(host) = port.host_port.filter(|p| *p != 0) {
            in_range(i64::from(host), 1, 65535, &at.child("hostPort"), errors);
        }
        given_one_of(port.protocol.as_deref(), &["SCTP", "TCP", "UDP"], &at.child("protocol"), errors);
    }
}

/// No two containers may take the same port of the host.
fn host_ports(containers: &[Container], at: &Path, errors: &mut Errors) {
    let mut taken = HashSet::new();
    for (i, c) in containers.iter().enumerate() {
        for (j, port) in c.ports.iter().flatten().enumerate() {
            let Some(asked) = HostPort::of(port) else { continue };
            if !taken.insert(asked) {
                let text = |field: &Option<String>| field.clone().unwrap_or_default();
                let number = port.host_port.unwrap_or_default();
                let key = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
                errors.duplicate(&at.index(i).child("ports").index(j).child("hostPort"), key);
            }
        }
    }
}

fn mounts(c: &Container, devices: &[VolumeDevice], around: &Around<'_>, list_at: &Path, errors: &mut Errors) {
    let device_names: BTreeSet<&str> = devices.iter().map(|d| d.name.as_str()).collect();
    let device_paths: BTreeSet<&str> = devices.iter().map(|d| d.device_path.as_str()).collect();
    let mut paths = BTreeSet::new();
    for (at, m) in list_at.items(c.volume_mounts.iter().flatten()) {
        given(&m.name, &at.child("name"), errors);
        if !around.volumes.contains_key(m.name.as_str()) {
            errors.not_found(&at.child("name"), &m.name);
        }
        given(&m.mount_path, &at.child("mountPath"), errors);
        if !paths.insert(&m.mount_path) {
            errors.invalid(&at.child("mountPath"), &m.mount_path, "must be unique");
        }
        if device_names.contains(m.name.as_str()) {
            errors.invalid(&at.child("name"), &m.name, "must not already exist in volumeDevices");
        }
        if device_paths.contains(m.mount_path.as_str()) {
            let words = "must not already exist as a path in volumeDevices";
            errors.invalid(&at.child("mountPath"), &m.mount_path, words);
        }
        let sub_path = m.sub_path.as_deref().unwrap_or_default();
        if !sub_path.is_empty() {
            // Upstream's paths leave out which mount it is, here and below.
            descending_path(sub_path, &list_at.child("subPath"), errors);
        }
        if let Some(expression) = m.sub_path_expr.as_ref().filter(|e| !e.is_empty()) {
            if !sub_path.is_empty() {
                let words = "subPathExpr and subPath are mutually exclusive";
                errors.invalid(&at.child("subPathExpr"), expression, words);
            }
            descending_path(expression, &list_at.child("subPathExpr"), errors);
        }
        propagation(m, c, list_at, errors);
    }
}

fn propagation(m: &VolumeMount, c: &Container, at: &Path, errors: &mut Errors) {
    const MODES: &[&str] = &["Bidirectional", "HostToContainer", "None"];
    if let Some(mode) = &m.mount_propagation {
        let at = at.child("mountPropagation");
        let privileged = c.security_context.as_ref().is_some_and(|s| s.privileged == Some(true));
        one_of(mode.as_str(), MODES, &at, errors);
        if mode == "Bidirectional" && !privileged {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            errors.forbidden(&at, why);
        }
    }
    if let Some(mode) = m.recursive_read_only.as_ref().filter(|m| *m != "Disabled") {
        let at = at.child("recursiveReadOnly");
        if !["Enabled", "IfPossible"].contains(&mode.as_str()) {
            errors.not_supported(&at, mode, &["Disabled", "Enabled", "IfPossible"]);
            return;
        }
        if m.read_only != Some(true) {
            errors.forbidden(&at, "may only be specified when readOnly is true");
        }
        if m.mount_propagation.as_deref().is_some_and(|p| p != "None") {
            let why = "may only be specified when mountPropagation is None or not specified";
            errors.forbidden(&at, why);
        }
    }
}

fn volume_devices(
    c: &Container,
    devices: &[VolumeDevice],
    around: &Around<'_>,
    at: &Path,
    errors: &mut Errors,
) {
    let mounts = || c.volume_mounts.iter().flatten();
    let mount_names: BTreeSet<&str> = mounts().map(|m| m.name.as_str()).collect();
    let mount_paths: BTreeSet<&str> = mounts().map(|m| m.mount_path.as_str()).collect();
    let (mut paths, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (at, d) in at.items(devices.iter()) {
        given(&d.name, &at.child("name"), errors);
        if !names.insert(&d.name) {
            errors.invalid(&at.child("name"), &d.name, "must be unique");
        }
        match around.volumes.get(d.name.as_str()) {
            Some(false) => {
                let words =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&at.child("name"), &d.name, words);
            }
            Some(true) => {}
            None => errors.not_found(&at.child("name"), &d.name),
        }
        given(&d.device_path, &at.child("devicePath"), errors);
        if !paths.insert(&d.device_path) {
            errors.invalid(&at.child("devicePath"), &d.device_path, "must be unique");
        }
        if escapes(&d.device_path) {
            let words = "can not contain backsteps ('..')";
            errors.invalid(&at.child("devicePath"), &d.device_path, words);
        }
        if mount_names.contains(d.name.as_str()) {
            errors.invalid(&at.child("name"), &d.name, "must not already exist in volumeMounts");
        }
        if mount_paths.contains(d.device_path.as_str()) {
            let words = "must not already exist as a path in volumeMounts";
            errors.invalid(&at.child("devicePath"), &d.device_path, words);
        }
    }
}

fn resize_policies(policies: &[ContainerResizePolicy], runs_once: bool, at: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, p) in policies.iter().enumerate() {
        unique(&mut seen, &p.resource_name, &at.index(i), errors);
        given_one_of(p.resource_name.as_str(), &["cpu", "memory"], at, errors);
        given_one_of(p.restart_policy.as_str(), &["NotRequired", "RestartContainer"], at, errors);
        if runs_once && p.restart_policy != "NotRequired" {
            let words = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(at, &p.restart_policy, words);
        }
    }
}
