//! ReplicationController: what ReplicaSets came from; its selector is a plain map.

use k8s_openapi::{api::core::v1::ReplicationController, apimachinery::pkg::apis::meta::v1::LabelSelector};

use crate::builtin::prelude::*;
use crate::{
    builtin::{job, pod},
    kind::Dependents,
};

impl Strategy for ReplicationController {
    const FACTS: Facts = Facts { has_generation: true, dependents: Dependents::Orphaned, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        let labels = spec.template.as_ref().and_then(|t| t.metadata.as_ref()?.labels.clone());
        absent_when_zero(&mut spec.selector);
        absent_when_zero(&mut self.metadata.labels);
        if let Some(labels) = labels.filter(|l| !l.is_empty()) {
            set(&mut spec.selector, labels.clone());
            set(&mut self.metadata.labels, labels);
        }
        set(&mut spec.replicas, 1);
        absent_when_zero(&mut spec.min_ready_seconds);
        if let Some(template) = &mut spec.template {
            pod::defaults::pod_template(template);
        }
        self.status.get_or_insert_default();
    }

    fn prepare_create(controller: &mut Draft<Self>) {
        controller.status = Some(Default::default());
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return errors.required(&at, "") };
        not_negative(spec.min_ready_seconds, &at.child("minReadySeconds"), errors);
        if spec.selector.is_none() {
            errors.required(&at.child("selector"), "");
        }
        not_negative(spec.replicas, &at.child("replicas"), errors);
        let selector = LabelSelector {
            match_labels: Some(spec.selector.clone().unwrap_or_default()),
            ..Default::default()
        };
        let template = spec.template.as_ref();
        workload::template(template, &selector, "ReplicationController", &at.child("template"), errors);
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        match (&self.status, part) {
            (Some(status), Part::Status) => {
                let parts = [status.fully_labeled_replicas, status.ready_replicas, status.available_replicas];
                workload::replicas(status.observed_generation, status.replicas, parts, errors);
            }
            (None, Part::Status) => {}
            _ => self.validate(errors),
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut said = if old.is_none() { job::name_warning(&self.metadata) } else { Vec::new() };
        said.extend(workload::warnings(self.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| {
            s.template.as_ref()
        }));
        said
    }

    fn columns() -> Vec<Column> {
        let selector = Column::text("Selector", "Which pods belong to the controller.", |controller| {
            cells::labels(controller.at(&["spec", "selector"])).into()
        });
        workload::replica_columns(selector.wide())
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(object, &["status", "replicas"]).to_string())]
    }
}

#[cfg(test)]
mod tests;
