//! Pods as several controllers make them and judge them: active, ready, available. Upstream: `k8s.io/kubernetes/pkg/api/v1/pod`.

pub use api::pod::is_finished;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::cache::Change;

use super::owners;
use crate::frame::{Kind, Timestamp, plus_seconds};

/// The pod that an owner makes from its template; it has no name yet.
pub fn from_template(template: &PodTemplateSpec, kind: &Kind, owner: &ObjectMeta) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: owner.namespace.clone(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![owners::controller_ref(kind, owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The start of a pod's name; too long a one gives way to the random end.
pub fn generate_name(name: &str) -> String {
    const LONGEST: usize = 63 - 6;
    let kept: String = name.chars().take(LONGEST).collect();
    format!("{kept}-")
}

/// The phase word.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether it has been asked to go.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether it counts as a replica.
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

/// A condition by its type.
pub fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Whether its Ready condition is True.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when it is ready; `None` when it is not.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// From when on a ready pod counts as available; `None` when it is not ready.
pub fn available_from(pod: &Pod, min_ready_seconds: i32) -> Option<Timestamp> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(Timestamp::MIN);
    }
    Some(plus_seconds(ready_since(pod)?, i64::from(min_ready_seconds)))
}

/// The node it is bound to; empty while it is not.
pub fn node_name(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Whether a change is one that a keeper of replicas judges by.
pub fn changed_for_owner(change: &Change<Pod>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let differs = |a: &Pod, b: &Pod| {
        phase(a) != phase(b)
            || ready_since(a) != ready_since(b)
            || is_ready(a) != is_ready(b)
            || is_terminating(a) != is_terminating(b)
            || a.metadata.labels != b.metadata.labels
            || a.metadata.owner_references != b.metadata.owner_references
            || a.metadata.uid != b.metadata.uid
    };
    differs(old, new)
}

/// Whether a change is one that services see: who may be reached where.
pub fn changed_for_services(change: &Change<Pod>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let ips = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ips.clone());
    let name = |pod: &Pod| pod.spec.as_ref().map(|spec| (spec.hostname.clone(), spec.subdomain.clone()));
    changed_for_owner(change)
        || ips(old) != ips(new)
        || name(old) != name(new)
        || (node_name(old) != node_name(new) && ips(new).is_some())
}
