//! Namespace: a place for names.

use api::validation::NameRule;
use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{each, qualified_name},
};
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use serde_json::{Value, json};

use crate::kind::{Column, Draft, Part, Strategy};

/// The finalizer behind which a namespace empties before it goes.
const FINALIZER: &str = "kubernetes";
/// The label that holds every namespace's name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The rules of namespaces.
pub struct Namespaces;

fn label(namespace: &mut Namespace) {
    if let Some(name) = namespace.metadata.name.clone().filter(|n| !n.is_empty()) {
        namespace.metadata.labels.get_or_insert_default().insert(NAME_LABEL.into(), name);
    }
}

impl Strategy for Namespaces {
    type Object = Namespace;

    const NAME_RULE: NameRule = NameRule::Label;

    const NOTES_GRACE: bool = false;

    fn default(&self, namespace: &mut Namespace) {
        label(namespace);
        namespace.spec.get_or_insert_default();
        let status = namespace.status.get_or_insert_default();
        if status.phase.is_none() {
            status.phase = Some("Active".into());
        }
    }

    fn prepare_create(&self, namespace: &mut Draft<Namespace>) {
        label(namespace);
        namespace.status = Some(NamespaceStatus { phase: Some("Active".into()), ..Default::default() });
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
    }

    fn prepare_update(&self, new: &mut Draft<Namespace>, old: &Draft<Namespace>, part: Part<'_>) {
        match part {
            Part::Main | Part::Status => new.spec.clone_from(&old.spec),
            Part::Other(_) => new.status.clone_from(&old.status),
        }
    }

    fn validate(&self, namespace: &Namespace, errors: &mut Errors) {
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_deref());
        for (i, finalizer) in finalizers.unwrap_or_default().iter().enumerate() {
            let at = Path::new("spec.finalizers").index(i);
            let wrong = qualified_name(finalizer);
            let known = finalizer.contains('/') || finalizer == FINALIZER;
            if wrong.is_empty() && !known {
                let words = "name is neither a standard finalizer name nor is it fully qualified";
                errors.invalid(&at, finalizer, words);
            }
            each(errors, &at, finalizer, wrong);
        }
    }

    fn validate_update(&self, new: &Namespace, old: &Namespace, part: Part<'_>, errors: &mut Errors) {
        match part {
            Part::Main => {}
            Part::Other(_) => self.validate(new, errors),
            Part::Status => {
                let phase = new.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
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

    fn columns(&self) -> Vec<Column> {
        let phase = Column::text("Status", "Whether the namespace is in use or going.", |namespace| {
            namespace.str_at(&["status", "phase"]).into()
        });
        vec![Column::name(), phase, Column::age()]
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        vec![("status.phase", object.str_at(&["status", "phase"]).to_owned())]
    }

    fn holds_deletion(&self, object: &Value) -> bool {
        !object.list_at(&["spec", "finalizers"]).is_empty()
    }

    fn begin_deletion(&self, object: &mut Value) {
        if let Some(map) = object.as_object_mut() {
            let status = map.entry("status").or_insert_with(|| json!({}));
            status["phase"] = "Terminating".into();
        }
    }
}

#[cfg(test)]
mod tests;
