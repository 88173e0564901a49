//! Deployment: pods of one template, rolled from one version to the next.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStrategy, RollingUpdateDeployment},
    apimachinery::pkg::util::intstr::IntOrString,
};

use serde::Serialize;

use crate::builtin::{job, pod, prelude::*};

impl Strategy for Deployment {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };
    const NEEDS_SELECTOR: bool = true;

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.replicas, 1);
        set(&mut spec.revision_history_limit, 10);
        set(&mut spec.progress_deadline_seconds, 600);
        absent_when_zero(&mut spec.min_ready_seconds);
        absent_when_zero(&mut spec.paused);
        let strategy = spec.strategy.get_or_insert_default();
        set_text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let quarter = || IntOrString::String("25%".into());
            let rolling: &mut RollingUpdateDeployment = strategy.rolling_update.get_or_insert_default();
            set(&mut rolling.max_unavailable, quarter());
            set(&mut rolling.max_surge, quarter());
        }
        pod::defaults::pod_template(&mut spec.template);
        self.status.get_or_insert_default();
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        if part == Part::Status {
            new.metadata.labels.clone_from(&old.metadata.labels);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return errors.required(&at, "") };
        not_negative(spec.replicas, &at.child("replicas"), errors);
        workload::selector(
            &spec.selector,
            "deployment",
            "invalid label selector",
            &at.child("selector"),
            errors,
        );
        let template_at = at.child("template");
        if workload::is_sound(&spec.selector) {
            workload::template(Some(&spec.template), &spec.selector, "ReplicaSet", &template_at, errors);
        }
        strategy(spec.strategy.as_ref(), &at.child("strategy"), errors);
        not_negative(spec.min_ready_seconds, &at.child("minReadySeconds"), errors);
        not_negative(spec.revision_history_limit, &at.child("revisionHistoryLimit"), errors);
        if let Some(deadline) = spec.progress_deadline_seconds {
            let at = at.child("progressDeadlineSeconds");
            not_negative(Some(deadline), &at, errors);
            if deadline <= spec.min_ready_seconds.unwrap_or(0) {
                errors.invalid(&at, deadline, "must be greater than minReadySeconds");
            }
        }
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let Some(status) = &self.status else { return };
            let n = |count: Option<i32>| count.unwrap_or(0);
            let whole = Some(("status.replicas", n(status.replicas)));
            let ready = n(status.ready_replicas);
            workload::counts(
                &[
                    ("replicas", n(status.replicas), None),
                    ("updatedReplicas", n(status.updated_replicas), whole),
                    ("readyReplicas", ready, whole),
                    ("availableReplicas", n(status.available_replicas), whole),
                    ("unavailableReplicas", n(status.unavailable_replicas), None),
                    ("availableReplicas", n(status.available_replicas), Some(("readyReplicas", ready))),
                ],
                errors,
            );
            return;
        }
        self.validate(errors);
        if let (Some(new), Some(old)) = (&self.spec, &old.spec) {
            workload::same_selector(&new.selector, &old.selector, errors);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut said = if old.is_none() { job::name_warning(&self.metadata) } else { Vec::new() };
        said.extend(workload::warnings(self.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| {
            Some(&s.template)
        }));
        said
    }

    fn columns() -> Vec<Column> {
        let [containers, images] = cells::template_columns(cells::CONTAINERS);
        vec![
            Column::name(),
            cells::ready_column(),
            Column::text("Up-to-date", "Pods of the newest template.", |d| {
                int(d, &["status", "updatedReplicas"]).into()
            }),
            Column::text("Available", "Pods that have been ready long enough.", |d| {
                int(d, &["status", "availableReplicas"]).into()
            }),
            Column::age(),
            containers,
            images,
            cells::selector_column("Which pods belong to the Deployment."),
        ]
    }
}

/// How the Deployment goes from one version to the next.
fn strategy(strategy: Option<&DeploymentStrategy>, at: &Path, errors: &mut Errors) {
    const TYPES: &[&str] = &["Recreate", "RollingUpdate"];
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let rolling_at = at.child("rollingUpdate");
    match strategy.and_then(|s| s.type_.as_deref()).unwrap_or_default() {
        "Recreate" => {
            if rolling.is_some() {
                let why = "may not be specified when strategy `type` is 'Recreate'";
                errors.forbidden(&rolling_at, why);
            }
        }
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return };
            let unavailable_at = rolling_at.child("maxUnavailable");
            let zero = IntOrString::Int(0);
            let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
            let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
            number_or_percent(unavailable, &unavailable_at, errors);
            number_or_percent(surge, &rolling_at.child("maxSurge"), errors);
            if plain_number(unavailable) == 0 && plain_number(surge) == 0 {
                errors.invalid(&unavailable_at, unavailable, "may not be 0 when `maxSurge` is 0");
            }
            at_most_100_percent(unavailable, &unavailable_at, errors);
        }
        other => {
            let zero = IntOrString::Int(0);
            let rolling_update = rolling.map(|rolling| ShownRolling {
                max_unavailable: rolling.max_unavailable.clone().unwrap_or(zero.clone()),
                max_surge: rolling.max_surge.clone().unwrap_or(zero),
            });
            errors.not_supported(at, workload::ShownStrategy { type_: other, rolling_update }, TYPES);
        }
    }
}

/// The parameters of a rolling update as upstream shows them in a strategy that is wrong.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRolling {
    max_unavailable: IntOrString,
    max_surge: IntOrString,
}

#[cfg(test)]
mod tests;
