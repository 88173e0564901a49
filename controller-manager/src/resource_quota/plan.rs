//! What is used of a quota, and its status. Pure.

use std::sync::Arc;
use std::time::Duration;

use api::quantity::Quantity;
use api::quota::{Amounts, Charged, Counted, is_in_scope, overdue_from};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus};

use crate::frame::{Action, Kind, Timestamp, plus_seconds, span};

/// The names of all that a quota limits.
pub fn names(quota: &ResourceQuota) -> impl Iterator<Item = &str> {
    quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()).map(|(name, _)| name.as_str())
}

/// Whether a quota has to be counted because of what it says itself: it says something new, or its status does not
/// follow from it. How much is used changes with every object; that alone is no reason.
pub fn is_new_to(old: Option<&ResourceQuota>, quota: &ResourceQuota) -> bool {
    let status = quota.status.clone().unwrap_or_default();
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    old.is_some_and(|old| old.spec != quota.spec) || status.hard.unwrap_or_default() != hard
}

/// What these objects use of a quota, with a zero for what it limits and none of them uses.
pub fn usage<'a>(
    quota: &ResourceQuota,
    counted: &Counted,
    objects: impl IntoIterator<Item = &'a (impl Charged + 'a)>,
    now: Timestamp,
) -> Amounts {
    let mut used: Amounts = names(quota)
        .filter(|name| counted.counts(name))
        .map(|name| (name.to_owned(), Quantity::ZERO))
        .collect();
    for object in objects.into_iter().filter(|object| is_in_scope(quota, *object)) {
        for (name, amount) in object.usage(now) {
            if let Some(sum) = used.get_mut(&name) {
                *sum += amount;
            }
        }
    }
    used
}

/// When the next of these pods will have been given all its time to end.
pub fn next_end(pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let ends = pods.iter().filter_map(|pod| overdue_from(pod)).filter(|end| *end >= now);
    ends.min().map(|end| span(now, plus_seconds(end, 1)))
}

/// Writes the status that follows, over the state that was looked at and no later one: a charge may have been added.
pub fn write(quota: &ResourceQuota, counted: &Amounts) -> Option<Action> {
    let old = quota.status.clone().unwrap_or_default();
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
    let mut used = old.used.clone().unwrap_or_default();
    // What cannot be counted now is as it was.
    used.retain(|name, _| hard.contains_key(name));
    for (name, amount) in counted {
        if used.get(name).is_none_or(|known| Quantity::of(known) != *amount) {
            used.insert(name.clone(), amount.wire());
        }
    }
    let new = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
    Action::latest_status(Kind::of::<ResourceQuota>(), &quota.metadata, &old, &new)
}
