//! PodDisruptionBudget: how many pods may be taken away at once.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde::Serialize;

use crate::builtin::prelude::*;

/// A spec as upstream shows one that asks for two things.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    min_available: &'a Option<IntOrString>,
    selector: Option<Value>,
    max_unavailable: &'a Option<IntOrString>,
    unhealthy_pod_eviction_policy: &'a Option<String>,
}

fn shown(spec: &PodDisruptionBudgetSpec) -> Shown<'_> {
    Shown {
        min_available: &spec.min_available,
        selector: spec.selector.as_ref().and_then(|s| serde_json::to_value(s).ok()),
        max_unavailable: &spec.max_unavailable,
        unhealthy_pod_eviction_policy: &spec.unhealthy_pod_eviction_policy,
    }
}

/// Counts are always there.
fn count_from_nothing(status: &mut PodDisruptionBudgetStatus) {
    for count in [
        &mut status.disruptions_allowed,
        &mut status.current_healthy,
        &mut status.desired_healthy,
        &mut status.expected_pods,
    ] {
        count.get_or_insert_default();
    }
}

impl Strategy for PodDisruptionBudget {
    const FACTS: Facts = Facts {
        updates_unconditionally: false,
        has_generation: true,
        names: NameRule::PathSegmentLast,
        takes_plain_finalizers: true,
        ..Facts::PLAIN
    };

    fn fill_in(&mut self) {
        self.spec.get_or_insert_default();
        count_from_nothing(self.status.get_or_insert_default());
    }

    fn prepare_create(budget: &mut Draft<Self>) {
        let mut status = PodDisruptionBudgetStatus::default();
        count_from_nothing(&mut status);
        budget.status = Some(status);
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return };
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            let words = "minAvailable and maxUnavailable cannot be both set";
            errors.invalid(&at, shown(spec), words);
        }
        for (field, value) in
            [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)]
        {
            if let Some(value) = value {
                number_or_percent(value, &at.child(field), errors);
                at_most_100_percent(value, &at.child(field), errors);
            }
        }
        label_selector(spec.selector.as_ref(), &at.child("selector"), errors);
        const POLICIES: &[&str] = &["AlwaysAllow", "IfHealthyBudget"];
        one_of(
            spec.unhealthy_pod_eviction_policy.as_deref(),
            POLICIES,
            &at.child("unhealthyPodEvictionPolicy"),
            errors,
        );
    }

    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            return self.validate(errors);
        }
        let at = Path::new("status");
        let Some(status) = &self.status else { return };
        conditions(status.conditions.as_ref(), &at.child("conditions"), errors);
        for (field, count) in [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ] {
            not_negative(count, &at.child(field), errors);
        }
    }

    fn columns() -> Vec<Column> {
        let amount = |name, words, field| {
            Column::text(name, words, move |budget| match budget.at(&["spec", field]) {
                Some(Value::String(text)) => text.clone().into(),
                Some(Value::Number(number)) => number.to_string().into(),
                _ => "N/A".into(),
            })
        };
        vec![
            Column::name(),
            amount("Min Available", "Pods that must stay.", "minAvailable"),
            amount("Max Unavailable", "Pods that may be missing.", "maxUnavailable"),
            Column::number("Allowed Disruptions", "Pods that may be taken away now.", |budget| {
                int(budget, &["status", "disruptionsAllowed"]).into()
            }),
            Column::age(),
        ]
    }
}

#[cfg(test)]
mod tests;
