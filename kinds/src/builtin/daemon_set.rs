//! DaemonSet: one pod of a template on every node.

use k8s_openapi::{
    api::apps::v1::{DaemonSet, DaemonSetUpdateStrategy},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Serialize;

use crate::builtin::{pod, prelude::*};

/// The annotation that counts changes of the template, for old clients.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

impl Strategy for DaemonSet {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };
    const NEEDS_SELECTOR: bool = true;

    fn fill_in(&mut self) {
        let spec = self.spec.get_or_insert_default();
        set(&mut spec.revision_history_limit, 10);
        absent_when_zero(&mut spec.min_ready_seconds);
        let strategy = spec.update_strategy.get_or_insert_default();
        set_text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            set(&mut rolling.max_unavailable, IntOrString::Int(1));
            set(&mut rolling.max_surge, IntOrString::Int(0));
        } else if let Some(rolling) = &mut strategy.rolling_update {
            set(&mut rolling.max_unavailable, IntOrString::Int(0));
            set(&mut rolling.max_surge, IntOrString::Int(0));
        }
        pod::defaults::pod_template(&mut spec.template);
        self.status.get_or_insert_default();
    }

    fn prepare_create(daemon_set: &mut Draft<Self>) {
        let annotations = daemon_set.metadata.annotations.get_or_insert_default();
        annotations.insert(TEMPLATE_GENERATION.into(), "1".into());
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        if part != Part::Main {
            return;
        }
        let count = |d: &DaemonSet| {
            let text = d.metadata.annotations.as_ref()?.get(TEMPLATE_GENERATION)?;
            text.parse::<i64>().ok()
        };
        let changed = new.spec.as_ref().map(|s| &s.template) != old.spec.as_ref().map(|s| &s.template);
        let generation = count(old).unwrap_or(0) + i64::from(changed);
        let annotations = new.metadata.annotations.get_or_insert_default();
        annotations.insert(TEMPLATE_GENERATION.into(), generation.to_string());
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return errors.required(&at, "") };
        let selector_at = at.child("selector");
        label_selector(Some(&spec.selector), &selector_at, errors);
        let template_at = at.child("template");
        if workload::is_sound(&spec.selector) {
            workload::matching(&spec.template, &spec.selector, &template_at, errors);
        }
        pod::validation::template(&spec.template, &template_at, errors);
        workload::runs_for_ever(&spec.template, "DaemonSet", &template_at, errors);
        if workload::is_given(&spec.selector) && selects_all(&spec.selector) {
            let words = "empty selector is invalid for daemonset";
            errors.invalid(&selector_at, serde_json::Map::new(), words);
        }
        not_negative(spec.min_ready_seconds, &at.child("minReadySeconds"), errors);
        update_strategy(spec.update_strategy.as_ref(), &at.child("updateStrategy"), errors);
        not_negative(spec.revision_history_limit, &at.child("revisionHistoryLimit"), errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            let Some(status) = &self.status else { return };
            let n = |count: Option<i32>| count.unwrap_or(0);
            workload::counts(
                &[
                    ("currentNumberScheduled", status.current_number_scheduled, None),
                    ("numberMisscheduled", status.number_misscheduled, None),
                    ("desiredNumberScheduled", status.desired_number_scheduled, None),
                    ("numberReady", status.number_ready, None),
                    ("updatedNumberScheduled", n(status.updated_number_scheduled), None),
                    ("numberAvailable", n(status.number_available), None),
                    ("numberUnavailable", n(status.number_unavailable), None),
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
        workload::warnings(self.spec.as_ref(), old.map(|old| old.spec.as_ref()), |s| Some(&s.template))
    }

    fn columns() -> Vec<Column> {
        let count =
            |name, words, field| Column::number(name, words, move |set| int(set, &["status", field]).into());
        let [containers, images] = cells::template_columns(cells::CONTAINERS);
        vec![
            Column::name(),
            count("Desired", "Nodes that should run a pod.", "desiredNumberScheduled"),
            count("Current", "Nodes that run a pod and should.", "currentNumberScheduled"),
            count("Ready", "Pods that are ready.", "numberReady"),
            count("Up-to-date", "Pods of the newest template.", "updatedNumberScheduled"),
            count("Available", "Pods that have been ready long enough.", "numberAvailable"),
            Column::text("Node Selector", "Which nodes should run a pod.", |set| {
                cells::labels(set.at(&["spec", "template", "spec", "nodeSelector"])).into()
            }),
            Column::age(),
            containers,
            images,
            cells::selector_column("Which pods belong to the set."),
        ]
    }
}

fn update_strategy(strategy: Option<&DaemonSetUpdateStrategy>, at: &Path, errors: &mut Errors) {
    let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
    let at_rolling = at.child("rollingUpdate");
    match strategy.and_then(|s| s.type_.as_deref()).unwrap_or_default() {
        "OnDelete" => {}
        "RollingUpdate" => {
            let Some(rolling) = rolling else { return errors.required(&at_rolling, "") };
            let zero = IntOrString::Int(0);
            let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&zero);
            let surge = rolling.max_surge.as_ref().unwrap_or(&zero);
            for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
                number_or_percent(value, &at_rolling.child(field), errors);
                at_most_100_percent(value, &at_rolling.child(field), errors);
            }
            match (plain_number(unavailable) != 0, plain_number(surge) != 0) {
                (true, true) => {
                    let words = "may not be set when maxUnavailable is non-zero";
                    errors.invalid(&at_rolling.child("maxSurge"), surge, words);
                }
                (false, false) => {
                    let why = "cannot be 0 when maxSurge is 0";
                    errors.required(&at_rolling.child("maxUnavailable"), why);
                }
                _ => {}
            }
        }
        other => {
            let rolling_update = rolling.map(|rolling| ShownRolling {
                max_unavailable: &rolling.max_unavailable,
                max_surge: &rolling.max_surge,
            });
            let shown = workload::ShownStrategy { type_: other, rolling_update };
            errors.not_supported(at, shown, &["RollingUpdate", "OnDelete"]);
        }
    }
}

/// The parameters of a rolling update as upstream shows them in a strategy that is wrong.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShownRolling<'a> {
    max_unavailable: &'a Option<IntOrString>,
    max_surge: &'a Option<IntOrString>,
}

#[cfg(test)]
mod tests;
