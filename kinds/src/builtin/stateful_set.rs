//! StatefulSet: pods with names and volumes of their own, one after the other.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{
            RollingUpdateStatefulSetStrategy, StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Serialize;

use crate::builtin::{persistent_volume_claim, pod, prelude::*};

impl Strategy for StatefulSet {
    const FACTS: Facts = Facts { has_generation: true, names: NameRule::Label, ..Facts::PLAIN };
    const NEEDS_SELECTOR: bool = true;

    fn before_reading(value: &mut Value) {
        // The claims may leave out what they are.
        let claims = value.pointer_mut("/spec/volumeClaimTemplates").and_then(Value::as_array_mut);
        for claim in claims.into_iter().flatten().filter_map(Value::as_object_mut) {
            claim.entry("apiVersion").or_insert_with(|| "v1".into());
            claim.entry("kind").or_insert_with(|| "PersistentVolumeClaim".into());
        }
    }

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set_text(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        // Only who names no strategy is told what the usual one does.
        if strategy.type_.as_deref().unwrap_or_default().is_empty() {
            strategy.type_ = Some("RollingUpdate".into());
            strategy.rolling_update.get_or_insert_default();
        }
        if let Some(rolling) = &mut strategy.rolling_update {
            set(&mut rolling.partition, 0);
            // Waits for a feature that is off by default.
            rolling.max_unavailable = None;
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        set_text(&mut retention.when_deleted, "Retain");
        set_text(&mut retention.when_scaled, "Retain");
        set(&mut spec.replicas, 1);
        set(&mut spec.revision_history_limit, 10);
        absent_when_zero(&mut spec.min_ready_seconds);
        set(&mut spec.service_name, "");
        if let Some(ordinals) = &mut spec.ordinals {
            set(&mut ordinals.start, 0);
        }
        absent_when_zero(&mut spec.volume_claim_templates);
        for claim in spec.volume_claim_templates.iter_mut().flatten() {
            persistent_volume_claim::fill(claim);
        }
        pod::defaults::pod_template(&mut spec.template);
        set(&mut self.status.get_or_insert_default().available_replicas, 0);
    }

    fn prepare_create(stateful_set: &mut Draft<Self>) {
        stateful_set.status = None;
        set(&mut stateful_set.status.get_or_insert_default().available_replicas, 0);
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        match &self.spec {
            Some(spec) => validate_spec(spec, None, &at, errors),
            None => errors.required(&at, ""),
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let Some(status) = &self.status else { return };
            let n = |count: Option<i32>| count.unwrap_or(0);
            let whole = Some(("status.replicas", status.replicas));
            let ready = n(status.ready_replicas);
            workload::counts(
                &[
                    ("replicas", status.replicas, None),
                    ("readyReplicas", ready, whole),
                    ("currentReplicas", n(status.current_replicas), whole),
                    ("updatedReplicas", n(status.updated_replicas), whole),
                    (
                        "availableReplicas",
                        n(status.available_replicas),
                        Some(("status.readyReplicas", ready)),
                    ),
                ],
                errors,
            );
            return;
        }
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        validate_spec(new, Some(old), &Path::new("spec"), errors);
        let fixed = StatefulSetSpec {
            replicas: old.replicas,
            ordinals: old.ordinals.clone(),
            template: old.template.clone(),
            update_strategy: old.update_strategy.clone(),
            revision_history_limit: old.revision_history_limit,
            persistent_volume_claim_retention_policy: old.persistent_volume_claim_retention_policy.clone(),
            min_ready_seconds: old.min_ready_seconds,
            ..new.clone()
        };
        if fixed != *old {
            let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
            errors.forbidden(&Path::new("spec"), why);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut said =
            workload::warnings(self.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| Some(&s.template));
        let claims = self.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        for (at, claim) in Path::new("spec.volumeClaimTemplates").items(claims) {
            // The path is upstream's.
            let at = if old.is_some() { at.child("Spec") } else { at };
            let spec = claim.spec.as_ref();
            said.extend(spec.into_iter().flat_map(|spec| persistent_volume_claim::spec_warnings(spec, &at)));
        }
        if self.spec.as_ref().and_then(|spec| spec.revision_history_limit).is_some_and(|most| most < 0) {
            said.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
        }
        said
    }

    fn columns() -> Vec<Column> {
        let [containers, images] = cells::template_columns(cells::CONTAINERS);
        vec![Column::name(), cells::ready_column(), Column::age(), containers, images]
    }
}

/// The template as its pods will be: the controller names them, and their volumes are first of all the set's claims.
fn template_of_pods(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    let pods = template.spec.get_or_insert_default();
    pods.subdomain = None;
    pods.hostname = None;
    let names = spec.volume_claim_templates.iter().flatten().map(|claim| {
        let name = claim.metadata.name.clone().unwrap_or_default();
        (
            name.clone(),
            Volume {
                name: name.clone(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: name,
                    read_only: None,
                }),
                ..Volume::default()
            },
        )
    });
    let claims: BTreeMap<String, Volume> = names.collect();
    let own = pods.volumes.take().unwrap_or_default();
    let others: Vec<Volume> = own.into_iter().filter(|v| !claims.contains_key(&v.name)).collect();
    pods.volumes = Some(claims.into_values().chain(others).collect());
    template
}

/// The spec of a StatefulSet. What cannot change is checked when it is made only, and a template only where the one
/// before was right, for older versions took them unread.
fn validate_spec(spec: &StatefulSetSpec, old: Option<&StatefulSetSpec>, at: &Path, errors: &mut Errors) {
    let is_new = old.is_none();
    let policy_at = at.child("podManagementPolicy");
    match spec.pod_management_policy.as_deref().unwrap_or_default() {
        "" => errors.required(&policy_at, ""),
        "OrderedReady" | "Parallel" => {}
        other => errors.invalid(&policy_at, other, "must be 'OrderedReady' or 'Parallel'"),
    }
    update_strategy(spec.update_strategy.as_ref(), &at.child("updateStrategy"), errors);
    if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
        let at = at.child("persistentVolumeClaimRetentionPolicy");
        for (field, policy) in
            [("whenDeleted", &retention.when_deleted), ("whenScaled", &retention.when_scaled)]
        {
            let policy = policy.as_deref().unwrap_or_default();
            one_of(policy, &["Retain", "Delete"], &at.child(field), errors);
        }
    }
    let claims = spec.volume_claim_templates.iter().flatten().filter_map(|claim| claim.spec.as_ref());
    for (i, claim) in claims.enumerate().filter(|_| is_new) {
        let at = at.child("volumeClaimTemplates").index(i).child("spec");
        persistent_volume_claim::claim_spec(claim, &at, errors);
    }
    not_negative(spec.replicas, &at.child("replicas"), errors);
    not_negative(spec.min_ready_seconds, &at.child("minReadySeconds"), errors);
    let start = spec.ordinals.as_ref().and_then(|o| o.start);
    not_negative(start, &at.child("ordinals.start"), errors);
    if let Some(name) = spec.service_name.as_ref().filter(|name| is_new && !name.is_empty()) {
        each(errors, &at.child("serviceName"), name, dns_label(name));
    }
    workload::selector(&spec.selector, "statefulset", "", &at.child("selector"), errors);
    let template_at = at.child("template");
    let was_wrong = old.is_some_and(|old| {
        let mut wrong = Errors::default();
        pod::validation::template(&template_of_pods(old), &template_at, &mut wrong);
        !wrong.is_empty()
    });
    if workload::is_sound(&spec.selector) {
        workload::matching(&spec.template, &spec.selector, &template_at, errors);
        if !was_wrong {
            pod::validation::template(&template_of_pods(spec), &template_at, errors);
        }
        // Upstream looks at these twice.
        if let Some(meta) = &spec.template.metadata {
            label_map(meta.labels.as_ref(), &template_at.child("labels"), errors);
            let at = template_at.child("annotations");
            annotation_map(meta.annotations.as_ref(), &at, errors);
            let pods = spec.template.spec.as_ref();
            pods.inspect(|pods| {
                pod::validation::annotations::validate(meta.annotations.as_ref(), pods, &at, errors)
            });
        }
    }
    workload::runs_for_ever(&spec.template, "StatefulSet", &template_at, errors);
}

