//! Node: a machine that runs pods.

use std::collections::BTreeSet;

use api::{conditions, field::ErrorType};
use k8s_openapi::{
    api::core::v1::{Node, NodeAddress, NodeSpec},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde::Serialize;

use crate::builtin::pod::validation::{resources::amount, taint_effect};
use crate::builtin::prelude::*;

impl Strategy for Node {
    const FACTS: Facts = Facts { status_at_creation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        // The feature is gone.
        spec.config_source = None;
        absent_when_zero(&mut spec.unschedulable);
        absent_when_zero(&mut spec.taints);
        for text in [&mut spec.pod_cidr, &mut spec.provider_id] {
            absent_when_zero(text);
        }
        absent_when_zero(&mut spec.pod_cidrs);
        // The single range and the first of the list are one.
        if let Some(range) = &spec.pod_cidr
            && spec.pod_cidrs.as_ref().and_then(|list| list.first()) != Some(range)
        {
            spec.pod_cidrs = Some(vec![range.clone()]);
        }
        if let Some(first) = spec.pod_cidrs.as_ref().and_then(|l| l.first()) {
            spec.pod_cidr = Some(first.clone());
        }
        let status = self.status.get_or_insert_default();
        status.daemon_endpoints.get_or_insert_default().kubelet_endpoint.get_or_insert_default();
        status.node_info.get_or_insert_default();
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
        for wire in
            [&mut status.capacity, &mut status.allocatable].into_iter().flatten().flat_map(|l| l.values_mut())
        {
            canonical(wire);
        }
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        if part == Part::Status {
            new.spec.clone_from(&old.spec);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(spec) = &self.spec {
            sound(spec, errors);
        }
        amounts(self, errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        amounts(self, errors);
        addresses(self, errors);
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        if part != Part::Main {
            return;
        }
        let at = Path::new("spec");
        sound(new, errors);
        if old.pod_cidrs.is_some() && new.pod_cidrs != old.pod_cidrs {
            let why = "node updates may not change podCIDR except from \"\" to valid";
            errors.forbidden(&at.child("podCIDRs"), why);
        }
        if old.provider_id.is_some() && new.provider_id != old.provider_id {
            let why = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden(&at.child("providerID"), why);
        }
        if new.external_id != old.external_id && old.external_id.is_some() {
            let why = "node updates may only change labels, taints, or capacity (or configSource, if the DynamicKubeletConfig feature gate is enabled)";
            errors.forbidden(&at, why);
        }
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let spec = self.spec.as_ref();
        let old_name = spec.and_then(|spec| spec.external_id.as_ref()).filter(|id| !id.is_empty());
        let old_name = old_name
            .map(|_| "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
        let at = Path::new("spec.podCIDRs");
        let ranges = at.items(spec.iter().flat_map(|spec| spec.pod_cidrs.iter().flatten()));
        let ranges = ranges.filter_map(|(at, range)| cidr_warning(range, &at));
        old_name.into_iter().chain(ranges).collect()
    }

    fn columns() -> Vec<Column> {
        let address = |name, words, kind| {
            Column::text(name, words, move |node| {
                let mut addresses = node.list_at(&["status", "addresses"]).iter();
                let found = addresses.find(|a| a.str_at(&["type"]) == kind);
                found.map_or("<none>", |a| a.str_at(&["address"])).into()
            })
            .wide()
        };
        let info = |name, words, field| {
            Column::text(name, words, move |node| text_or(node, &["status", "nodeInfo", field], "<unknown>"))
                .wide()
        };
        vec![
            Column::name(),
            Column::text("Status", "Whether the node is ready and takes pods.", |node| state(node).into()),
            Column::text("Roles", "The node's roles, from its labels.", |node| roles(node).into()),
            Column::age(),
            Column::field("Version", "The kubelet's version.", &["status", "nodeInfo", "kubeletVersion"]),
            address("Internal-IP", "The node's address inside the cluster.", "InternalIP"),
            address("External-IP", "The node's address outside the cluster.", "ExternalIP"),
            info("OS-Image", "The node's operating system.", "osImage"),
            info("Kernel-Version", "The node's kernel.", "kernelVersion"),
            info("Container-Runtime", "What runs the containers.", "containerRuntimeVersion"),
        ]
    }

    fn selectable_fields(node: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", is_unschedulable(node).to_string())]
    }
}

/// What the node has and gives.
fn amounts(node: &Node, errors: &mut Errors) {
    let at = Path::new("status");
    let Some(status) = &node.status else { return };
    for (field, list) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
        for (name, wire) in list.iter().flatten() {
            amount(name, wire, &at.child(field).child(name), errors);
        }
    }
}

/// An address as upstream shows one that comes twice.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownAddress<'a> {
    #[serde(rename = "Type")]
    type_: &'a str,
    address: &'a str,
}

/// A taint, likewise.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownTaint<'a> {
    key: &'a str,
    value: &'a str,
    effect: &'a str,
    time_added: &'a Option<Time>,
}

/// No address comes twice.
fn addresses(node: &Node, errors: &mut Errors) {
    let at = Path::new("status.addresses");
    let list = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut is_double =
        |address: &NodeAddress| !seen.insert((address.type_.clone(), address.address.clone()));
    for (i, address) in list.iter().enumerate().filter(|(_, address)| is_double(address)) {
        let shown = ShownAddress { type_: &address.type_, address: &address.address };
        errors.duplicate(&at.index(i), shown);
    }
}

/// Taints and address ranges.
fn sound(spec: &NodeSpec, errors: &mut Errors) {
    let at = Path::new("spec");
    let mut seen = BTreeSet::new();
    // The path is upstream's.
    for (at, taint) in Path::new("metadata.taints").items(spec.taints.iter().flatten()) {
        each(errors, &at.child("key"), &taint.key, qualified_name(&taint.key));
        if let Some(value) = &taint.value {
            let wrong = label_value(value);
            if !wrong.is_empty() {
                errors.invalid(&at.child("value"), value, wrong.join(";"));
            }
        }
        if taint.effect.is_empty() {
            errors.required(&at.child("effect"), "");
        } else {
            taint_effect(&taint.effect, &at.child("effect"), errors);
        }
        if !seen.insert((&taint.key, &taint.effect)) {
            let shown = ShownTaint {
                key: &taint.key,
                value: taint.value.as_deref().unwrap_or_default(),
                effect: &taint.effect,
                time_added: &taint.time_added,
            };
            errors.duplicate_because(&at, shown, "taints must be unique by key and effect pair");
        }
    }
    ranges(spec.pod_cidrs.as_deref().unwrap_or_default(), &at.child("podCIDRs"), errors);
}

/// A node has a range of addresses of each family at most.
fn ranges(list: &[String], at: &Path, errors: &mut Errors) {
    for (at, text) in at.items(list) {
        each(errors, &at, text, cidr(text));
    }
    if list.len() < 2 {
        return;
    }
    let broken = list.iter().enumerate().find(|(_, text)| range(text).is_none());
    if let Some((i, text)) = broken {
        let why = format!(
            "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{i}]: <nil> (invalid CIDR address: {text})"
        );
        errors.plain(ErrorType::Internal, at, why);
    }
    let [one, other] = [true, false].map(|v6| list.iter().any(|text| text.contains(':') == v6));
    if broken.is_some() || list.len() > 2 || !one || !other {
        errors.invalid(at, list, "may specify no more than one CIDR for each IP family");
    }
}

fn is_unschedulable(node: &Value) -> bool {
    node.at(&["spec", "unschedulable"]).and_then(Value::as_bool).unwrap_or(false)
}

/// `Ready`, `NotReady` or `Unknown`, and `SchedulingDisabled`.
fn state(node: &Value) -> String {
    let ready = conditions::find(node, "Ready");
    let ready = match ready.map(|c| c.str_at(&["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if is_unschedulable(node) { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

/// The roles that the labels name, sorted.
fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = Vec::new();
    for (label, value) in node.at(&["metadata", "labels"]).and_then(Value::as_object).into_iter().flatten() {
        match label.strip_prefix("node-role.kubernetes.io/") {
            Some("") => {}
            Some(role) => roles.push(role),
            None if label == "kubernetes.io/role" => roles.extend(value.as_str().filter(|v| !v.is_empty())),
            None => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

#[cfg(test)]
mod tests;
