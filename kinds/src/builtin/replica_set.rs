//! ReplicaSet: so many pods of one template.

use api::{
    field::{Errors, Path},
    validation::not_negative,
};
use k8s_openapi::api::apps::v1::ReplicaSet;
use serde_json::Value;

use crate::{
    builtin::{
        cells::{self, int},
        defaults::{absent_when_zero, set},
        pod, workload,
    },
    kind::{Column, Draft, Part, Strategy},
};

/// The rules of ReplicaSets.
pub struct ReplicaSets;

impl Strategy for ReplicaSets {
    type Object = ReplicaSet;

    const HAS_GENERATION: bool = true;

    fn before_reading(&self, value: &mut Value) {
        workload::keep_empty_selector(value);
    }

    fn after_writing(&self, value: &mut Value) {
        workload::drop_missing_selector(value);
    }

    fn default(&self, set_: &mut ReplicaSet) {
        let spec = set_.spec.get_or_insert_default();
        set(&mut spec.replicas, 1);
        absent_when_zero(&mut spec.min_ready_seconds);
        pod::defaults::pod_template(spec.template.get_or_insert_default());
        set_.status.get_or_insert_default();
    }

    fn prepare_create(&self, set_: &mut Draft<ReplicaSet>) {
        set_.status = Some(Default::default());
    }

    fn validate(&self, set_: &ReplicaSet, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &set_.spec else { return errors.required(&at, "") };
        not_negative(spec.replicas, &at.child("replicas"), errors);
        not_negative(spec.min_ready_seconds, &at.child("minReadySeconds"), errors);
        workload::selector(&spec.selector, "deployment", &at.child("selector"), errors);
        let template = spec.template.as_ref();
        workload::template(template, &spec.selector, "ReplicaSet", &at.child("template"), errors);
    }

    fn validate_update(&self, new: &ReplicaSet, old: &ReplicaSet, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let Some(status) = &new.status else { return };
            let replicas = workload::Replicas {
                all: status.replicas,
                fully_labeled: status.fully_labeled_replicas,
                ready: status.ready_replicas,
                available: status.available_replicas,
                observed_generation: status.observed_generation,
            };
            workload::replicas(&replicas, errors);
            return;
        }
        self.validate(new, errors);
        if let (Some(new), Some(old)) = (&new.spec, &old.spec) {
            workload::same_selector(&new.selector, &old.selector, errors);
        }
    }

    fn warnings(&self, new: &ReplicaSet, old: Option<&ReplicaSet>) -> Vec<String> {
        workload::warnings(new.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| s.template.as_ref())
    }

    fn columns(&self) -> Vec<Column> {
        workload::replica_columns(cells::selector_column("Which pods belong to the set."))
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(object, &["status", "replicas"]).to_string())]
    }
}
