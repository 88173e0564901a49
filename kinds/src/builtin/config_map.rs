//! ConfigMap: configuration that pods consume.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::builtin::cells::size;
use crate::builtin::prelude::*;

/// The most that the values of a ConfigMap or a Secret may take together.
pub const MAX_SIZE: usize = 1024 * 1024;

/// What fields of an object that was made immutable say.
pub const LOCKED: &str = "field is immutable when `immutable` is set";

impl Strategy for ConfigMap {
    fn fill_in(&mut self) {
        absent_when_zero(&mut self.data);
        absent_when_zero(&mut self.binary_data);
    }

    fn validate(&self, errors: &mut Errors) {
        let mut size = 0;
        for (key, value) in self.data.iter().flatten() {
            let at = Path::new("data").key(key);
            each(errors, &at, key, config_key(key));
            if self.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
                errors.invalid(&at, key, "duplicate of key present in binaryData");
            }
            size += value.len();
        }
        for (key, value) in self.binary_data.iter().flatten() {
            each(errors, &Path::new("binaryData").key(key), key, config_key(key));
            size += value.0.len();
        }
        if size > MAX_SIZE {
            // The whole object is too long; upstream writes its path so.
            errors.too_long(&Path::new("[]"), MAX_SIZE);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        if old.immutable == Some(true) {
            for (field, same) in [
                ("immutable", self.immutable == Some(true)),
                ("data", self.data == old.data),
                ("binaryData", self.binary_data == old.binary_data),
            ] {
                if !same {
                    errors.forbidden(&Path::new(field), LOCKED);
                }
            }
        }
        self.validate(errors);
    }

    fn columns() -> Vec<Column> {
        let keys = Column::text("Data", "How many keys the map has.", |map| {
            (size(map, &["data"]) + size(map, &["binaryData"])).into()
        });
        vec![Column::name(), keys, Column::age()]
    }
}

#[cfg(test)]
mod tests;
