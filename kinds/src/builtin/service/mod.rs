//! Service: one address for many pods.
//!
//! Addresses and node ports are handed out by the API server's allocators; here is what follows from the
//! object alone.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Deserialize as _;

use crate::builtin::prelude::*;

mod families;
mod status;
mod validation;
mod warnings;

/// Whether the type comes with node ports.
fn has_node_ports(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

/// Whether traffic may come from outside of the cluster.
fn is_reached_from_outside(spec: &ServiceSpec) -> bool {
    match spec.type_.as_deref() {
        Some("NodePort" | "LoadBalancer") => true,
        Some("ClusterIP") => spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty()),
        _ => false,
    }
}

fn is_external_name(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("ExternalName")
}

impl Strategy for Service {
    const FACTS: Facts = Facts { creates_on_update: true, names: NameRule::Label, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set_text(&mut spec.session_affinity, "None");
        match spec.session_affinity.as_deref() {
            Some("None") => spec.session_affinity_config = None,
            Some("ClientIP") => {
                let config = spec.session_affinity_config.get_or_insert_default();
                set(&mut config.client_ip.get_or_insert_default().timeout_seconds, 10800);
            }
            _ => {}
        }
        set_text(&mut spec.type_, "ClusterIP");
        for text in [&mut spec.cluster_ip, &mut spec.external_name, &mut spec.load_balancer_ip] {
            absent_when_zero(text);
        }
        absent_when_zero(&mut spec.publish_not_ready_addresses);
        absent_when_zero(&mut spec.selector);
        absent_when_zero(&mut spec.ports);
        absent_when_zero(&mut spec.cluster_ips);
        absent_when_zero(&mut spec.external_ips);
        absent_when_zero(&mut spec.health_check_node_port);
        for port in spec.ports.iter_mut().flatten() {
            set_text(&mut port.protocol, "TCP");
            absent_when_zero(&mut port.name);
            absent_when_zero(&mut port.node_port);
            let unset = match &port.target_port {
                None | Some(IntOrString::Int(0)) => true,
                Some(IntOrString::String(text)) => text.is_empty(),
                Some(IntOrString::Int(_)) => false,
            };
            if unset {
                port.target_port = Some(IntOrString::Int(port.port));
            }
        }
        let outside = is_reached_from_outside(spec);
        let kind = spec.type_.as_deref();
        if outside {
            set_text(&mut spec.external_traffic_policy, "Cluster");
        }
        if matches!(kind, Some("NodePort" | "LoadBalancer" | "ClusterIP")) {
            set(&mut spec.internal_traffic_policy, "Cluster");
        }
        if kind == Some("LoadBalancer") {
            set(&mut spec.allocate_load_balancer_node_ports, true);
        }
        let balanced = kind == Some("LoadBalancer");
        let status = self.status.get_or_insert_default().load_balancer.get_or_insert_default();
        for entry in status.ingress.iter_mut().flatten().filter(|_| balanced) {
            if entry.ip.as_ref().is_some_and(|ip| !ip.is_empty()) {
                set(&mut entry.ip_mode, "VIP");
            }
        }
    }

    fn prepare_create(service: &mut Draft<Self>) {
        service.status = Some(Default::default());
        service.status.get_or_insert_default().load_balancer.get_or_insert_default();
        let spec = service.spec.get_or_insert_default();
        families::pair(spec);
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        if part != Part::Main {
            return;
        }
        let (Some(new), Some(old)) = (&mut new.spec, &old.spec) else { return };
        families::pair_again(new, old);
        keep_allocated(new, old);
        drop_what_the_type_has_not(new, old);
    }

    fn validate(&self, errors: &mut Errors) {
        let Some(spec) = &self.spec else { return };
        let mut settled = spec.clone();
        families::settle(&mut settled, None, errors);
        // Where the addresses make no sense, the rest is not looked at, as upstream.
        if errors.is_empty() {
            validation::spec(&settled, errors);
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            return status::validate(self, errors);
        }
        let (Part::Main, Some(new), Some(old)) = (part, &self.spec, &old.spec) else { return };
        let mut settled = new.clone();
        families::settle(&mut settled, Some(old), errors);
        if errors.is_empty() {
            validation::update(&settled, old, errors);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        warnings::warnings(self, old)
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::field("Type", "How the service is reached.", &["spec", "type"]),
            Column::text("Cluster-IP", "The service's address inside the cluster.", |service| {
                let first = service.list_at(&["spec", "clusterIPs"]).first().and_then(Value::as_str);
                first.unwrap_or("<none>").into()
            }),
            Column::text("External-IP", "The service's addresses outside the cluster.", |service| {
                external(service).into()
            }),
            Column::text("Port(s)", "The service's ports, and node ports.", |service| {
                let ports = service.list_at(&["spec", "ports"]).iter().map(|p| {
                    let (port, protocol) = (int(p, &["port"]), p.str_at(&["protocol"]));
                    match int(p, &["nodePort"]) {
                        0 => format!("{port}/{protocol}"),
                        node_port => format!("{port}:{node_port}/{protocol}"),
                    }
                });
                match ports.collect::<Vec<_>>().join(",") {
                    none if none.is_empty() => "<none>".into(),
                    ports => ports.into(),
                }
            }),
            Column::age(),
            Column::text("Selector", "Which pods take the traffic.", |service| {
                cells::labels(service.at(&["spec", "selector"])).into()
            })
            .wide(),
        ]
    }

