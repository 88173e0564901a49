//! VolumeAttributesClass: properties of volumes that may change while they are used.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use crate::builtin::prelude::*;

impl Strategy for VolumeAttributesClass {
    fn validate(&self, errors: &mut Errors) {
        const MOST: usize = 512;
        let at = Path::new("driverName");
        if self.driver_name.is_empty() {
            errors.required(&at, "");
        } else {
            let name = self.driver_name.to_lowercase();
            each(errors, &at, &name, qualified_name(&name));
        }
        let at = Path::new("parameters");
        let parameters = self.parameters.as_ref();
        if parameters.is_none_or(std::collections::BTreeMap::is_empty) {
            errors.required(&at, "must contain at least one key/value pair");
        }
        if parameters.is_some_and(|p| p.len() > MOST) {
            errors.too_long(&at, MOST);
        }
        if parameters.is_some_and(|p| p.contains_key("")) {
            errors.invalid(&at, "", "field can not be empty.");
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        for (field, same) in [
            ("driverName", self.driver_name == old.driver_name),
            ("parameters", self.parameters == old.parameters),
        ] {
            if !same {
                errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
            }
        }
    }

    fn columns() -> Vec<Column> {
        let driver = Column::field("DriverName", "The driver that knows the parameters.", &["driverName"]);
        vec![Column::name(), driver, Column::age()]
    }
}

#[cfg(test)]
mod tests;
