//! EndpointSlice: some of the addresses behind a service.

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::{
    kind::{Column, Part, Strategy, cell},
    kinds::{
        cells::{first_three, list},
        defaults::{absent_when_zero, set},
    },
    object::ObjectExt,
};

/// The rules of EndpointSlices.
pub struct EndpointSlices;

impl Strategy for EndpointSlices {
    type Object = EndpointSlice;

    const HAS_GENERATION: bool = true;

    fn default(&self, slice: &mut EndpointSlice) {
        for endpoint in slice.endpoints.iter_mut().flatten() {
            endpoint.conditions.get_or_insert_default();
        }
        absent_when_zero(&mut slice.ports);
        for port in slice.ports.iter_mut().flatten() {
            set(&mut port.name, "");
            set(&mut port.protocol, "TCP");
        }
    }

    fn prepare_update(&self, new: &mut EndpointSlice, old: &EndpointSlice, _part: Part<'_>) {
        // There is no spec: everything but metadata counts.
        let generation = old.metadata.generation.unwrap_or(0);
        let changed = new.endpoints != old.endpoints
            || new.ports != old.ports
            || new.address_type != old.address_type
            || new.metadata.labels != old.metadata.labels;
        new.metadata.generation = Some(generation + i64::from(changed));
    }

    fn after_writing(&self, value: &mut Value) {
        if let Some(map) = value.as_object_mut() {
            for required in ["endpoints", "ports"] {
                map.entry(required).or_insert(Value::Null);
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("AddressType", "string", "What kind of addresses the slice holds."),
            Column::new("Ports", "string", "The ports of every endpoint."),
            Column::new("Endpoints", "string", "The addresses."),
            Column::age(),
        ]
    }

    fn cells(&self, slice: &Value, now: Timestamp) -> Vec<Value> {
        let unset = |items: Vec<String>| -> Value {
            if items.is_empty() { "<unset>".into() } else { first_three(&items).into() }
        };
        let ports = list(slice, &["ports"])
            .iter()
            .map(|p| match (p.at(&["port"]).and_then(Value::as_i64), p.str_at(&["name"])) {
                (Some(number), _) => number.to_string(),
                (None, "") => "*".to_owned(),
                (None, name) => name.to_owned(),
            })
            .collect();
        let addresses = list(slice, &["endpoints"])
            .iter()
            .flat_map(|e| list(e, &["addresses"]))
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        vec![
            cell::name(slice),
            slice.str_at(&["addressType"]).into(),
            unset(ports),
            unset(addresses),
            cell::age(slice, now),
        ]
    }
}
