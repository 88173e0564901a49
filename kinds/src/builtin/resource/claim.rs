//! ResourceClaim: devices that somebody wants, and the template of such claims.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceToleration, ResourceClaim,
    ResourceClaimStatus, ResourceClaimTemplate,
};

use super::{MOST, at_most, driver, opaque, selectors};
use crate::builtin::prelude::*;

const MODES: &[&str] = &["All", "ExactCount"];
const MAX_ALTERNATIVES: usize = 8;
const MAX_CONSUMERS: usize = 256;
/// The longest identifier of an attribute.
const MAX_IDENTIFIER: usize = 32;

impl Strategy for ResourceClaim {
    fn fill_in(&mut self) {
        default_devices(self.spec.devices.get_or_insert_default());
        self.status.get_or_insert_default();
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(wanted) = &self.spec.devices {
            devices(wanted, &Path::new("spec.devices"), errors);
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let none = ResourceClaimStatus::default();
            let of = |claim: &ResourceClaim| claim.status.clone().unwrap_or_else(|| none.clone());
            return status(&of(self), &of(old), errors);
        }
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
    }

    fn columns() -> Vec<Column> {
        let words = "How far it has come: pending, allocated, reserved or deleted.";
        let state = Column::text("State", words, |claim| {
            let allocated = claim.at(&["status", "allocation"]).is_some_and(Value::is_object);
            let reserved = allocated && !claim.list_at(&["status", "reservedFor"]).is_empty();
            let states = [
                ("deleted", claim.is_deleting()),
                ("pending", !allocated && !claim.is_deleting()),
                ("allocated", allocated),
                ("reserved", reserved),
            ];
            let states: Vec<&str> = states.iter().filter(|(_, is)| *is).map(|(state, _)| *state).collect();
            states.join(",").into()
        });
        vec![Column::name(), state, Column::age()]
    }
}

impl Strategy for ResourceClaimTemplate {
    fn fill_in(&mut self) {
        self.spec.metadata.get_or_insert_default();
        default_devices(self.spec.spec.devices.get_or_insert_default());
    }

    fn validate(&self, errors: &mut Errors) {
        if let Some(meta) = &self.spec.metadata {
            let at = Path::new("spec.metadata");
            annotation_map(meta.annotations.as_ref(), &at.child("annotations"), errors);
            label_map(meta.labels.as_ref(), &at.child("labels"), errors);
        }
        if let Some(wanted) = &self.spec.spec.devices {
            devices(wanted, &Path::new("spec.spec.devices"), errors);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
    }
}

fn default_devices(devices: &mut DeviceClaim) {
    let complete = |mode: &mut Option<String>,
                    count: &mut Option<i64>,
                    tolerations: &mut Option<Vec<DeviceToleration>>| {
        set_text(mode, "ExactCount");
        if mode.as_deref() == Some("ExactCount") {
            set_number(count, 1);
        }
        for toleration in tolerations.iter_mut().flatten() {
            set_text(&mut toleration.operator, "Equal");
        }
    };
    for request in devices.requests.iter_mut().flatten() {
        if let Some(exactly) = &mut request.exactly {
            complete(&mut exactly.allocation_mode, &mut exactly.count, &mut exactly.tolerations);
        }
        for other in request.first_available.iter_mut().flatten() {
            complete(&mut other.allocation_mode, &mut other.count, &mut other.tolerations);
        }
    }
}

fn devices(devices: &DeviceClaim, at: &Path, errors: &mut Errors) {
    let requests = devices.requests.as_deref().unwrap_or_default();
    let requests_at = at.child("requests");
    at_most(requests.len(), MOST, &requests_at, errors);
    let mut names = BTreeSet::new();
    for (at, request) in requests_at.items(requests.iter()) {
        unique(&mut names, &request.name, &at, errors);
        self::request(request, &at, errors);
    }
    let known = known(requests);
    let constraints = devices.constraints.as_deref().unwrap_or_default();
    at_most(constraints.len(), MOST, &at.child("constraints"), errors);
    for (i, constraint) in constraints.iter().enumerate() {
        self::constraint(constraint, &known, &at.child("constraints").index(i), errors);
    }
    let configs = devices.config.as_deref().unwrap_or_default();
    at_most(configs.len(), MOST, &at.child("config"), errors);
    for (i, config) in configs.iter().enumerate() {
        let at = at.child("config").index(i);
        request_names(config.requests.as_ref(), &known, &at.child("requests"), errors);
        opaque(config.opaque.as_ref(), &at, errors);
    }
}

/// What an exact request and an alternative have in common.
struct Wish<'a> {
    class: &'a str,
    selectors: Option<&'a Vec<DeviceSelector>>,
    mode: &'a str,
    count: i64,
    tolerations: Option<&'a Vec<DeviceToleration>>,
}

