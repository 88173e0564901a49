//! StorageClass: how volumes of a kind are made.

use std::collections::{BTreeMap, BTreeSet};

use api::volume_binding::DEFAULT_CLASS;
use k8s_openapi::api::{core::v1::TopologySelectorTerm, storage::v1::StorageClass};

use crate::builtin::{pod::warnings::deprecated_label, prelude::*};

impl Strategy for StorageClass {
    fn fill_in(&mut self) {
        set(&mut self.reclaim_policy, "Delete");
        set(&mut self.volume_binding_mode, "Immediate");
        absent_when_zero(&mut self.parameters);
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("provisioner");
        if self.provisioner.is_empty() {
            errors.required(&at, "");
        } else {
            let name = self.provisioner.to_lowercase();
            each(errors, &at, &name, qualified_name(&name));
        }
        for (field, value, allowed) in [
            ("reclaimPolicy", &self.reclaim_policy, ["Delete", "Retain"]),
            ("volumeBindingMode", &self.volume_binding_mode, ["Immediate", "WaitForFirstConsumer"]),
        ] {
            let value = value.as_deref().unwrap_or_default();
            // Nothing is no policy, but not a wrong one either.
            if (field, value) != ("reclaimPolicy", "") {
                one_of(value, &allowed, &Path::new(field), errors);
            }
        }
        topologies(self.allowed_topologies.as_deref().unwrap_or_default(), errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        for (field, same) in [
            ("parameters", self.parameters == old.parameters),
            ("provisioner", self.provisioner == old.provisioner),
            ("reclaimPolicy", self.reclaim_policy == old.reclaim_policy),
        ] {
            if !same {
                errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
            }
        }
        let at = Path::new("volumeBindingMode");
        immutable(&self.volume_binding_mode, &old.volume_binding_mode, &at, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let mut said = Vec::new();
        for (at, term) in Path::new("allowedTopologies").items(self.allowed_topologies.iter().flatten()) {
            let at = at.child("matchLabelExpressions");
            for (at, requirement) in at.items(term.match_label_expressions.iter().flatten()) {
                let why = deprecated_label(&requirement.key);
                said.extend(why.map(|why| format!("{}: {why}", at.child("key"))));
            }
        }
        said
    }

    fn columns() -> Vec<Column> {
        let name = Column::text("Name", "Name must be unique within a namespace.", |class| {
            let is_default = class.str_at(&["metadata", "annotations", DEFAULT_CLASS]) == "true";
            if is_default { format!("{} (default)", class.name()).into() } else { class.name().into() }
        });
        vec![
            Column { format: "name".into(), ..name },
            Column::field("Provisioner", "What makes the volumes.", &["provisioner"]),
            Column::field(
                "ReclaimPolicy",
                "What becomes of a volume when its claim goes.",
                &["reclaimPolicy"],
            ),
            Column::field("VolumeBindingMode", "When a volume is made for a claim.", &["volumeBindingMode"]),
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
                unique(&mut values, value.as_str(), &at.child("values").index(i), errors);
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
