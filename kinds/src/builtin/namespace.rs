//! Namespace: a place for names.

use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use serde_json::json;

use crate::builtin::prelude::*;

/// The finalizer behind which a namespace empties before it goes.
const FINALIZER: &str = "kubernetes";
/// The label that holds every namespace's name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

fn label(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|n| !n.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.into(), name);
    }
}

impl Strategy for Namespace {
    const FACTS: Facts = Facts { names: NameRule::Label, notes_grace: false, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        label(self);
        self.spec.get_or_insert_default();
        let status = self.status.get_or_insert_default();
        if status.phase.is_none() {
            status.phase = Some("Active".into());
        }
    }

    fn prepare_create(namespace: &mut Draft<Self>) {
        label(namespace);
        namespace.status = Some(NamespaceStatus { phase: Some("Active".into()), ..Default::default() });
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        match part {
            Part::Main | Part::Status => new.spec.clone_from(&old.spec),
            Part::Other(_) => new.status.clone_from(&old.status),
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let finalizers = self.spec.as_ref().and_then(|s| s.finalizers.as_deref());
        for (at, finalizer) in Path::new("spec.finalizers").items(finalizers.unwrap_or_default().iter()) {
            let wrong = qualified_name(finalizer);
            let known = finalizer.contains('/') || finalizer == FINALIZER;
            if wrong.is_empty() && !known {
                let words = "name is neither a standard finalizer name nor is it fully qualified";
                errors.invalid(&at, finalizer, words);
            }
            each(errors, &at, finalizer, wrong);
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        match part {
            Part::Main => {}
            Part::Other(_) => self.validate(errors),
            Part::Status => {
                let phase = self.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
                let going = old.metadata.deletion_timestamp.is_some();
                let at = Path::new("status.Phase");
                if going && phase != "Terminating" {
                    let words = "may only be 'Terminating' if `deletionTimestamp` is not empty";
                    errors.invalid(&at, phase, words);
                } else if !going && phase != "Active" {
                    errors.invalid(&at, phase, "may only be 'Active' if `deletionTimestamp` is empty");
                }
            }
        }
    }

    fn columns() -> Vec<Column> {
        let phase =
            Column::field("Status", "Whether the namespace is in use or going.", &["status", "phase"]);
        vec![Column::name(), phase, Column::age()]
    }

    fn selectable_fields(object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", object.str_at(&["status", "phase"]).to_owned())]
    }

    fn holds_deletion(object: &Value) -> bool {
        !object.list_at(&["spec", "finalizers"]).is_empty()
    }

    fn begin_deletion(object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            let status = map.entry("status").or_insert_with(|| json!({}));
            status["phase"] = "Terminating".into();
        }
    }
}

#[cfg(test)]
mod tests;
