//! What a HorizontalPodAutoscaler must be like. Counterpart of upstream's `pkg/apis/autoscaling/validation`.

use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscalerSpec,
        HorizontalPodAutoscalerStatus, MetricIdentifier, MetricSpec, MetricTarget,
    },
    apimachinery::pkg::api::resource::Quantity as Wire,
};

use api::quantity::Quantity;

use crate::builtin::{pod::validation::resources::container_resource_name, prelude::*};

const SOURCES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
/// The longest window that scaling decisions look back on.
const MAX_WINDOW: i32 = 3600;
/// The longest period of a scaling policy.
const MAX_PERIOD: i32 = 1800;

/// `old`: as it was, of which what is refused today may stay.
pub(super) fn spec(
    spec: &HorizontalPodAutoscalerSpec,
    old: Option<&HorizontalPodAutoscalerSpec>,
    errors: &mut Errors,
) {
    let at = Path::new("spec");
    let most_at = at.child("maxReplicas");
    let fewest = i32::from(old.is_none_or(|old| old.min_replicas != Some(0)));
    if let Some(least) = spec.min_replicas.filter(|n| *n < fewest) {
        let words = format!("must be greater than or equal to {fewest}");
        errors.invalid(&at.child("minReplicas"), least, words);
    }
    match spec.max_replicas {
        0 => errors.required(&most_at, "must be set and greater than 0"),
        ..0 => errors.invalid(&most_at, spec.max_replicas, "must be greater than or equal to 1"),
        _ => {}
    }
    if spec.min_replicas.is_some_and(|least| spec.max_replicas < least) {
        errors.invalid(&most_at, spec.max_replicas, "must be greater than or equal to `minReplicas`");
    }
    let target = &spec.scale_target_ref;
    reference(target, &at.child("scaleTargetRef"), errors);
    let is_same = |old: &CrossVersionObjectReference| {
        (&old.api_version, &old.kind) == (&target.api_version, &target.kind)
    };
    if !old.is_some_and(|old| is_same(&old.scale_target_ref)) {
        let in_group = target.kind != "ReplicationController";
        api_version(target, in_group, &at.child("scaleTargetRef.apiVersion"), errors);
    }
    let metrics_at = at.child("metrics");
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    for (i, metric) in metrics.iter().enumerate() {
        self::metric(metric, &metrics_at.index(i), errors);
        let was = old.and_then(|old| old.metrics.as_ref()?.get(i)?.object.as_ref());
        if let Some(object) = metric.object.as_ref().filter(|object| was != Some(object)) {
            let at = metrics_at.index(i).child("object.describedObject.apiVersion");
            api_version(&object.described_object, false, &at, errors);
        }
    }
    let outside = |metric: &MetricSpec| matches!(metric.type_.as_str(), "Object" | "External");
    if spec.min_replicas == Some(0) && !metrics.iter().any(outside) {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(&metrics_at, why);
    }
    if let Some(behavior) = &spec.behavior {
        let at = at.child("behavior");
        rules(behavior.scale_up.as_ref(), &at.child("scaleUp"), errors);
        rules(behavior.scale_down.as_ref(), &at.child("scaleDown"), errors);
    }
}

pub(super) fn status(status: &HorizontalPodAutoscalerStatus, errors: &mut Errors) {
    not_negative(status.current_replicas, &Path::new("status.currentReplicas"), errors);
    not_negative(Some(status.desired_replicas), &Path::new("status.desiredReplicas"), errors);
}

fn reference(reference: &CrossVersionObjectReference, at: &Path, errors: &mut Errors) {
    for (field, value) in [("kind", &reference.kind), ("name", &reference.name)] {
        let at = at.child(field);
        formed(value, path_segment, &at, errors);
    }
}

/// The version of something else; `in_group`: which must be in a group that has a name.
fn api_version(reference: &CrossVersionObjectReference, in_group: bool, at: &Path, errors: &mut Errors) {
    let given = reference.api_version.as_deref().unwrap_or_default();
    let slashes = given.matches('/').count();
    if slashes > 1 {
        errors.invalid(at, given, format!("unexpected GroupVersion string: {given}"));
    } else if in_group && (slashes == 0 || given.starts_with('/')) {
        errors.invalid(at, given, "apiVersion must specify API group");
    }
}

