//! CSIStorageCapacity: how much room a driver has for a class somewhere.

use api::{
    field::{Errors, Path},
    quantity::Quantity,
    validation::{NOT_NEGATIVE, dns_subdomain, each, immutable, label_selector},
};
use k8s_openapi::api::storage::v1::CSIStorageCapacity;

use crate::{
    builtin::defaults::canonical,
    kind::{Column, Part, Strategy},
};

/// The rules of capacities.
pub struct CsiStorageCapacities;

impl Strategy for CsiStorageCapacities {
    type Object = CSIStorageCapacity;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(&self, capacity: &mut CSIStorageCapacity) {
        for wire in [&mut capacity.capacity, &mut capacity.maximum_volume_size].into_iter().flatten() {
            canonical(wire);
        }
    }

    fn validate(&self, capacity: &CSIStorageCapacity, errors: &mut Errors) {
        label_selector(capacity.node_topology.as_ref(), &Path::new("nodeTopology"), errors);
        let class = &capacity.storage_class_name;
        each(errors, &Path::new("storageClassName"), class, dns_subdomain(class));
        for (field, wire) in
            [("capacity", &capacity.capacity), ("maximumVolumeSize", &capacity.maximum_volume_size)]
        {
            if let Some(amount) = wire.as_ref().map(Quantity::of).filter(Quantity::is_negative) {
                errors.invalid(&Path::new(field), amount.to_string(), NOT_NEGATIVE);
            }
        }
    }

    fn validate_update(
        &self,
        new: &CSIStorageCapacity,
        old: &CSIStorageCapacity,
        _part: Part<'_>,
        errors: &mut Errors,
    ) {
        self.validate(new, errors);
        immutable(&new.node_topology, &old.node_topology, &Path::new("nodeTopology"), errors);
        let at = Path::new("storageClassName");
        immutable(&new.storage_class_name, &old.storage_class_name, &at, errors);
    }

    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::created("When it was created.")]
    }
}

#[cfg(test)]
mod tests;
