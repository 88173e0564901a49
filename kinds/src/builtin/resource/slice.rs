//! ResourceSlice: some of the devices of a pool, as their driver publishes them.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{Device, ResourceSlice, ResourceSliceSpec};

use super::{at_most, driver};
use crate::builtin::prelude::*;

const MAX_DEVICES: usize = 128;
const MAX_POOL_NAME: usize = 253;
/// The most attributes and capacities of a device, together.
const MAX_ATTRIBUTES: usize = 32;

impl Strategy for ResourceSlice {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn validate(&self, errors: &mut Errors) {
        spec(&self.spec, errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        let at = Path::new("spec");
        spec(&self.spec, errors);
        immutable(&self.spec.driver, &old.spec.driver, &at.child("driver"), errors);
        immutable(&self.spec.pool.name, &old.spec.pool.name, &at.child("pool.name"), errors);
        immutable(&self.spec.node_name, &old.spec.node_name, &at.child("nodeName"), errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let driver = &self.spec.driver;
        let words = format!(
            "spec.driver: driver names should be lowercase; {driver:?} contains uppercase characters"
        );
        (*driver != driver.to_lowercase()).then_some(words).into_iter().collect()
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::field("Node", "The node that has the devices.", &["spec", "nodeName"]),
            Column::field("Driver", "Who publishes them.", &["spec", "driver"]),
            Column::field("Pool", "The pool they are part of.", &["spec", "pool", "name"]),
            Column::age(),
        ]
    }

    fn selectable_fields(slice: &Value) -> Vec<(&'static str, String)> {
        let of = |field| slice.str_at(&["spec", field]).to_owned();
        vec![("spec.nodeName", of("nodeName")), ("spec.driver", of("driver"))]
    }
}

fn spec(spec: &ResourceSliceSpec, errors: &mut Errors) {
    let at = Path::new("spec");
    driver(&spec.driver, &at.child("driver"), errors);
    pool(spec, &at.child("pool"), errors);
    let chosen = [
        ("`nodeName`", spec.node_name.is_some()),
        ("`nodeSelector`", spec.node_selector.is_some()),
        ("`allNodes`", spec.all_nodes.unwrap_or(false)),
        ("`perDeviceNodeSelection`", spec.per_device_node_selection.unwrap_or(false)),
    ];
    if let Some(name) = spec.node_name.as_deref() {
        let wrong = if name.is_empty() { vec!["must not be empty".into()] } else { dns_subdomain(name) };
        each(errors, &at.child("nodeName"), name, wrong);
    }
    let all = chosen.map(|(name, _)| name).join(", ");
    let set: Vec<&str> = chosen.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    match set.len() {
        0 => errors.required(&at, format!("exactly one of {all} is required")),
        1 => {}
        _ => {
            let shown = format!("{{{}}}", set.join(", "));
            let why = format!("exactly one of {all} is required, but multiple fields are set");
            errors.invalid(&at, shown, why);
        }
    }
    let devices = spec.devices.as_deref().unwrap_or_default();
    let devices_at = at.child("devices");
    at_most(devices.len(), MAX_DEVICES, &devices_at, errors);
    let mut names = BTreeSet::new();
    for (at, device) in devices_at.items(devices.iter()) {
        unique(&mut names, &device.name, &at.child("name"), errors);
        self::device(device, &at, errors);
    }
}

fn pool(spec: &ResourceSliceSpec, at: &Path, errors: &mut Errors) {
    let name_at = at.child("name");
    let name = spec.pool.name.as_str();
    if name.is_empty() {
        errors.required(&name_at, "");
    } else {
        if name.len() > MAX_POOL_NAME {
            errors.too_long(&name_at, MAX_POOL_NAME);
        }
        for part in name.split('/') {
            each(errors, &name_at, part, dns_subdomain(part));
        }
    }
    let count = spec.pool.resource_slice_count;
    if count <= 0 {
        errors.invalid(&at.child("resourceSliceCount"), count, "must be greater than zero");
    }
    not_negative(Some(spec.pool.generation), &at.child("generation"), errors);
}

fn device(device: &Device, at: &Path, errors: &mut Errors) {
    formed(&device.name, dns_label, &at.child("name"), errors);
    let attributes = device.attributes.as_ref().map_or(0, std::collections::BTreeMap::len);
    let together = attributes + device.capacity.as_ref().map_or(0, std::collections::BTreeMap::len);
    if together > MAX_ATTRIBUTES {
        let why = format!("the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}");
        errors.invalid(at, together, why);
    }
    for (name, attribute) in device.attributes.iter().flatten() {
        let at = at.child("attributes").key(name);
        let given = [
            attribute.bool.is_some(),
            attribute.int.is_some(),
            attribute.string.is_some(),
            attribute.version.is_some(),
            attribute.bools.is_some(),
            attribute.ints.is_some(),
            attribute.strings.is_some(),
            attribute.versions.is_some(),
        ];
        match given.iter().filter(|is| **is).count() {
            0 => errors.required(&at, "exactly one value must be specified"),
            1 => {}
            _ => errors.invalid(&at, attribute, "exactly one value must be specified"),
        }
    }
}