fn name(name: &str, at: &Path, errors: &mut Errors) {
    each(errors, at, name, dns_label(name));
}

fn request(request: &DeviceRequest, at: &Path, errors: &mut Errors) {
    name(&request.name, &at.child("name"), errors);
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    match (&request.exactly, alternatives) {
        (None, []) => errors.required(at, "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), [_, ..]) => {
            let why = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(at, Value::Null, why);
        }
        (Some(exactly), []) => wish(
            &Wish {
                class: &exactly.device_class_name,
                selectors: exactly.selectors.as_ref(),
                mode: exactly.allocation_mode.as_deref().unwrap_or_default(),
                count: exactly.count.unwrap_or(0),
                tolerations: exactly.tolerations.as_ref(),
            },
            &at.child("exactly"),
            errors,
        ),
        (None, alternatives) => {
            let at = at.child("firstAvailable");
            at_most(alternatives.len(), MAX_ALTERNATIVES, &at, errors);
            let mut names = BTreeSet::new();
            for (at, other) in at.items(alternatives.iter()) {
                unique(&mut names, &other.name, &at, errors);
                name(&other.name, &at.child("name"), errors);
                let wished = Wish {
                    class: &other.device_class_name,
                    selectors: other.selectors.as_ref(),
                    mode: other.allocation_mode.as_deref().unwrap_or_default(),
                    count: other.count.unwrap_or(0),
                    tolerations: other.tolerations.as_ref(),
                };
                wish(&wished, &at, errors);
            }
        }
    }
}

fn wish(wish: &Wish<'_>, at: &Path, errors: &mut Errors) {
    let class_at = at.child("deviceClassName");
    formed(wish.class, dns_subdomain, &class_at, errors);
    selectors(wish.selectors, &at.child("selectors"), errors);
    let count_at = at.child("count");
    match wish.mode {
        "All" if wish.count != 0 => {
            errors.invalid(&count_at, wish.count, "must not be specified when allocationMode is 'All'");
        }
        "ExactCount" if wish.count <= 0 => errors.invalid(&count_at, wish.count, "must be greater than zero"),
        "All" | "ExactCount" => {}
        other => errors.not_supported(&at.child("allocationMode"), other, MODES),
    }
    for (i, toleration) in wish.tolerations.into_iter().flatten().enumerate() {
        self::toleration(toleration, &at.child("tolerations").index(i), errors);
    }
}

fn toleration(toleration: &DeviceToleration, at: &Path, errors: &mut Errors) {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (key, value) = (text(&toleration.key), text(&toleration.value));
    if !key.is_empty() {
        each(errors, &at.child("key"), &key, qualified_name(&key));
    }
    match text(&toleration.operator).as_str() {
        "Exists" if !value.is_empty() => {
            errors.invalid(&at.child("value"), value, "must be empty for operator `Exists`");
        }
        "Equal" => each(errors, &at.child("value"), &value, label_value(&value)),
        "Exists" => {}
        other => errors.not_supported(&at.child("operator"), other, &["Equal", "Exists"]),
    }
    const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
    if let Some(effect) = toleration.effect.as_deref().filter(|e| !e.is_empty() && !EFFECTS.contains(e)) {
        errors.not_supported(&at.child("effect"), effect, EFFECTS);
    }
}

