//! What people are told of a pod that fits nowhere: the sentence with a count per reason, and
//! the `PodScheduled` condition. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::place::Unfit;
use crate::preempt::Hopeless;

const CONDITION: &str = "PodScheduled";

/// The sentence for events and conditions; `hopeless` is why nobody was pushed out, unless somebody was.
pub(crate) fn sentence(unfit: &Unfit, hopeless: Option<&Hopeless>) -> String {
    let all = unfit.nodes;
    if all == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let said = match &unfit.refusal {
        Some(refusal) => format!("0/{all} nodes are available: {}.", refusal.reason),
        None => counted(all, unfit.rejections.iter().flat_map(|(_, rejection)| &rejection.reasons)),
    };
    let preemption = match hopeless {
        None => return said,
        Some(Hopeless::NotEligible(why)) => (*why).to_owned(),
        Some(Hopeless::NoHelp(reasons)) => counted(all, reasons.iter().flatten()),
    };
    format!("{said} no new claims to deallocate, preemption: {preemption}")
}

fn counted<'a>(all: usize, reasons: impl Iterator<Item = &'a String>) -> String {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut counts: Vec<String> =
        counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    counts.sort_unstable();
    format!("0/{all} nodes are available: {}.", counts.join(", "))
}

/// What is new of a pod's status: that it has no node, why, and which it will get.
pub(crate) fn status(
    pod: &Pod,
    reason: &str,
    message: &str,
    nominated: &str,
    now: Timestamp,
) -> Option<Value> {
    let was =
        pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref()).unwrap_or_default();
    let mut status = serde_json::Map::new();
    if let Some(condition) = condition(pod, reason, message, now) {
        status.insert("conditions".to_owned(), json!([condition]));
    }
    if was != nominated {
        let node = Some(nominated).filter(|node| !node.is_empty());
        status.insert("nominatedNodeName".to_owned(), json!(node));
    }
    (!status.is_empty()).then_some(Value::Object(status))
}

/// The condition that says that a pod has no node, if the pod does not say so already.
fn condition(pod: &Pod, reason: &str, message: &str, now: Timestamp) -> Option<PodCondition> {
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
