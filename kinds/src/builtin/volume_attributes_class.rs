//! VolumeAttributesClass: properties of volumes that may change while they are used.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{each, qualified_name},
};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use crate::kind::{Column, Part, Strategy};

/// The rules of attribute classes.
pub struct VolumeAttributesClasses;

impl Strategy for VolumeAttributesClasses {
    type Object = VolumeAttributesClass;

    fn validate(&self, class: &VolumeAttributesClass, errors: &mut Errors) {
        const MOST: usize = 512;
        let at = Path::new("driverName");
        if class.driver_name.is_empty() {
            errors.required(&at, "");
        } else {
            each(errors, &at, &class.driver_name, qualified_name(&class.driver_name.to_lowercase()));
        }
        let at = Path::new("parameters");
        let parameters = class.parameters.as_ref();
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

    fn validate_update(
        &self,
        new: &VolumeAttributesClass,
        old: &VolumeAttributesClass,
        _part: Part<'_>,
        errors: &mut Errors,
    ) {
        for (field, same) in [
            ("driverName", new.driver_name == old.driver_name),
            ("parameters", new.parameters == old.parameters),
        ] {
            if !same {
                errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        let driver = Column::text("DriverName", "The driver that knows the parameters.", |class| {
            class.str_at(&["driverName"]).into()
        });
        vec![Column::name(), driver, Column::age()]
    }
}

#[cfg(test)]
mod tests;