fn update_strategy(strategy: Option<&StatefulSetUpdateStrategy>, at: &Path, errors: &mut Errors) {
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let rolling_at = at.child("rollingUpdate");
    match strategy.and_then(|s| s.type_.as_deref()).unwrap_or_default() {
        "" => errors.required(at, ""),
        "OnDelete" => {
            if rolling.is_some() {
                let words = "only allowed for updateStrategy 'RollingUpdate'";
                errors.invalid(&rolling_at, rolling.map(ShownRolling::from), words);
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return };
            not_negative(rolling.partition, &rolling_at.child("partition"), errors);
            if let Some(unavailable) = &rolling.max_unavailable {
                number_or_percent(unavailable, &rolling_at.child("maxUnavailable"), errors);
                at_most_100_percent(unavailable, &rolling_at.child("maxUnavailable"), errors);
            }
        }
        other => {
            let shown =
                workload::ShownStrategy { type_: other, rolling_update: rolling.map(ShownRolling::from) };
            errors.invalid(at, shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

/// The parameters of a rolling update as upstream shows them in a strategy that is wrong.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRolling<'a> {
    partition: i32,
    max_unavailable: &'a Option<IntOrString>,
}

impl<'a> From<&'a RollingUpdateStatefulSetStrategy> for ShownRolling<'a> {
    fn from(rolling: &'a RollingUpdateStatefulSetStrategy) -> Self {
        Self { partition: rolling.partition.unwrap_or(0), max_unavailable: &rolling.max_unavailable }
    }
}

#[cfg(test)]
mod tests;
