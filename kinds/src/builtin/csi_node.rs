//! CSINode: which storage drivers a node has.

use std::collections::BTreeSet;

use api::{
    field::{Errors, Path},
    object::ObjectExt as _,
    validation::{each, qualified_name},
};
use k8s_openapi::api::storage::v1::CSINode;
use serde_json::Value;

use crate::kind::{Column, Strategy};

/// The rules of nodes' drivers.
pub struct CsiNodes;

impl Strategy for CsiNodes {
    type Object = CSINode;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn after_writing(&self, value: &mut Value) {
        if value.list_at(&["spec", "drivers"]).is_empty() {
            value["spec"]["drivers"] = Value::Null;
        }
    }

    fn validate(&self, node: &CSINode, errors: &mut Errors) {
        let mut names = BTreeSet::new();
        for (i, driver) in node.spec.drivers.iter().enumerate() {
            let at = Path::new("spec.drivers").index(i);
            if driver.name.is_empty() {
                errors.required(&at.child("name"), "");
            }
            if !names.insert(&driver.name) {
                errors.duplicate(&at.child("name"), &driver.name);
            }
            if driver.node_id.is_empty() {
                errors.required(&at.child("nodeID"), "");
            } else if driver.node_id.len() > 256 {
                errors.invalid(&at.child("nodeID"), &driver.node_id, "must be 256 characters or less");
            }
            if let Some(count) = driver.allocatable.as_ref().and_then(|a| a.count) {
                api::validation::not_negative(Some(count), &at.child("allocatable.count"), errors);
            }
            for key in driver.topology_keys.iter().flatten() {
                each(errors, &at, key, qualified_name(key));
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        let drivers = Column::number("Drivers", "How many drivers the node has.", |node| {
            node.list_at(&["spec", "drivers"]).len().into()
        });
        vec![Column::name(), drivers, Column::age()]
    }
}

#[cfg(test)]
mod tests;
