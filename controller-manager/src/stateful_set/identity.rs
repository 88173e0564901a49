//! What makes one pod of a StatefulSet different from the others: its ordinal, and with it its name, host name,
//! labels and claims.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};

use crate::frame::Kind;
use crate::kit::{owners, pods, revisions};

/// The label with the pod's own name, for services of one pod.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the ordinal.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The ordinal in the name of a pod of this set; `None` for a name that the set would not give.
pub fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    let ordinal = digits.parse().ok()?;
    (digits == format!("{ordinal}") && ordinal >= 0).then_some(ordinal)
}

/// The first ordinal.
pub fn start(spec: &StatefulSetSpec) -> i32 {
    spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The name of a pod's claim for a template.
pub fn claim_name(template: &PersistentVolumeClaim, pod: &str) -> String {
    format!("{}-{pod}", owners::name(&template.metadata))
}

/// The pod of an ordinal, from a template that is the one of a revision.
pub fn pod(
    set: &StatefulSet,
    spec: &StatefulSetSpec,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let name = format!("{}-{ordinal}", owners::name(&set.metadata));
    let mut pod = pods::from_template(template, &Kind::of::<StatefulSet>(), &set.metadata);
    pod.metadata.labels.get_or_insert_default().extend(labels(&name, ordinal));
    pod.metadata.labels.get_or_insert_default().insert(revisions::POD_LABEL.to_owned(), revision.to_owned());
    let inside = pod.spec.get_or_insert_default();
    inside.hostname = Some(name.clone());
    inside.subdomain = spec.service_name.clone().filter(|service| !service.is_empty());
    for template in spec.volume_claim_templates.iter().flatten() {
        let volume = Volume {
            name: owners::name(&template.metadata).to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(template, &name),
                ..PersistentVolumeClaimVolumeSource::default()
            }),
            ..Volume::default()
        };
        let volumes = inside.volumes.get_or_insert_default();
        volumes.retain(|known| known.name != volume.name);
        volumes.push(volume);
    }
    pod.metadata.name = Some(name);
    pod
}

/// The labels that go with an ordinal.
fn labels(name: &str, ordinal: i32) -> [(String, String); 2] {
    [(POD_NAME.to_owned(), name.to_owned()), (POD_INDEX.to_owned(), ordinal.to_string())]
}

/// The pod with the labels of its ordinal, if it has lost them.
pub fn mended(pod: &Pod, ordinal: i32) -> Option<Pod> {
    let wanted: BTreeMap<String, String> = labels(owners::name(&pod.metadata), ordinal).into();
    let has = |(key, value): (&String, &String)| {
        pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) == Some(value)
    };
    if wanted.iter().all(has) {
        return None;
    }
    let mut mended = pod.clone();
    mended.metadata.labels.get_or_insert_default().extend(wanted);
    Some(mended)
}
