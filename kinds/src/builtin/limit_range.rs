//! LimitRange: bounds and defaults for what single pods, containers and claims ask for.

use std::collections::{BTreeMap, BTreeSet};

use api::{quantity::Quantity, resource_names::resource_name};
use k8s_openapi::{
    api::core::v1::{LimitRange, LimitRangeItem},
    apimachinery::pkg::api::resource::Quantity as Wire,
};

use crate::builtin::prelude::*;

type List = Option<BTreeMap<String, Wire>>;

impl Strategy for LimitRange {
    const FACTS: Facts = Facts { creates_on_update: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        for item in &mut self.spec.get_or_insert_default().limits {
            for list in [
                &mut item.default,
                &mut item.default_request,
                &mut item.max,
                &mut item.min,
                &mut item.max_limit_request_ratio,
            ] {
                canonical_list(list);
            }
            if item.type_ == "Container" {
                // A default limit is the greatest allowed one, a default request the default limit or
                // else the least allowed one.
                fill(&mut item.default, &item.max);
                fill(&mut item.default_request, &item.default);
                fill(&mut item.default_request, &item.min);
            }
        }
    }

    fn prepare_create(range: &mut Draft<Self>) {
        // One that has no name is named after itself.
        if range.metadata.name.as_deref().is_none_or(str::is_empty) {
            range.metadata.name = range.metadata.uid.clone();
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let mut types = BTreeSet::new();
        for (at, item) in Path::new("spec.limits").items(self.spec.iter().flat_map(|s| &s.limits)) {
            let wrong = qualified_name(&item.type_);
            if !wrong.is_empty() {
                each(errors, &at.child("type"), &item.type_, wrong);
            } else if !["Container", "Pod", "PersistentVolumeClaim"].contains(&item.type_.as_str())
                && !item.type_.contains('/')
            {
                let words = "must be a standard limit type or fully qualified";
                errors.invalid(&at.child("type"), &item.type_, words);
            }
            unique(&mut types, &item.type_, &at.child("type"), errors);
            limit(item, &at, errors);
        }
    }

    fn columns() -> Vec<Column> {
        vec![Column::name(), Column::created("When it was created.")]
    }
}

/// Adds what `to` does not say yet.
fn fill(to: &mut List, from: &List) {
    for (name, wire) in from.iter().flatten() {
        to.get_or_insert_default().entry(name.clone()).or_insert_with(|| wire.clone());
    }
}

fn limit(item: &LimitRangeItem, at: &Path, errors: &mut Errors) {
    let lists: [(&str, &List); 5] = [
        ("max", &item.max),
        ("min", &item.min),
        ("default", &item.default),
        ("defaultRequest", &item.default_request),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio),
    ];
    let mut names = BTreeSet::new();
    for (field, list) in lists {
        for name in list.iter().flat_map(|l| l.keys()) {
            resource_name(name, &at.child(field).key(name), errors);
            names.insert(name);
        }
    }
    if item.type_ == "Pod" {
        for (field, list) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
            if list.as_ref().is_some_and(|l| !l.is_empty()) {
                errors.forbidden(&at.child(field), "may not be specified when `type` is 'Pod'");
            }
        }
    }
    if item.type_ == "PersistentVolumeClaim" {
        let has = |list: &List| list.as_ref().is_some_and(|l| l.contains_key("storage"));
        if !has(&item.min) && !has(&item.max) {
            errors.required(
                &at.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
    }
    for name in names {
        order(item, name, at, errors);
    }
}

/// Least ≤ default request ≤ default ≤ greatest.
fn order(item: &LimitRangeItem, name: &str, at: &Path, errors: &mut Errors) {
    let get = |list: &List| list.as_ref().and_then(|l| l.get(name)).map(Quantity::of);
    let (min, max) = (get(&item.min), get(&item.max));
    let (default, request) = (get(&item.default), get(&item.default_request));
    let ratio = get(&item.max_limit_request_ratio);
    let mut above =
        |field: &str, shown: Quantity, low: (&str, Option<Quantity>), high: (&str, Option<Quantity>)| {
            if let (Some(a), Some(b)) = (low.1, high.1)
                && a > b
            {
                let words = format!("{} value {a} is greater than {} value {b}", low.0, high.0);
                errors.invalid(&at.child(field).key(name), shown.to_string(), words);
            }
        };
    let zero = Quantity::ZERO;
    above("min", min.unwrap_or(zero), ("min", min), ("max", max));
    above("defaultRequest", request.unwrap_or(zero), ("min", min), ("default request", request));
    above("defaultRequest", request.unwrap_or(zero), ("default request", request), ("max", max));
    above(
        "defaultRequest",
        request.unwrap_or(zero),
        ("default request", request),
        ("default limit", default),
    );
    above("default", min.unwrap_or(zero), ("min", min), ("default", default));
    above("default", max.unwrap_or(zero), ("default", default), ("max", max));
    if let Some(ratio) = ratio {
        let ratio_at = at.child("maxLimitRequestRatio").key(name);
        if ratio < Quantity::whole(1) {
            errors.invalid(&ratio_at, ratio.to_string(), format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max)
            && !min.is_zero()
            && ratio.as_f64() > max.as_f64() / min.as_f64()
        {
            let most = max.as_f64() / min.as_f64();
            errors.invalid(
                &ratio_at,
                ratio.to_string(),
                format!("ratio {ratio} is greater than max/min = {most:.6}"),
            );
        }
    }
}

#[cfg(test)]
mod tests;
