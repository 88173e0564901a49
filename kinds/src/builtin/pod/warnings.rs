//! What a pod may say but had better not.
//!
//! Counterpart of upstream's `pkg/api/pod/warnings.go`, for what is not about makers' volumes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerPort, DownwardAPIVolumeFile, KeyToPath, NodeSelectorTerm, Pod, PodSpec,
        PodTemplateSpec, SeccompProfile, Volume, VolumeProjection,
    },
    apimachinery::pkg::{api::resource::Quantity as Wire, apis::meta::v1::ObjectMeta},
};

use api::quantity::Quantity;

use crate::builtin::{persistent_volume_claim, prelude::*};

/// The warnings about a pod.
pub fn of_pod(meta: &ObjectMeta, spec: &PodSpec) -> Vec<String> {
    let mut said = Vec::new();
    let wrong = dns_label(meta.name.as_deref().unwrap_or_default());
    if !wrong.is_empty() {
        said.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        ));
    }
    said.extend(warnings(meta, spec, &Path::root(), false));
    said
}

/// The warnings about the spec and the annotations of what stands at `base`.
fn warnings(meta: &ObjectMeta, spec: &PodSpec, base: &Path, in_template: bool) -> Vec<String> {
    let mut said = Vec::new();
    let (at, notes_at) = (&base.child("spec"), &base.child("metadata.annotations"));
    nodes(spec, at, &mut said);
    dead_annotations(meta, notes_at, &mut said);
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        volume_of_the_past(volume, &at.child("volumes").index(i), &mut said);
    }
    spec.volumes.iter().flatten().for_each(|volume| overlapping_paths(volume, &mut said));
    let mut hosts = BTreeSet::new();
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        if !hosts.insert(&alias.ip) {
            let at = at.child("hostAliases").index(i).child("ip");
            said.push(format!("{at}: duplicate ip {:?}", alias.ip));
        }
    }
    pull_secrets(spec, &at.child("imagePullSecrets"), &mut said);
    for name in ["memory", "ephemeral-storage"] {
        said.extend(fraction(spec.overhead.as_ref(), name, &at.child("overhead")));
    }
    let own = spec.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref());
    seccomp(meta, own, "seccomp.security.alpha.kubernetes.io/pod", notes_at, &mut said);
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (field, list) in [("initContainers", init), ("containers", &spec.containers)] {
        for (i, c) in list.iter().enumerate() {
            let own = c.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref());
            let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", c.name);
            seccomp(meta, own, &key, notes_at, &mut said);
            if in_template {
                app_armor(meta, spec, c, notes_at, &mut said);
            }
            container(c, &at.child(field).index(i), &mut said);
        }
    }
    ports(spec, at, &mut said);
    if spec.termination_grace_period_seconds.is_some_and(|s| s < 0) {
        said.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            at.child("terminationGracePeriodSeconds")
        ));
    }
    neighbours(spec, &at.child("affinity"), &mut said);
    let servers = spec.dns_config.iter().flat_map(|config| config.nameservers.iter().flatten()).enumerate();
    let servers_at = at.child("dnsConfig.nameservers");
    said.extend(servers.filter_map(|(i, server)| ip_warning(server, &servers_at.index(i))));
    let aliases = spec.host_aliases.iter().flatten().enumerate();
    let aliases_at = at.child("hostAliases");
    said.extend(aliases.filter_map(|(i, alias)| ip_warning(&alias.ip, &aliases_at.index(i).child("ip"))));
    said
}

fn pull_secrets(spec: &PodSpec, at: &Path, said: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    let mut empty = Vec::new();
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        let at = at.index(i).child("name");
        if !names.insert(&secret.name) {
            said.push(format!("{at}: duplicate name {:?}", secret.name));
        }
        if secret.name.is_empty() {
            empty.push(format!("{at}: invalid empty name {:?}", secret.name));
        }
    }
    said.extend(empty);
}

/// Annotations that do nothing any more.
fn dead_annotations(meta: &ObjectMeta, at: &Path, said: &mut Vec<String>) {
    for (key, why) in [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
    ] {
        if meta.annotations.as_ref().is_some_and(|notes| notes.contains_key(key)) {
            said.push(format!("{}: {why}", at.key(key)));
        }
    }
}

/// A seccomp profile in an annotation, for which a field stands today.
fn seccomp(
    meta: &ObjectMeta,
    profile: Option<&SeccompProfile>,
    key: &str,
    at: &Path,
    said: &mut Vec<String>,
) {
    if profile.is_none() && meta.annotations.as_ref().is_some_and(|notes| notes.contains_key(key)) {
        let why = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
        said.push(format!("{}: {why}", at.key(key)));
    }
}

