//! CSINode: which storage drivers a node has.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::CSINode;

use crate::builtin::{pod::validation::csi_driver, prelude::*};

impl Strategy for CSINode {
    const FACTS: Facts = Facts { updates_unconditionally: false, ..Facts::PLAIN };

    fn after_writing(value: &mut Value) {
        if value.list_at(&["spec", "drivers"]).is_empty() {
            value["spec"]["drivers"] = Value::Null;
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let mut names = BTreeSet::new();
        for (at, driver) in Path::new("spec.drivers").items(self.spec.drivers.iter()) {
            csi_driver(&driver.name, &at.child("name"), errors);
            if driver.node_id.is_empty() {
                errors.required(&at.child("nodeID"), "");
            } else if driver.node_id.len() > 256 {
                errors.invalid(&at.child("nodeID"), &driver.node_id, "must be 256 characters or less");
            }
            if let Some(count) = driver.allocatable.as_ref().and_then(|a| a.count) {
                api::validation::not_negative(Some(count), &at.child("allocatable.count"), errors);
            }
            unique(&mut names, &driver.name, &at.child("name"), errors);
            let mut keys = BTreeSet::new();
            for key in driver.topology_keys.iter().flatten() {
                given(key, &at, errors);
                unique(&mut keys, key, &at, errors);
                each(errors, &at, key, qualified_name(key));
            }
        }
    }

    fn columns() -> Vec<Column> {
        let drivers = Column::number("Drivers", "How many drivers the node has.", |node| {
            node.list_at(&["spec", "drivers"]).len().into()
        });
        vec![Column::name(), drivers, Column::age()]
    }
}

#[cfg(test)]
mod tests;