/// The names of requests, without and with those of their alternatives.
type Known<'a> = BTreeSet<(&'a str, Option<&'a str>)>;

fn known(requests: &[DeviceRequest]) -> Known<'_> {
    let mut known = Known::new();
    for request in requests {
        let alternatives = request.first_available.iter().flatten().map(|other| Some(other.name.as_str()));
        known.extend(alternatives.chain([None]).map(|alternative| (request.name.as_str(), alternative)));
    }
    known
}

/// Names of requests of the claim, or of one of their alternatives behind a slash.
fn request_names(names: Option<&Vec<String>>, known: &Known<'_>, at: &Path, errors: &mut Errors) {
    let names = names.map(Vec::as_slice).unwrap_or_default();
    at_most(names.len(), MOST, at, errors);
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        unique(&mut seen, name, &at.index(i), errors);
        let segments = name.split('/').take(3).collect::<Vec<_>>();
        for segment in segments.iter().filter(|_| segments.len() < 3) {
            self::name(segment, &at.index(i), errors);
        }
        let asked = name.split_once('/').map_or((name.as_str(), None), |(r, a)| (r, Some(a)));
        if !known.contains(&asked) {
            let why = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
            errors.invalid(&at.index(i), name, why);
        }
    }
}

fn constraint(constraint: &DeviceConstraint, known: &Known<'_>, at: &Path, errors: &mut Errors) {
    request_names(constraint.requests.as_ref(), known, &at.child("requests"), errors);
    let given = [
        ("matchAttribute", &constraint.match_attribute),
        ("distinctAttribute", &constraint.distinct_attribute),
    ];
    match given.into_iter().find_map(|(field, attribute)| Some((field, attribute.as_ref()?))) {
        // The words are upstream's.
        None => errors.required(
            at,
            r#"exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set"#,
        ),
        Some((field, attribute)) => qualified(attribute, &at.child(field), errors),
    }
}

/// `domain/identifier`
fn qualified(name: &str, at: &Path, errors: &mut Errors) {
    let identifier = |name: &str, errors: &mut Errors| {
        if name.len() > MAX_IDENTIFIER {
            errors.too_long(at, MAX_IDENTIFIER);
        }
        each(errors, at, name, c_identifier(name));
    };
    match *name.split('/').take(3).collect::<Vec<_>>() {
        [name] => identifier(name, errors),
        [domain, name] => {
            match domain {
                "" => errors.invalid(at, "", "the domain must not be empty"),
                domain => driver(domain, at, errors),
            }
            match name {
                "" => errors.invalid(at, "", "the name must not be empty"),
                name => identifier(name, errors),
            }
        }
        _ => {}
    }
    if !name.contains('/') {
        errors.invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn status(new: &ResourceClaimStatus, old: &ResourceClaimStatus, errors: &mut Errors) {
    let at = Path::new("status");
    let consumers = new.reserved_for.as_deref().unwrap_or_default();
    let consumers_at = at.child("reservedFor");
    at_most(consumers.len(), MAX_CONSUMERS, &consumers_at, errors);
    let mut uids = BTreeSet::new();
    for (at, consumer) in consumers_at.items(consumers.iter()) {
        for (field, value) in
            [("resource", &consumer.resource), ("name", &consumer.name), ("uid", &consumer.uid)]
        {
            given(value, &at.child(field), errors);
        }
        unique(&mut uids, &consumer.uid, &at.child("uid"), errors);
    }
    if new.allocation.is_none() && !consumers.is_empty() {
        errors.forbidden(&consumers_at, "may not be specified when `allocated` is not set");
    }
    if let (Some(allocation), Some(before)) = (&new.allocation, &old.allocation) {
        immutable(allocation, before, &at.child("allocation"), errors);
    }
}
