//! StorageClass: how volumes of a kind are made.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{each, immutable, qualified_name},
    volume_binding::DEFAULT_CLASS,
};
use k8s_openapi::api::{core::v1::TopologySelectorTerm, storage::v1::StorageClass};
use serde_json::Value;

use crate::{
    builtin::defaults::{absent_when_zero, set_text},
    kind::{Column, Part, Strategy},
};

/// The rules of StorageClasses.
pub struct StorageClasses;

impl Strategy for StorageClasses {
    type Object = StorageClass;

    fn default(&self, class: &mut StorageClass) {
        set_text(&mut class.reclaim_policy, "Delete");
        set_text(&mut class.volume_binding_mode, "Immediate");
        absent_when_zero(&mut class.parameters);
    }

    fn validate(&self, class: &StorageClass, errors: &mut Errors) {
        let at = Path::new("provisioner");
        if class.provisioner.is_empty() {
            errors.required(&at, "");
        } else {
            each(errors, &at, &class.provisioner, qualified_name(&class.provisioner.to_lowercase()));
        }
        for (field, value, allowed) in [
            ("reclaimPolicy", &class.reclaim_policy, ["Delete", "Retain"]),
            ("volumeBindingMode", &class.volume_binding_mode, ["Immediate", "WaitForFirstConsumer"]),
        ] {
            let value = value.as_deref().unwrap_or_default();
            if !allowed.contains(&value) {
                errors.not_supported(&Path::new(field), value, &allowed);
            }
        }
        topologies(class.allowed_topologies.as_deref().unwrap_or_default(), errors);
    }

    fn validate_update(&self, new: &StorageClass, old: &StorageClass, _part: Part<'_>, errors: &mut Errors) {
        for (field, same) in [
            ("parameters", new.parameters == old.parameters),
            ("provisioner", new.provisioner == old.provisioner),
            ("reclaimPolicy", new.reclaim_policy == old.reclaim_policy),
        ] {
            if !same {
                errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
            }
        }
        let at = Path::new("volumeBindingMode");
        immutable(&new.volume_binding_mode, &old.volume_binding_mode, &at, errors);
    }

    fn columns(&self) -> Vec<Column> {
        let text = |name, words, field| Column::text(name, words, move |class| class.str_at(&[field]).into());
        let name = Column::text("Name", "Name must be unique within a namespace.", |class| {
            let is_default = class.str_at(&["metadata", "annotations", DEFAULT_CLASS]) == "true";
            if is_default { format!("{} (default)", class.name()).into() } else { class.name().into() }
        });
        vec![
            Column { format: "name".into(), ..name },
            text("Provisioner", "What makes the volumes.", "provisioner"),
            text("ReclaimPolicy", "What becomes of a volume when its claim goes.", "reclaimPolicy"),
            text("VolumeBindingMode", "When a volume is made for a claim.", "volumeBindingMode"),
            Column::text("AllowVolumeExpansion", "Whether volumes may grow.", |class| {
                class.at(&["allowVolumeExpansion"]).cloned().unwrap_or(Value::Bool(false))
            }),
            Column::age(),
        ]
    }
}

/// Where volumes of the class may be made.
fn topologies(terms: &[TopologySelectorTerm], errors: &mut Errors) {
    let at = Path::new("allowedTopologies");
    // Upstream compares with as many empty terms as there are terms.
    let mut seen = BTreeMap::from([(BTreeMap::new(), terms.len())]);
    for (i, term) in terms.iter().enumerate() {
        let at = at.index(i).child("matchLabelExpressions");
        let mut values_of_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (i, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            let at = at.index(i);
            if requirement.values.is_empty() {
                errors.required(&at.child("values"), "");
            }
            let mut values = BTreeSet::new();
            for (i, value) in requirement.values.iter().enumerate() {
                if !values.insert(value.as_str()) {
                    errors.duplicate(&at.child("values").index(i), value);
                }
            }
            each(errors, &at.child("key"), &requirement.key, qualified_name(&requirement.key));
            if values_of_key.insert(&requirement.key, values).is_some() {
                errors.duplicate(&at.child("key"), &requirement.key);
            }
        }
        let before = seen.entry(values_of_key).or_default();
        errors.times(*before, |errors| errors.duplicate(&at, ""));
        *before += 1;
    }
}

#[cfg(test)]
mod tests;