/// The AppArmor profile of a template's container in an annotation. Those of a pod become fields.
fn app_armor(meta: &ObjectMeta, spec: &PodSpec, c: &Container, at: &Path, said: &mut Vec<String>) {
    let key = format!("container.apparmor.security.beta.kubernetes.io/{}", c.name);
    let Some(noted) = meta.annotations.as_ref().and_then(|notes| notes.get(&key)) else { return };
    let of_pod = spec.security_context.as_ref().and_then(|c| c.app_armor_profile.as_ref());
    let own = c.security_context.as_ref().and_then(|c| c.app_armor_profile.as_ref());
    let same = of_pod.is_some_and(|profile| match profile.type_.as_str() {
        "RuntimeDefault" => noted == "runtime/default",
        "Unconfined" => noted == "unconfined",
        _ => noted.strip_prefix("localhost/") == profile.localhost_profile.as_deref(),
    });
    if own.is_none() && !same {
        let why = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
        said.push(format!("{}: {why}", at.key(&key)));
    }
}

/// Storage that Kubernetes mounts no longer.
fn volume_of_the_past(v: &Volume, at: &Path, said: &mut Vec<String>) {
    let deprecated = |since: &str, gone: &str| format!("deprecated in {since}, non-functional in {gone}+");
    for (field, is_set, why) in [
        ("photonPersistentDisk", v.photon_persistent_disk.is_some(), deprecated("v1.11", "v1.16")),
        (
            "gitRepo",
            v.git_repo.is_some(),
            "deprecated in v1.11, and disabled by default in v1.33+".to_owned(),
        ),
        ("scaleIO", v.scale_io.is_some(), deprecated("v1.16", "v1.22")),
        ("flocker", v.flocker.is_some(), deprecated("v1.22", "v1.25")),
        ("storageOS", v.storageos.is_some(), deprecated("v1.22", "v1.25")),
        ("quobyte", v.quobyte.is_some(), deprecated("v1.22", "v1.25")),
        ("glusterfs", v.glusterfs.is_some(), deprecated("v1.25", "v1.26")),
        ("cephfs", v.cephfs.is_some(), deprecated("v1.28", "v1.31")),
        ("rbd", v.rbd.is_some(), deprecated("v1.28", "v1.31")),
    ] {
        if is_set {
            said.push(format!("{}: {why}", at.child(field)));
        }
    }
    if let Some(template) = v.ephemeral.as_ref().and_then(|e| e.volume_claim_template.as_ref()) {
        let at = at.child("ephemeral.volumeClaimTemplate.spec");
        said.extend(persistent_volume_claim::spec_warnings(&template.spec, &at));
    }
}

/// Files of a volume of which one would lie where another does, or below it.
fn overlapping_paths(v: &Volume, said: &mut Vec<String>) {
    let files = |items: &Option<Vec<KeyToPath>>| -> Vec<String> {
        items.iter().flatten().map(|item| item.path.clone()).collect()
    };
    let downward = |items: &Option<Vec<DownwardAPIVolumeFile>>| -> Vec<String> {
        items.iter().flatten().map(|file| file.path.clone()).collect()
    };
    let mut of_volume = |what: &str, paths: Vec<String>| {
        let mut taken = Vec::new();
        paths.iter().for_each(|path| meet(path, "", &mut taken, &v.name, what, said));
    };
    if let Some(map) = &v.config_map {
        of_volume(&format!("ConfigMap {:?}", map.name), files(&map.items));
    }
    if let Some(secret) = &v.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        of_volume(&format!("Secret {name:?}"), files(&secret.items));
    }
    if let Some(fields) = &v.downward_api {
        of_volume("DownwardAPI", downward(&fields.items));
    }
    let mut taken = Vec::new();
    for source in v.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
        if *source == VolumeProjection::default() {
            said.push(format!("volume {:?} (Projected) has no sources provided", v.name));
        }
        let (from, paths) = if let Some(map) = &source.config_map {
            (format!(" (ConfigMap {:?})", map.name), files(&map.items))
        } else if let Some(secret) = &source.secret {
            (format!(" (Secret {:?})", secret.name), files(&secret.items))
        } else if let Some(fields) = &source.downward_api {
            (" (DownwardAPI)".into(), downward(&fields.items))
        } else if let Some(token) = &source.service_account_token {
            (" (ServiceAccountToken)".into(), vec![token.path.clone()])
        } else if let Some(bundle) = &source.cluster_trust_bundle {
            let name = bundle.name.as_ref().or(bundle.signer_name.as_ref());
            let name = name.map(String::as_str).unwrap_or_default();
            (format!(" (ClusterTrustBundle {name:?})"), vec![bundle.path.clone()])
        } else {
            continue;
        };
        paths.iter().for_each(|path| meet(path, &from, &mut taken, &v.name, "Projected", said));
    }
}

