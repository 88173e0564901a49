//! Requests and limits: names of resources, their amounts, how the two relate.

use std::collections::{BTreeMap, BTreeSet};

use api::{
    field::ErrorType,
    quantity::Quantity,
    resource_names::{COUNTS, is_extended, is_huge_page, is_native, may_overcommit, resource_name},
};
use k8s_openapi::{
    api::core::v1::{ResourceClaim, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Wire,
};

use crate::builtin::prelude::*;

/// The name of a resource that a container asks for.
pub fn container_resource_name(name: &str, at: &Path, errors: &mut Errors) {
    resource_name(name, at, errors);
    if !name.contains('/') {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name) && !is_huge_page(name) {
            errors.invalid(at, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// An amount that may not be negative, and whole where the resource is counted.
pub fn amount(name: &str, wire: &Wire, at: &Path, errors: &mut Errors) {
    let quantity = Quantity::of(wire);
    if quantity.is_negative() {
        errors.invalid(at, quantity.to_string(), NOT_NEGATIVE);
    }
    if (is_extended(name) || COUNTS.contains(&name)) && !quantity.is_whole() {
        errors.invalid(at, quantity.to_string(), "must be an integer");
    }
}

/// The name and amount of a resource that a container asks for.
pub fn container_resource(name: &str, wire: &Wire, at: &Path, errors: &mut Errors) {
    container_resource_name(name, at, errors);
    amount(name, wire, at, errors);
}

/// The name and amount of a resource that a pod asks for as a whole.
pub fn pod_resource(name: &str, wire: &Wire, at: &Path, errors: &mut Errors) {
    let before = errors.len();
    resource_name(name, at, errors);
    if errors.len() == before && !["cpu", "memory"].contains(&name) && !is_huge_page(name) {
        errors.not_supported(at, name, &["cpu", "hugepages-", "memory"]);
    }
    amount(name, wire, at, errors);
}

/// The requests and limits of a container, or of a pod as a whole: what `resource` makes of their names and amounts.
pub fn requirements(
    r: &ResourceRequirements,
    resource: fn(&str, &Wire, &Path, &mut Errors),
    claims: &BTreeSet<&str>,
    at: &Path,
    errors: &mut Errors,
) {
    let limits_at = at.child("limits");
    let requests_at = at.child("requests");
    let (mut plain, mut huge) = (false, false);
    let mut count = |name: &str| {
        plain |= name == "cpu" || name == "memory";
        huge |= is_huge_page(name);
    };
    for (name, wire) in r.limits.iter().flatten() {
        count(name);
        let at = limits_at.key(name);
        resource(name, wire, &at, errors);
        huge_page_amount(name, wire, &at, errors);
    }
    for (name, wire) in r.requests.iter().flatten() {
        count(name);
        let at = requests_at.key(name);
        resource(name, wire, &at, errors);
        let request = Quantity::of(wire);
        match r.limits.as_ref().and_then(|l| l.get(name)).map(Quantity::of) {
            Some(limit) if request != limit && !may_overcommit(name) => errors.invalid(
                &requests_at,
                request.to_string(),
                format!("must be equal to {name} limit of {limit}"),
            ),
            Some(limit) if request > limit => errors.invalid(
                &requests_at,
                request.to_string(),
                format!("must be less than or equal to {name} limit of {limit}"),
            ),
            None if !may_overcommit(name) => {
                errors.required(&limits_at, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
        huge_page_amount(name, wire, &at, errors);
    }
    if huge && !plain {
        errors.forbidden(at, "HugePages require cpu or memory");
    }
    claims_used(r.claims.as_deref().unwrap_or_default(), claims, &at.child("claims"), errors);
}

/// How many of a pod's claims an error names.
const MOST_SHOWN: usize = 16;

/// The pod's claims that are used: each as a whole once, or requests of it once each.
fn claims_used(used: &[ResourceClaim], claims: &BTreeSet<&str>, at: &Path, errors: &mut Errors) {
    let mut requests: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (at, claim) in at.items(used.iter()) {
        let (name, request) = (claim.name.as_str(), claim.request.as_deref().unwrap_or_default());
        if name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        let known = requests.entry(name).or_default();
        if known.contains("") || (request.is_empty() && !known.is_empty()) {
            errors.duplicate(&at, name);
        } else if !request.is_empty() {
            each(errors, &at.child("request"), request, dns_label(request));
            if known.contains(request) {
                errors.duplicate(&at, format!("{name}/{request}"));
            }
        }
        known.insert(request);
        if !claims.contains(name) {
            // Not all of very many: each error would hold them.
            let shown: Vec<&str> = claims.iter().copied().take(MOST_SHOWN).collect();
            let rest = if claims.len() > MOST_SHOWN { ", ..." } else { "" };
            let more = match shown.as_slice() {
                [] => " which is empty".to_owned(),
                names => format!(": {}{rest}", names.join(", ")),
            };
            let words =
                format!("Not found: {name:?}: must be one of the names in pod.spec.resourceClaims{more}");
            errors.push(ErrorType::NotFound, &at, words);
        }
    }
}

/// Huge pages come in whole pages.
fn huge_page_amount(name: &str, wire: &Wire, at: &Path, errors: &mut Errors) {
    let Some(size) = name.strip_prefix("hugepages-").and_then(|s| s.parse::<Quantity>().ok()) else {
        return;
    };
    if size > Quantity::ZERO && Quantity::of(wire).value() % size.value() != 0 {
        errors.invalid(at, wire.0.clone(), "quantity must be a multiple of the page size");
    }
}