    fn selectable_fields(service: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("spec.clusterIP", service.str_at(&["spec", "clusterIP"]).to_owned()),
            ("spec.type", service.str_at(&["spec", "type"]).to_owned()),
        ]
    }
}

/// Fills in policy and families of a service that is to be stored in the place of another; validation has seen that
/// they can be.
pub fn settle_families(service: &mut Value, old: Option<&Value>) {
    let read = |service: &Value| ServiceSpec::deserialize(service.get("spec")?).ok();
    let Some(mut spec) = read(service) else { return };
    let mut wrong = Errors::default();
    families::settle(&mut spec, old.and_then(read).as_ref(), &mut wrong);
    if !wrong.is_empty() {
        return;
    }
    for (field, list) in [("ipFamilies", spec.ip_families), ("clusterIPs", spec.cluster_ips)] {
        if let Some(list) = list {
            service["spec"][field] = list.into();
        }
    }
    if let Some(policy) = spec.ip_family_policy {
        service["spec"]["ipFamilyPolicy"] = policy.into();
    }
}

/// An update that leaves out what the server handed out keeps it.
fn keep_allocated(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_node_ports(new) && has_node_ports(old) {
        let numbers = |spec: &ServiceSpec| -> BTreeSet<i32> {
            spec.ports.iter().flatten().filter_map(|port| port.node_port).collect()
        };
        let used: BTreeSet<i32> = &numbers(old) & &numbers(new);
        let by_name: BTreeMap<_, _> =
            old.ports.iter().flatten().map(|port| (&port.name, port.node_port)).collect();
        for port in new.ports.iter_mut().flatten().filter(|port| port.node_port.is_none()) {
            let before = by_name.get(&port.name).copied().flatten();
            port.node_port = before.filter(|number| !used.contains(number));
        }
    }
    if new.health_check_node_port.is_none() && needs_health_port(new) && needs_health_port(old) {
        new.health_check_node_port = old.health_check_node_port;
    }
}

fn needs_health_port(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// A change of type takes along what only the old type had, where the client just left it standing.
fn drop_what_the_type_has_not(new: &mut ServiceSpec, old: &ServiceSpec) {
    if is_external_name(new) && !is_external_name(old) {
        if new.cluster_ip == old.cluster_ip {
            new.cluster_ip = None;
        }
        if new.cluster_ips == old.cluster_ips {
            new.cluster_ips = None;
        }
        if new.ip_families == old.ip_families {
            new.ip_families = None;
        }
        if new.ip_family_policy == old.ip_family_policy {
            new.ip_family_policy = None;
        }
    }
    let may_have_node_ports =
        |spec: &ServiceSpec| matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    if !may_have_node_ports(new) && may_have_node_ports(old) {
        let left: BTreeSet<i32> = old.ports.iter().flatten().filter_map(|p| p.node_port).collect();
        let known = |port: &ServicePort| port.node_port.is_none_or(|number| left.contains(&number));
        if new.ports.iter().flatten().all(known) {
            new.ports.iter_mut().flatten().for_each(|port| port.node_port = None);
        }
    }
    if !needs_health_port(new) && needs_health_port(old) {
        new.health_check_node_port = None;
    }
    if !is_reached_from_outside(new) && is_reached_from_outside(old) {
        new.external_traffic_policy = None;
    }
    if is_external_name(new) && !is_external_name(old) {
        new.internal_traffic_policy = None;
    }
    let balanced = |s: &ServiceSpec| s.type_.as_deref() == Some("LoadBalancer");
    if !balanced(new) && balanced(old) {
        if new.allocate_load_balancer_node_ports == old.allocate_load_balancer_node_ports {
            new.allocate_load_balancer_node_ports = None;
        }
        if new.load_balancer_class == old.load_balancer_class {
            new.load_balancer_class = None;
        }
    }
}

/// What the column `External-IP` shows.
fn external(service: &Value) -> String {
    let own: Vec<&str> = service.list_at(&["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    match service.str_at(&["spec", "type"]) {
        "ExternalName" => service.str_at(&["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let mut given: Vec<&str> = service
                .list_at(&["status", "loadBalancer", "ingress"])
                .iter()
                .map(|i| match i.str_at(&["ip"]) {
                    "" => i.str_at(&["hostname"]),
                    ip => ip,
                })
                .filter(|text| !text.is_empty())
                .collect();
            given.sort_unstable();
            given.dedup();
            given.extend(own);
            if given.is_empty() { "<pending>".into() } else { given.join(",") }
        }
        _ if own.is_empty() => "<none>".into(),
        _ => own.join(","),
    }
}