/// Tells of a path and those before it that meet it.
fn meet(
    path: &str,
    from: &str,
    taken: &mut Vec<(String, String)>,
    volume: &str,
    what: &str,
    said: &mut Vec<String>,
) {
    /// With so many of a volume others are compared, and so much is said: nobody is shown more.
    const MOST: usize = 500;
    let path = path.trim_end_matches('/');
    let below = |lower: &str, upper: &str| {
        lower.strip_prefix(upper).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if path.is_empty() || said.len() > MOST {
        return;
    }
    for (other, other_from) in taken.iter().filter(|(other, _)| below(path, other) || below(other, path)) {
        said.push(format!(
            "volume {volume:?} ({what}): overlapping paths: {path:?}{from} with {other:?}{other_from}"
        ));
    }
    if taken.len() < MOST {
        taken.push((path.to_owned(), from.to_owned()));
    }
}

/// Ports of all containers that may be the same one, and names that two of them have.
fn ports(spec: &PodSpec, at: &Path, said: &mut Vec<String>) {
    let lists = [
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
        ("containers", spec.containers.as_slice()),
    ];
    let all = lists.into_iter().flat_map(|(list, containers)| {
        containers.iter().enumerate().flat_map(move |(i, c)| {
            let ports = c.ports.iter().flatten().enumerate();
            ports.map(move |(j, port)| (at.child(list).index(i).child("ports").index(j), port))
        })
    });
    let all: Vec<(Path, &ContainerPort)> = all.collect();
    type OnHost = (String, i32);
    let host = |port: &ContainerPort| -> OnHost {
        (port.host_ip.clone().unwrap_or_default(), port.host_port.unwrap_or(0))
    };
    /// So many of those that share a number are told apart: that keeps the work and the words within bounds.
    const MOST: usize = 100;
    /// And when so much is said nobody is shown more.
    const ENOUGH: usize = 1000;
    let mut others: BTreeMap<(i32, Option<&str>), Vec<_>> = BTreeMap::new();
    let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
    for (at, port) in &all {
        let (ip, number) = host(port);
        if number == 0 && !ip.is_empty() {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            said.push(format!(
                "{at}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{ip}}}",
                text(&port.name),
                port.container_port,
                text(&port.protocol),
            ));
        }
        let key = (port.container_port, port.protocol.as_deref());
        let others = others.entry(key).or_default();
        for (other, (other_ip, other_number)) in others.iter() {
            let how = if (&ip, &number) == (other_ip, other_number) {
                Some("duplicate")
            } else if number == 0 || *other_number == 0 {
                Some("overlapping")
            } else if number == *other_number && ip.is_empty() != other_ip.is_empty() {
                Some("dangerously ambiguous")
            } else {
                None
            };
            said.extend(how.map(|how| format!("{at}: {how} port definition with {other}")));
        }
        if others.len() < MOST {
            others.push((at, (ip, number)));
        }
        if said.len() > ENOUGH {
            break;
        }
    }
    for (at, port) in &all {
        let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else { continue };
        match names.get(name) {
            None => {
                names.insert(name, at);
            }
            Some(other) => said.push(format!(
                "{at}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}"
            )),
        }
    }
}

/// The warnings about a template that stands at `at`.
pub fn of_template(template: &PodTemplateSpec, at: &Path) -> Vec<String> {
    let Some(spec) = &template.spec else { return Vec::new() };
    let none = ObjectMeta::default();
    warnings(template.metadata.as_ref().unwrap_or(&none), spec, at, true)
}

/// The warnings about what a pod's status says.
pub fn of_status(pod: &Pod) -> Vec<String> {
    let Some(status) = &pod.status else { return Vec::new() };
    let pods = status.pod_ips.iter().flatten().map(|one| &one.ip).enumerate();
    let hosts = status.host_ips.iter().flatten().map(|one| &one.ip).enumerate();
    let place = |field: &str, i| Path::new("status").child(field).index(i).child("ip");
    let pods = pods.filter_map(|(i, ip)| ip_warning(ip, &place("podIPs", i)));
    pods.chain(hosts.filter_map(|(i, ip)| ip_warning(ip, &place("hostIPs", i)))).collect()
}

/// What is to be said about a node's label that something else stands for today.
pub fn deprecated_label(label: &str) -> Option<&'static str> {
    Some(match label {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => {
            "deprecated since v1.22; use Taints and Tolerations instead"
        }
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

/// Labels of nodes where a pod says where it runs.
fn nodes(spec: &PodSpec, at: &Path, said: &mut Vec<String>) {
    for label in spec.node_selector.iter().flatten().map(|(label, _)| label) {
        if let Some(why) = deprecated_label(label) {
            said.push(format!("{}: {why}", at.child("nodeSelector").key(label)));
        }
    }
    if let Some(node) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) {
        let at = at.child("affinity").child("nodeAffinity");
        let required = node.required_during_scheduling_ignored_during_execution.as_ref();
        let terms = at.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
        for (i, one) in required.iter().flat_map(|selector| &selector.node_selector_terms).enumerate() {
            term(one, false, &terms.index(i), said);
        }
        let preferred = node.preferred_during_scheduling_ignored_during_execution.as_deref();
        let terms = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, one) in preferred.unwrap_or_default().iter().enumerate() {
            term(&one.preference, true, &terms.index(i).child("preference"), said);
        }
    }
    for (i, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        if let Some(why) = deprecated_label(&constraint.topology_key) {
            let at = at.child("topologySpreadConstraints").index(i).child("topologyKey");
            said.push(format!("{at}: {} is {why}", constraint.topology_key));
        }
        if constraint.label_selector.is_none() {
            let at = at.child("topologySpreadConstraints").index(i);
            no_selector(&at, said);
        }
    }
}

/// Neighbours that a pod asks for and cannot get.
fn neighbours(spec: &PodSpec, at: &Path, said: &mut Vec<String>) {
    let Some(affinity) = &spec.affinity else { return };
    let near = affinity.pod_affinity.as_ref().map(|a| {
        (
            &a.required_during_scheduling_ignored_during_execution,
            &a.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let far = affinity.pod_anti_affinity.as_ref().map(|a| {
        (
            &a.required_during_scheduling_ignored_during_execution,
            &a.preferred_during_scheduling_ignored_during_execution,
        )
    });
    for (field, terms) in [("podAffinity", near), ("podAntiAffinity", far)] {
        let Some((required, preferred)) = terms else { continue };
        let at = at.child(field);
        let terms = at.child("requiredDuringSchedulingIgnoredDuringExecution");
        for (i, _) in required.iter().flatten().enumerate().filter(|(_, t)| t.label_selector.is_none()) {
            no_selector(&terms.index(i), said);
        }
        let terms = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, term) in preferred.iter().flatten().enumerate() {
            if term.pod_affinity_term.label_selector.is_none() {
                no_selector(&terms.index(i).child("podAffinityTerm"), said);
            }
        }
    }
}

fn no_selector(at: &Path, said: &mut Vec<String>) {
    said.push(format!("{}: a null labelSelector results in matching no pod", at.child("labelSelector")));
}

/// Deprecated labels in a term; `weighed`: of a preference, whose values nothing else looks at.
pub fn term(term: &NodeSelectorTerm, weighed: bool, at: &Path, said: &mut Vec<String>) {
    for (i, expression) in term.match_expressions.iter().flatten().enumerate() {
        let at = at.child("matchExpressions").index(i);
        if let Some(why) = deprecated_label(&expression.key) {
            said.push(format!("{}: {} is {why}", at.child("key"), expression.key));
        }
        for (i, value) in expression.values.iter().flatten().enumerate().filter(|_| weighed) {
            let at = at.child("values").index(i);
            said.extend(label_value(value).iter().map(|why| format!("{at}: {value} is invalid, {why}")));
        }
    }
}

/// What is to be said of an amount of bytes that is not whole.
pub fn fraction(list: Option<&BTreeMap<String, Wire>>, name: &str, at: &Path) -> Option<String> {
    let amount = list?.get(name).map(Quantity::of).filter(|amount| !amount.is_whole())?;
    let at = at.key(name);
    Some(format!("{at}: fractional byte value \"{amount}\" is invalid, must be an integer"))
}

fn container(c: &Container, at: &Path, said: &mut Vec<String>) {
    let resources = c.resources.as_ref();
    for name in ["memory", "ephemeral-storage"] {
        for (field, list) in [
            ("limits", resources.and_then(|r| r.limits.as_ref())),
            ("requests", resources.and_then(|r| r.requests.as_ref())),
        ] {
            said.extend(fraction(list, name, &at.child("resources").child(field)));
        }
    }
    let mut names = BTreeSet::new();
    for (i, variable) in c.env.iter().flatten().enumerate() {
        // A value that is made from the one before does not hide it.
        let reference = format!("$({})", variable.name);
        let value = variable.value.as_deref().unwrap_or_default();
        let extends = variable.value_from.is_none() && value != reference && value.contains(&reference);
        if !names.insert(&variable.name) && !extends {
            said.push(format!(
                "{}: hides previous definition of {:?}, which may be dropped when using apply",
                at.child("env").index(i),
                variable.name
            ));
        }
    }
}

#[cfg(test)]
mod tests;
