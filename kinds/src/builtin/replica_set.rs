//! ReplicaSet: so many pods of one template.

use k8s_openapi::api::apps::v1::ReplicaSet;

use crate::builtin::{pod, prelude::*};

impl Strategy for ReplicaSet {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };
    const NEEDS_SELECTOR: bool = true;

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.replicas, 1);
        absent_when_zero(&mut spec.min_ready_seconds);
        pod::defaults::pod_template(spec.template.get_or_insert_default());
        self.status.get_or_insert_default();
    }

    fn prepare_create(set_: &mut Draft<Self>) {
        set_.status = Some(Default::default());
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return errors.required(&at, "") };
        not_negative(spec.replicas, &at.child("replicas"), errors);
        not_negative(spec.min_ready_seconds, &at.child("minReadySeconds"), errors);
        workload::selector(
            &spec.selector,
            "deployment",
            "invalid label selector",
            &at.child("selector"),
            errors,
        );
        let template = spec.template.as_ref();
        if workload::is_sound(&spec.selector) {
            workload::template(template, &spec.selector, "ReplicaSet", &at.child("template"), errors);
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let Some(status) = &self.status else { return };
            let parts = [status.fully_labeled_replicas, status.ready_replicas, status.available_replicas];
            return workload::replicas(status.observed_generation, status.replicas, parts, errors);
        }
        self.validate(errors);
        if let (Some(new), Some(old)) = (&self.spec, &old.spec) {
            workload::same_selector(&new.selector, &old.selector, errors);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        workload::warnings(self.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| s.template.as_ref())
    }

    fn columns() -> Vec<Column> {
        workload::replica_columns(cells::selector_column("Which pods belong to the set."))
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.replicas", int(object, &["status", "replicas"]).to_string())]
    }
}
