//! What ResourceQuotas say: which of them count an object, what it costs, and whether there is room for it.
//!
//! Pure. The API server charges quotas in the transaction that makes an object, the controller counts anew. Upstream:
//! `pkg/quota/v1` and the admission plugin ResourceQuota.

mod devices;
mod scope;
mod usage;

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ResourceQuota, apimachinery::pkg::api::resource::Quantity as Wire};

pub use scope::Term;
pub use usage::{Counted, overdue_from};

use crate::quantity::Quantity;

/// Amounts by the names that quotas know them under.
pub type Amounts = BTreeMap<String, Quantity>;

/// An object that quotas count.
pub trait Charged: Send + Sync {
    /// What it costs.
    fn usage(&self, now: Timestamp) -> Amounts;

    /// Whether it is what one term of a quota's scope is about.
    fn is_in(&self, _term: Term<'_>) -> bool {
        false
    }

    /// What it has to say of resources and does not, in words.
    fn lacks(&self, _names: &BTreeSet<&str>) -> Option<String> {
        None
    }
}

/// Whether an object is in the whole scope of a quota.
pub fn is_in_scope(quota: &ResourceQuota, object: &dyn Charged) -> bool {
    scope::terms(quota).into_iter().all(|term| object.is_in(term))
}

/// What may be used by a quota's status, or what is.
fn list(quota: &ResourceQuota, used: bool) -> &BTreeMap<String, Wire> {
    const NOTHING: &BTreeMap<String, Wire> = &BTreeMap::new();
    let status = quota.status.as_ref();
    status
        .and_then(|status| if used { status.used.as_ref() } else { status.hard.as_ref() })
        .unwrap_or(NOTHING)
}

/// The names of a quota that an object of the resource is counted under; none for a quota that does not count it.
fn counted_names<'a>(quota: &'a ResourceQuota, counted: &Counted, object: &dyn Charged) -> BTreeSet<&'a str> {
    let names: BTreeSet<&str> =
        list(quota, false).keys().map(String::as_str).filter(|name| counted.counts(name)).collect();
    if names.is_empty() || is_in_scope(quota, object) { names } else { BTreeSet::new() }
}

/// Why an object may not be written, in upstream's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not say what the quota counts.
    #[error("failed quota: {quota}: {lacking}")]
    Lacks {
        /// The quota.
        quota: String,
        /// What it has to say, in words.
        lacking: String,
    },
    /// Nobody has counted yet.
    #[error("status unknown for quota: {quota}, resources: {resources}")]
    Uncounted {
        /// The quota.
        quota: String,
        /// What it counts.
        resources: String,
    },
    /// There is no room for it.
    #[error("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {limited}")]
    Exceeded {
        /// The quota.
        quota: String,
        /// What the object takes of what there is too little of.
        requested: String,
        /// What is used of that.
        used: String,
        /// What may be.
        limited: String,
    },
}

/// The place of a quota among those given, and what is used of it after a charge.
pub type Charge = (usize, BTreeMap<String, Wire>);

/// What quotas of an object's namespace have used once the object is written in the place of `old`, for those that are
/// charged for it, by their place in `quotas`.
pub fn charge(
    quotas: &[ResourceQuota],
    counted: &Counted,
    object: &dyn Charged,
    old: Option<&dyn Charged>,
    now: Timestamp,
) -> Result<Vec<Charge>, Refused> {
    let usage = LazyCell::new(|| object.usage(now));
    let before = LazyCell::new(|| old.map(|old| (old, old.usage(now))));
    let mut charged = Vec::new();
    for (place, quota) in quotas.iter().enumerate() {
        let names = counted_names(quota, counted, object);
        if names.is_empty() {
            continue;
        }
        // Of an object that the quota counted already only what it takes more.
        let before = before.as_ref().filter(|(old, _)| is_in_scope(quota, *old)).map(|(_, usage)| usage);
        if before.is_some_and(|before| names.iter().all(|name| usage.get(*name) <= before.get(*name))) {
            continue;
        }
        if let Some(lacking) = object.lacks(&names) {
            return Err(Refused::Lacks { quota: name(quota), lacking });
        }
        if !names.iter().all(|name| list(quota, true).contains_key(*name)) {
            let resources = names.into_iter().collect::<Vec<_>>().join(",");
            return Err(Refused::Uncounted { quota: name(quota), resources });
        }
        charged.push((place, quota, before));
    }
    let mut results = Vec::new();
    for (place, quota, before) in charged {
        if let Some(used) = with(quota, &usage, before)? {
            results.push((place, used));
        }
    }
    Ok(results)
}

/// What a quota has used with this usage in the place of the other; `None` when nothing grows that it limits.
fn with(
    quota: &ResourceQuota,
    usage: &Amounts,
    before: Option<&Amounts>,
) -> Result<Option<BTreeMap<String, Wire>>, Refused> {
    let (hard, mut used) = (list(quota, false), list(quota, true).clone());
    let (mut grows, mut exceeded) = (false, [vec![], vec![], vec![]]);
    for (name, most) in hard {
        let taken = usage.get(name).copied().unwrap_or_default();
        let more = taken - before.and_then(|before| before.get(name)).copied().unwrap_or_default();
        if more <= Quantity::ZERO {
            continue;
        }
        grows = true;
        let had = used.get(name).map(Quantity::of).unwrap_or_default();
        let most = Quantity::of(most);
        if had + more > most {
            for (list, amount) in exceeded.iter_mut().zip([more, had, most]) {
                list.push(format!("{name}={amount}"));
            }
        }
        used.insert(name.clone(), (had + more).wire());
    }
    let [requested, had, limited] = exceeded.map(|list| list.join(","));
    if !limited.is_empty() {
        return Err(Refused::Exceeded { quota: name(quota), requested, used: had, limited });
    }
    Ok(grows.then_some(used))
}

fn name(quota: &ResourceQuota) -> String {
    quota.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests;
