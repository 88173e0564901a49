//! Filling in fields: what every kind's defaulting is made of.
//!
//! A field that is a plain value upstream (no pointer) is not written when it holds its zero value; one
//! that is a pointer is. `absent_when_*` does the former for fields that `k8s-openapi` makes optional.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use api::quantity::Quantity;

/// Puts `value` into an empty field.
pub fn set<T>(field: &mut Option<T>, value: impl Into<T>) {
    if field.is_none() {
        *field = Some(value.into());
    }
}

/// Puts `value` into a text field that is missing or empty.
pub fn set_text(field: &mut Option<String>, value: &str) {
    if field.as_deref().is_none_or(str::is_empty) {
        *field = Some(value.to_owned());
    }
}

/// Puts `value` into a number field that is missing or zero.
pub fn set_number<T: Default + PartialEq>(field: &mut Option<T>, value: T) {
    if field.as_ref().is_none_or(|v| *v == T::default()) {
        *field = Some(value);
    }
}

/// Drops fields that hold their type's zero value.
pub fn absent_when_zero<T: Default + PartialEq>(field: &mut Option<T>) {
    if field.as_ref().is_some_and(|v| *v == T::default()) {
        *field = None;
    }
}

/// The canonical text of a quantity; a text that is none stays (it cannot get this far).
pub fn canonical(wire: &mut Wire) {
    if let Ok(q) = wire.0.parse::<Quantity>() {
        *wire = q.wire();
    }
}

/// The canonical text of all quantities of a list of resources, rounded up to thousandths.
pub fn canonical_list(list: &mut Option<BTreeMap<String, Wire>>) {
    absent_when_zero(list);
    for wire in list.iter_mut().flat_map(BTreeMap::values_mut) {
        if let Ok(q) = wire.0.parse::<Quantity>() {
            *wire = q.rounded_to_milli().wire();
        }
    }
}
