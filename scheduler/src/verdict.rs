//! What people are told of a pod that fits nowhere: the sentence with a count per reason, and
//! the `PodScheduled` condition. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::cluster::Needs;
use crate::place::Unfit;

const CONDITION: &str = "PodScheduled";

/// The sentence for events and conditions.
pub(crate) fn sentence(needs: &Needs, unfit: &Unfit) -> String {
    let all = unfit.rejections.len();
    if all == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let reasons = unfit.rejections.iter().flat_map(|rejection| rejection.reasons.iter().map(String::as_str));
    let preemption = if needs.never_preempts {
        "not eligible due to preemptionPolicy=Never.".to_owned()
    } else {
        let outlook = unfit.rejections.iter().map(|rejection| {
            if rejection.for_good {
                "Preemption is not helpful for scheduling"
            } else {
                "No preemption victims found for incoming pod"
            }
        });
        counted(all, outlook)
    };
    format!("{} no new claims to deallocate, preemption: {preemption}", counted(all, reasons))
}

fn counted<'a>(all: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut counts: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counts.sort_unstable();
    format!("0/{all} nodes are available: {}.", counts.join(", "))
}

/// The condition that says that a pod has no node, if the pod does not say so already.
pub(crate) fn condition(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Option<PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let old = conditions.into_iter().flatten().find(|condition| condition.type_ == CONDITION);
    let no = "False";
    let still_no = old.filter(|old| old.status == no);
    let generation = pod.metadata.generation;
    if still_no.is_some_and(|old| {
        old.reason.as_deref() == Some(reason)
            && old.message.as_deref() == Some(message)
            && old.observed_generation == generation
    }) {
        return None;
    }
    let since = still_no.and_then(|old| old.last_transition_time.clone());
    Some(PodCondition {
        type_: CONDITION.to_owned(),
        status: no.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        observed_generation: generation,
        last_probe_time: None,
    })
}

#[cfg(test)]
mod tests;
