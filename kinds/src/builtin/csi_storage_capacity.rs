//! CSIStorageCapacity: how much room a driver has for a class somewhere.

use api::quantity::Quantity;
use k8s_openapi::api::storage::v1::CSIStorageCapacity;

use crate::builtin::{pod::warnings::deprecated_label, prelude::*};

impl Strategy for CSIStorageCapacity {
    const FACTS: Facts = Facts { updates_unconditionally: false, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        for wire in [&mut self.capacity, &mut self.maximum_volume_size].into_iter().flatten() {
            canonical(wire);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        label_selector(self.node_topology.as_ref(), &Path::new("nodeTopology"), errors);
        let class = &self.storage_class_name;
        each(errors, &Path::new("storageClassName"), class, dns_subdomain(class));
        for (field, wire) in [("capacity", &self.capacity), ("maximumVolumeSize", &self.maximum_volume_size)]
        {
            if let Some(amount) = wire.as_ref().map(Quantity::of).filter(Quantity::is_negative) {
                errors.invalid(&Path::new(field), amount.to_string(), NOT_NEGATIVE);
            }
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        immutable(&self.node_topology, &old.node_topology, &Path::new("nodeTopology"), errors);
        let at = Path::new("storageClassName");
        immutable(&self.storage_class_name, &old.storage_class_name, &at, errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let Some(topology) = &self.node_topology else { return Vec::new() };
        let at = Path::new("nodeTopology");
        let mut said = Vec::new();
        for (at, expression) in
            at.child("matchExpressions").items(topology.match_expressions.iter().flatten())
        {
            let why = deprecated_label(&expression.key);
            said.extend(why.map(|why| format!("{}: {} is {why}", at.child("key"), expression.key)));
        }
        for label in topology.match_labels.iter().flatten().map(|(label, _)| label) {
            let at = at.child("matchLabels").child(label);
            said.extend(deprecated_label(label).map(|why| format!("{at}: {why}")));
        }
        said
    }

    fn columns() -> Vec<Column> {
        vec![Column::name(), Column::created("When it was created.")]
    }
}

#[cfg(test)]
mod tests;