fn rules(rules: Option<&HPAScalingRules>, at: &Path, errors: &mut Errors) {
    let Some(rules) = rules else { return };
    let window_at = at.child("stabilizationWindowSeconds");
    if let Some(window) = rules.stabilization_window_seconds {
        if window < 0 {
            errors.invalid(&window_at, window, "must be greater than or equal to zero");
        }
        if window > MAX_WINDOW {
            errors.invalid(&window_at, window, format!("must be less than or equal to {MAX_WINDOW}"));
        }
    }
    if let Some(select) = rules.select_policy.as_deref()
        && !matches!(select, "Max" | "Min" | "Disabled")
    {
        errors.not_supported(&at.child("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    }
    let policies_at = at.child("policies");
    let policies = rules.policies.as_deref().unwrap_or_default();
    if policies.is_empty() {
        errors.required(&policies_at, "must specify at least one Policy");
    }
    for (at, policy) in policies_at.items(policies.iter()) {
        if !matches!(policy.type_.as_str(), "Pods" | "Percent") {
            errors.not_supported(&at.child("type"), &policy.type_, &["Percent", "Pods"]);
        }
        if policy.value <= 0 {
            errors.invalid(&at.child("value"), policy.value, "must be greater than zero");
        }
        let period_at = at.child("periodSeconds");
        if policy.period_seconds <= 0 {
            errors.invalid(&period_at, policy.period_seconds, "must be greater than zero");
        }
        if policy.period_seconds > MAX_PERIOD {
            let why = format!("must be less than or equal to {MAX_PERIOD}");
            errors.invalid(&period_at, policy.period_seconds, why);
        }
    }
    if let Some(tolerance) = &rules.tolerance
        && sign(tolerance) < 0
    {
        errors.invalid(&at.child("tolerance"), &tolerance.0, NOT_NEGATIVE);
    }
}

/// A source, if it is there and the first; its name is added to those that are.
fn first<'a, T>(name: &'static str, source: &'a Option<T>, present: &mut Vec<&'static str>) -> Option<&'a T> {
    source.as_ref().inspect(|_| present.push(name)).filter(|_| present.len() == 1)
}

fn metric(metric: &MetricSpec, at: &Path, errors: &mut Errors) {
    let kind = metric.type_.as_str();
    if kind.is_empty() {
        errors.required(&at.child("type"), "must specify a metric source type");
    }
    one_of(kind, SOURCES, &at.child("type"), errors);
    let mut present: Vec<&str> = Vec::new();
    if let Some(source) = first("object", &metric.object, &mut present) {
        let at = at.child("object");
        reference(&source.described_object, &at.child("describedObject"), errors);
        identifier(&source.metric, &at.child("metric"), errors);
        let target_at = target(&source.target, &at, errors);
        if source.target.value.is_none() && source.target.average_value.is_none() {
            let why = "must set either a target value or averageValue";
            errors.required(&target_at.child("averageValue"), why);
        }
    }
    if let Some(source) = first("external", &metric.external, &mut present) {
        let at = at.child("external");
        identifier(&source.metric, &at.child("metric"), errors);
        let target_at = target(&source.target, &at, errors);
        if source.target.value.is_none() && source.target.average_value.is_none() {
            let why = "must set either a target value for metric or a per-pod target";
            errors.required(&target_at.child("averageValue"), why);
        }
        if source.target.value.is_some() && source.target.average_value.is_some() {
            let why = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&target_at.child("value"), why);
        }
    }
    if let Some(source) = first("pods", &metric.pods, &mut present) {
        let at = at.child("pods");
        identifier(&source.metric, &at.child("metric"), errors);
        let target_at = target(&source.target, &at, errors);
        if source.target.average_value.is_none() {
            errors.required(&target_at.child("averageValue"), "must specify a positive target averageValue");
        }
    }
    if let Some(source) = first("resource", &metric.resource, &mut present) {
        let at = at.child("resource");
        resource_named(&source.name, &at, errors);
        of_resource(&source.target, &at, errors);
    }
    if let Some(source) = first("containerResource", &metric.container_resource, &mut present) {
        let at = at.child("containerResource");
        resource_named(&source.name, &at, errors);
        if !source.name.is_empty() {
            container_resource_name(&source.name, &at.child("name"), errors);
        }
        let container_at = at.child("container");
        if source.container.is_empty() {
            errors.required(&container_at, "must specify a container");
        } else {
            each(errors, &container_at, &source.container, dns_label(&source.container));
        }
        of_resource(&source.target, &at, errors);
    }
    let expected = match kind {
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "External" => "external",
        _ => return errors.not_supported(&at.child("type"), kind, SOURCES),
    };
    if !present.contains(&expected) {
        let why = "must populate information for the given metric source";
        errors.required(&at.child(expected), why);
    }
    if present.len() != 1 {
        for other in present.into_iter().filter(|p| *p != expected) {
            errors.forbidden(&at.child(other), "must populate the given metric source only");
        }
    }
}

fn resource_named(name: &str, at: &Path, errors: &mut Errors) {
    if name.is_empty() {
        errors.required(&at.child("name"), "must specify a resource name");
    }
}

fn of_resource(wanted: &MetricTarget, at: &Path, errors: &mut Errors) {
    let target_at = target(wanted, at, errors);
    if wanted.average_utilization.is_none() && wanted.average_value.is_none() {
        let why = "must set either a target raw value or a target utilization";
        errors.required(&target_at.child("averageUtilization"), why);
    }
    if wanted.average_utilization.is_some() && wanted.average_value.is_some() {
        let why = "may not set both a target raw value and a target utilization";
        errors.forbidden(&target_at.child("averageValue"), why);
    }
}

fn identifier(metric: &MetricIdentifier, at: &Path, errors: &mut Errors) {
    let name_at = at.child("name");
    if metric.name.is_empty() {
        errors.required(&name_at, "must specify a metric name");
    } else {
        each(errors, &name_at, &metric.name, path_segment(&metric.name));
    }
    // Nobody looks at the selector.
}

/// Checks the target below `at`; answers its path.
fn target(target: &MetricTarget, at: &Path, errors: &mut Errors) -> Path {
    let at = at.child("target");
    let kind = target.type_.as_str();
    if kind.is_empty() {
        errors.required(&at.child("type"), "must specify a metric target type");
    }
    if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.invalid(&at.child("type"), kind, why);
    }
    for (field, value) in [("value", &target.value), ("averageValue", &target.average_value)] {
        if let Some(value) = value
            && sign(value) <= 0
        {
            errors.invalid(&at.child(field), &value.0, "must be positive");
        }
    }
    if let Some(percent) = target.average_utilization.filter(|n| *n < 1) {
        errors.invalid(&at.child("averageUtilization"), percent, "must be greater than 0");
    }
    at
}

/// Below, at or above zero; a text that is no quantity cannot get this far.
fn sign(wire: &Wire) -> i32 {
    let zero = Quantity::default();
    wire.0.parse::<Quantity>().map_or(0, |q| q.cmp(&zero) as i32)
}
