//! Pod: containers that run together on one node.
//!
//! Owns the pod's own rules; [`defaults`] and validation are shared by every kind with a pod template.

use std::collections::{BTreeMap, VecDeque};

use api::pod::{Qos, is_final};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::builtin::prelude::*;

mod columns;
pub mod defaults;
pub mod label_keys;
pub mod log_options;
pub mod validation;
pub mod warnings;

impl Strategy for Pod {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        defaults::pod_spec(spec);
        defaults::pod_only(spec);
        self.status.get_or_insert_default();
    }

    fn prepare_create(pod: &mut Draft<Self>) {
        // Upstream believes a class that is given.
        let given = pod.status.take().and_then(|status| status.qos_class).filter(|class| !class.is_empty());
        let spec = pod.spec.get_or_insert_default();
        let mut status = PodStatus {
            phase: Some("Pending".into()),
            qos_class: given.or_else(|| Some(Qos::from_spec(spec).word().into())),
            ..PodStatus::default()
        };
        if spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty()) {
            status.conditions = Some(vec![PodCondition {
                type_: "PodScheduled".into(),
                status: "False".into(),
                reason: Some("SchedulingGated".into()),
                message: Some("Scheduling is blocked due to non-empty scheduling gates".into()),
                // Objects are stamped before they are prepared.
                last_transition_time: pod.metadata.creation_timestamp.clone(),
                ..PodCondition::default()
            }]);
        }
        pod.status = Some(status);
        let labels = pod.metadata.labels.clone();
        label_keys::merge(pod.spec.get_or_insert_default(), labels.as_ref());
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        match part {
            Part::Status => {
                new.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
                if let (Some(new), Some(old)) = (&mut new.status, &old.status) {
                    if new.qos_class.is_none() {
                        new.qos_class.clone_from(&old.qos_class);
                    }
                    keep_observed_generations(new, old);
                }
            }
            Part::Other("ephemeralcontainers") => {
                let ephemeral = new.spec.take().and_then(|s| s.ephemeral_containers);
                new.spec.clone_from(&old.spec);
                new.spec.get_or_insert_default().ephemeral_containers = ephemeral;
                new.status.clone_from(&old.status);
                keep_metadata(&mut new.metadata, &old.metadata);
            }
            Part::Other("resize") => {
                let asked = new.spec.take().unwrap_or_default();
                new.spec.clone_from(&old.spec);
                if let Some(spec) = &mut new.spec {
                    spec.resources = asked.resources;
                    resize(&mut spec.containers, asked.containers);
                    let mut inits = spec.init_containers.take().unwrap_or_default();
                    resize(&mut inits, asked.init_containers.unwrap_or_default());
                    spec.init_containers = Some(inits).filter(|list| !list.is_empty());
                }
                new.status.clone_from(&old.status);
                keep_metadata(&mut new.metadata, &old.metadata);
            }
            Part::Main | Part::Other(_) => {}
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return errors.required(&at.child("containers"), "") };
        validation::pod(&self.metadata, spec, errors);
        if spec.ephemeral_containers.as_ref().is_some_and(|c| !c.is_empty()) {
            errors.forbidden(&at.child("ephemeralContainers"), "cannot be set on create");
        }
        let named = spec.node_name.as_ref().is_some_and(|name| !name.is_empty());
        if named && spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
            let why = "cannot be set until all schedulingGates have been cleared";
            errors.forbidden(&at.child("nodeName"), why);
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status
            && let Some(spec) = &self.spec
        {
            validation::pod(&self.metadata, spec, errors);
        }
        match part {
            Part::Main => validation::update(self, old, errors),
            Part::Other("ephemeralcontainers") => validation::ephemeral_update(self, old, errors),
            Part::Other("resize") => validation::resize_update(self, old, errors),
            Part::Status => validation::status_update(self, old, errors),
            Part::Other(_) => {}
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        match (&self.spec, old) {
            (Some(spec), None) => warnings::of_pod(&self.metadata, spec),
            (_, Some(old)) if self.status != old.status => warnings::of_status(self),
            _ => Vec::new(),
        }
    }

    fn columns() -> Vec<Column> {
        columns::columns()
    }

    fn selectable_fields(pod: &Value) -> Vec<(&'static str, String)> {
        let text = |path: &[&str]| pod.str_at(path).to_owned();
        let addresses: Vec<&str> =
            pod.list_at(&["status", "podIPs"]).iter().map(|ip| ip.str_at(&["ip"])).collect();
        let host_network = pod.at(&["spec", "hostNetwork"]).and_then(Value::as_bool).unwrap_or(false);
        vec![
            ("spec.nodeName", text(&["spec", "nodeName"])),
            ("spec.restartPolicy", text(&["spec", "restartPolicy"])),
            ("spec.schedulerName", text(&["spec", "schedulerName"])),
            ("spec.serviceAccountName", text(&["spec", "serviceAccountName"])),
            ("spec.hostNetwork", host_network.to_string()),
            ("status.phase", text(&["status", "phase"])),
            ("status.podIP", addresses.first().copied().unwrap_or_default().to_owned()),
            ("status.podIPs", addresses.join(",")),
            ("status.nominatedNodeName", text(&["status", "nominatedNodeName"])),
        ]
    }

    fn grace_period(pod: &Value, requested: Option<i64>) -> Option<i64> {
        let phase = pod.str_at(&["status", "phase"]);
        if pod.str_at(&["spec", "nodeName"]).is_empty() || is_final(phase) {
            return Some(0);
        }
        let period = requested.unwrap_or_else(|| int(pod, &["spec", "terminationGracePeriodSeconds"]));
        Some(if period < 0 { 1 } else { period })
    }
}

/// Gives containers the resources that are asked for. Others than those that there are stay, for validation to refuse.
fn resize(containers: &mut Vec<Container>, asked: Vec<Container>) {
    if !containers.iter().map(|c| &c.name).eq(asked.iter().map(|c| &c.name)) {
        *containers = asked;
        return;
    }
    for (container, asked) in containers.iter_mut().zip(asked) {
        container.resources = asked.resources;
        container.resize_policy = asked.resize_policy;
    }
}

/// Who writes a status without knowing which generation it is of leaves that as it was: for the whole, and for each
/// condition, the first of a type for the first.
fn keep_observed_generations(new: &mut PodStatus, old: &PodStatus) {
    let unknown = |generation: Option<i64>| generation.is_none_or(|generation| generation == 0);
    if unknown(new.observed_generation) {
        new.observed_generation = old.observed_generation;
    }
    let mut before: BTreeMap<&str, VecDeque<Option<i64>>> = BTreeMap::new();
    for condition in old.conditions.iter().flatten() {
        before.entry(&condition.type_).or_default().push_back(condition.observed_generation);
    }
    for condition in new.conditions.iter_mut().flatten() {
        let was = before.get_mut(condition.type_.as_str()).and_then(VecDeque::pop_front).flatten();
        if unknown(condition.observed_generation) {
            condition.observed_generation = was;
        }
    }
}

/// Who writes one part of the spec leaves this of the metadata as it is.
fn keep_metadata(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.labels.clone_from(&old.labels);
    new.annotations.clone_from(&old.annotations);
    new.finalizers.clone_from(&old.finalizers);
    new.owner_references.clone_from(&old.owner_references);
}

#[cfg(test)]
mod tests;
