//! ReplicationController: what ReplicaSets came from; its selector is a plain map.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::not_negative,
};
use k8s_openapi::{api::core::v1::ReplicationController, apimachinery::pkg::apis::meta::v1::LabelSelector};
use serde_json::Value;

use crate::{
    builtin::{
        cells::{self, int},
        defaults::{absent_when_zero, set},
        pod, workload,
    },
    kind::{Column, Dependents, Draft, Part, Strategy},
};

/// The rules of ReplicationControllers.
pub struct ReplicationControllers;

impl Strategy for ReplicationControllers {
    type Object = ReplicationController;

    const HAS_GENERATION: bool = true;
    const DEPENDENTS: Dependents = Dependents::Orphaned;

    fn default(&self, controller: &mut ReplicationController) {
        let spec = controller.spec.get_or_insert_default();
        let labels = spec.template.as_ref().and_then(|t| t.metadata.as_ref()?.labels.clone());
        absent_when_zero(&mut spec.selector);
        absent_when_zero(&mut controller.metadata.labels);
        if let Some(labels) = labels.filter(|l| !l.is_empty()) {
            set(&mut spec.selector, labels.clone());
            set(&mut controller.metadata.labels, labels);
        }
        set(&mut spec.replicas, 1);
        absent_when_zero(&mut spec.min_ready_seconds);
        if let Some(template) = &mut spec.template {
            pod::defaults::pod_template(template);
        }
        controller.status.get_or_insert_default();
    }

    fn prepare_create(&self, controller: &mut Draft<ReplicationController>) {
        controller.status = Some(Default::default());
    }

    fn validate(&self, controller: &ReplicationController, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &controller.spec else { return errors.required(&at, "") };
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

    fn validate_update(
        &self,
        new: &ReplicationController,
        _old: &ReplicationController,
        part: Part<'_>,
        errors: &mut Errors,
    ) {
        match (&new.status, part) {
            (Some(status), Part::Status) => {
                let replicas = workload::Replicas {
                    all: status.replicas,
                    fully_labeled: status.fully_labeled_replicas,
                    ready: status.ready_replicas,
                    available: status.available_replicas,
                    observed_generation: status.observed_generation,
                };
                workload::replicas(&replicas, errors);
            }
            (None, Part::Status) => {}
            _ => self.validate(new, errors),
        }
    }

    fn warnings(&self, new: &ReplicationController, old: Option<&ReplicationController>) -> Vec<String> {
        workload::warnings(new.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| s.template.as_ref())
    }

    fn columns(&self) -> Vec<Column> {
        let selector = Column::text("Selector", "Which pods belong to the controller.", |controller| {
            cells::labels(controller.at(&["spec", "selector"])).into()
        });
        workload::replica_columns(selector.wide())
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(object, &["status", "replicas"]).to_string())]
    }
}

#[cfg(test)]
mod tests;
