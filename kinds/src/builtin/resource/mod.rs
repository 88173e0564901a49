//! Devices: what nodes have (ResourceSlice), sorts of them (DeviceClass), and who wants some (ResourceClaim and its
//! template). Checked and kept; nothing allocates them yet. Counterpart of upstream's `pkg/apis/resource`.

mod claim;
mod class;
mod slice;

use k8s_openapi::api::resource::v1::{DeviceSelector, OpaqueDeviceConfiguration};

use crate::builtin::prelude::*;

/// The most requests, constraints, configurations, and selectors of a list.
const MOST: usize = 32;
const MAX_DRIVER: usize = 63;

fn at_most(count: usize, most: usize, at: &Path, errors: &mut Errors) {
    if count > most {
        errors.too_many(at, count, most);
    }
}

/// The name of a driver: a domain, not too long for a label.
fn driver(name: &str, at: &Path, errors: &mut Errors) {
    given(name, at, errors);
    if name.len() > MAX_DRIVER {
        errors.too_long(at, MAX_DRIVER);
    }
    each(errors, at, name, if name.is_empty() { Vec::new() } else { dns_subdomain(name) });
}

fn selectors(selectors: Option<&Vec<DeviceSelector>>, at: &Path, errors: &mut Errors) {
    let selectors = selectors.map(Vec::as_slice).unwrap_or_default();
    at_most(selectors.len(), MOST, at, errors);
    for (i, selector) in selectors.iter().enumerate() {
        let at = at.index(i).child("cel");
        match &selector.cel {
            None => errors.required(&at, ""),
            Some(cel) if cel.expression.is_empty() => errors.required(&at.child("expression"), ""),
            Some(_) => {}
        }
    }
}

fn opaque(config: Option<&OpaqueDeviceConfiguration>, at: &Path, errors: &mut Errors) {
    let at = at.child("opaque");
    let Some(config) = config else { return errors.required(&at, "") };
    driver(&config.driver, &at.child("driver"), errors);
    if config.parameters.0.is_null() {
        errors.required(&at.child("parameters"), "");
    } else if !config.parameters.0.is_object() {
        errors.invalid(&at.child("parameters"), "<value omitted>", "must be a valid JSON object");
    }
}

#[cfg(test)]
mod tests;
