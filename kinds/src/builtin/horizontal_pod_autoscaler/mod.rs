//! HorizontalPodAutoscaler: how many replicas a workload gets, by what is measured.
//!
//! autoscaling/v2 is what is stored; autoscaling/v1 is a view of it ([`v1`]).

mod v1;
mod validation;

use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec,
    MetricTarget, ResourceMetricSource,
};

pub use v1::ViaAnnotations;

use crate::builtin::prelude::*;

/// The processor use, in percent of what is requested, that is aimed at unless something else is said.
const DEFAULT_UTILIZATION: i32 = 80;
/// How many metrics the table shows.
const SHOWN: usize = 2;

impl Strategy for HorizontalPodAutoscaler {
    const ALWAYS_THERE: &'static [&'static str] = &["/status/currentMetrics"];
    fn fill_in(&mut self) {
        let spec = &mut self.spec;
        set(&mut spec.min_replicas, 1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            spec.metrics = Some(vec![default_metric()]);
        }
        if let Some(behavior) = &mut spec.behavior {
            let up = vec![policy("Pods", 4), policy("Percent", 100)];
            complete(behavior.scale_up.get_or_insert_default(), Some(0), up);
            complete(behavior.scale_down.get_or_insert_default(), None, vec![policy("Percent", 100)]);
        }
        let status = self.status.get_or_insert_default();
        absent_when_zero(&mut status.current_replicas);
        absent_when_zero(&mut status.current_metrics);
    }

    fn prepare_create(autoscaler: &mut Draft<Self>) {
        // The older version tells of a status in annotations, too.
        autoscaler.status = Some(HorizontalPodAutoscalerStatus::default());
    }

    fn validate(&self, errors: &mut Errors) {
        validation::spec(&self.spec, None, errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        match (part, &self.status) {
            (Part::Status, Some(status)) => validation::status(status, errors),
            _ => validation::spec(&self.spec, Some(&old.spec), errors),
        }
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::text("Reference", "What is scaled.", |scaler| {
                let target = |field| scaler.str_at(&["spec", "scaleTargetRef", field]);
                format!("{}/{}", target("kind"), target("name")).into()
            }),
            Column::text("Targets", "What is measured, and what is aimed at.", |scaler| {
                targets(scaler).into()
            }),
            Column::text("MinPods", "The fewest replicas.", |scaler| {
                let fewest = scaler.at(&["spec", "minReplicas"]).and_then(Value::as_i64);
                fewest.map_or("<unset>".into(), |n| n.to_string()).into()
            }),
            Column::text("MaxPods", "The most replicas.", |scaler| {
                int(scaler, &["spec", "maxReplicas"]).into()
            }),
            Column::text("Replicas", "The replicas there are.", |scaler| {
                int(scaler, &["status", "currentReplicas"]).into()
            }),
            Column::age(),
        ]
    }
}

fn default_metric() -> MetricSpec {
    let target = MetricTarget {
        type_: "Utilization".into(),
        average_utilization: Some(DEFAULT_UTILIZATION),
        ..MetricTarget::default()
    };
    MetricSpec {
        type_: "Resource".into(),
        resource: Some(ResourceMetricSource { name: "cpu".into(), target }),
        ..MetricSpec::default()
    }
}

fn policy(kind: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy { type_: kind.into(), value, period_seconds: 15 }
}

fn complete(rules: &mut HPAScalingRules, window: Option<i32>, policies: Vec<HPAScalingPolicy>) {
    if rules.stabilization_window_seconds.is_none() {
        rules.stabilization_window_seconds = window;
    }
    set(&mut rules.select_policy, "Max");
    set(&mut rules.policies, policies);
}

/// The first metrics as `what: is/wanted`.
fn targets(object: &Value) -> String {
    let metrics = object.list_at(&["spec", "metrics"]);
    if metrics.is_empty() {
        return "<none>".into();
    }
    let current = object.list_at(&["status", "currentMetrics"]);
    let shown: Vec<String> = metrics
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(i, metric)| shown(metric, current.get(i).unwrap_or(&Value::Null)))
        .collect();
    let shown = shown.join(", ");
    match metrics.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn shown(metric: &Value, status: &Value) -> String {
    let source = match metric.str_at(&["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".into(),
    };
    let number = |from: &Value, path: &[&str]| match from.at(path) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(n)) => Some(n.to_string()),
        _ => None,
    };
    let wanted = |field| number(metric, &[source, "target", field]);
    let is = |field| number(status, &[source, "current", field]).unwrap_or("<unknown>".into());
    let average = wanted("averageValue");
    if matches!(source, "resource" | "containerResource") {
        let name = metric.str_at(&[source, "name"]);
        return match average {
            Some(wanted) => format!("{name}: {}/{wanted}", is("averageValue")),
            None => {
                let percent = |n: String| if n.starts_with('<') { n } else { format!("{n}%") };
                let wanted = wanted("averageUtilization").map_or("<auto>".into(), percent);
                format!("{name}: {}/{wanted}", percent(is("averageUtilization")))
            }
        };
    }
    match average {
        Some(wanted) if source == "pods" => format!("{}/{wanted}", is("averageValue")),
        Some(wanted) => format!("{}/{wanted} (avg)", is("averageValue")),
        None => format!("{}/{}", is("value"), wanted("value").unwrap_or("0".into())),
    }
}

#[cfg(test)]
mod tests;
