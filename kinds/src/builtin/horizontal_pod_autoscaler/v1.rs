//! autoscaling/v1: one processor target, and everything else in annotations.
//!
//! The annotations have upstream's names and forms. An autoscaler that is written in this version has its
//! processor target first among its metrics from then on.

use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use serde_json::{Map, json};

use crate::builtin::prelude::*;
use crate::kind::version::Convert;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

impl Strategy for HorizontalPodAutoscaler {
    fn fill_in(&mut self) {
        self.status.get_or_insert_default();
    }
}

/// Between autoscaling/v1 and autoscaling/v2.
pub struct ViaAnnotations;

impl Convert for ViaAnnotations {
    fn stored_form(&self, object: &mut Value) {
        let mut taken = |name: &str| {
            let annotations = object.pointer_mut("/metadata/annotations")?.as_object_mut()?;
            serde_json::from_str::<Value>(annotations.remove(name)?.as_str()?).ok()
        };
        let (metrics, current) = (taken(METRICS), taken(CURRENT_METRICS));
        let (conditions, behavior) = (taken(CONDITIONS), taken(BEHAVIOR));
        drop_empty_annotations(object);
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            let processor = spec.remove("targetCPUUtilizationPercentage").filter(|n| !n.is_null());
            let processor = processor.map(|percent| processor_metric("target", percent));
            let others = metrics.as_ref().and_then(Value::as_array).into_iter().flatten().map(from_flat);
            let all: Vec<Value> = processor.into_iter().chain(others).collect();
            if !all.is_empty() {
                spec.insert("metrics".into(), all.into());
            }
            if let Some(behavior) = behavior.filter(Value::is_object) {
                spec.insert("behavior".into(), recased(&behavior, |c| c.to_ascii_lowercase()));
            }
        }
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            if status.get("currentReplicas").and_then(Value::as_i64) == Some(0) {
                status.remove("currentReplicas");
            }
            let percent = status.remove("currentCPUUtilizationPercentage").filter(|n| !n.is_null());
            let measured = match current.as_ref().and_then(Value::as_array) {
                Some(current) => Value::Array(current.iter().map(from_flat).collect()),
                None => percent.map_or(Value::Null, |n| json!([processor_metric("current", n)])),
            };
            status.insert("currentMetrics".into(), measured);
            if let Some(conditions) = conditions.filter(Value::is_array) {
                status.insert("conditions".into(), conditions);
            }
        }
    }

    fn own_form(&self, object: &mut Value) {
        let mut kept: Vec<(&str, Value)> = Vec::new();
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            let metrics = spec.remove("metrics");
            let metrics = metrics.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if let Some(percent) = metrics.iter().find_map(|m| processor_percent(m, "target")) {
                spec.insert("targetCPUUtilizationPercentage".into(), percent.clone());
            }
            let others = metrics.iter().filter(|m| processor_percent(m, "target").is_none());
            let others: Vec<Value> = others.map(|m| flat(m, "target")).collect();
            if !others.is_empty() {
                kept.push((METRICS, others.into()));
            }
            if let Some(behavior) = spec.remove("behavior").filter(Value::is_object) {
                kept.push((BEHAVIOR, recased(&behavior, |c| c.to_ascii_uppercase())));
            }
        }
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            let current = status.remove("currentMetrics");
            let current = current.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if let Some(percent) = current.iter().find_map(|m| processor_percent(m, "current")) {
                status.insert("currentCPUUtilizationPercentage".into(), percent.clone());
            }
            if !current.is_empty() {
                kept.push((CURRENT_METRICS, current.iter().map(|m| flat(m, "current")).collect()));
            }
            if let Some(conditions) =
                status.remove("conditions").filter(|c| c.as_array().is_some_and(|c| !c.is_empty()))
            {
                kept.push((CONDITIONS, conditions));
            }
            status.entry("currentReplicas").or_insert(0.into());
        }
        for (name, value) in kept {
            let annotations = object.metadata_mut().entry("annotations").or_insert_with(|| json!({}));
            if let Some(map) = annotations.as_object_mut() {
                map.insert(name.into(), value.to_string().into());
            }
        }
    }

    fn selectable_field(&self, _label: &str) -> Option<&'static str> {
        None
    }
}

fn drop_empty_annotations(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty)
    {
        metadata.remove("annotations");
    }
}

/// `side` is `target` or `current`, and so everywhere below.
fn processor_metric(side: &str, percent: Value) -> Value {
    let mut value = json!({"averageUtilization": percent});
    if side == "target" {
        value["type"] = "Utilization".into();
    }
    json!({"type": "Resource", "resource": {"name": "cpu", side: value}})
}

fn processor_percent<'a>(metric: &'a Value, side: &str) -> Option<&'a Value> {
    (metric.str_at(&["type"]) == "Resource" && metric.str_at(&["resource", "name"]) == "cpu")
        .then(|| metric.at(&["resource", side, "averageUtilization"]))
        .flatten()
        .filter(|n| !n.is_null())
}

/// The field of a metric that holds what is particular to its type.
fn source(metric: &Value) -> Option<&'static str> {
    Some(match metric.str_at(&["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return None,
    })
}

/// What the annotations call the values of a metric.
fn flat_names(source: &str, side: &str) -> [(&'static str, &'static str); 3] {
    let average = match (source, side) {
        ("object", _) => "averageValue",
        (_, "target") => "targetAverageValue",
        _ => "currentAverageValue",
    };
    if side == "target" {
        [
            ("averageUtilization", "targetAverageUtilization"),
            ("averageValue", average),
            ("value", "targetValue"),
        ]
    } else {
        [
            ("averageUtilization", "currentAverageUtilization"),
            ("averageValue", average),
            ("value", "currentValue"),
        ]
    }
}

fn selector_name(source: &str) -> &'static str {
    if source == "external" { "metricSelector" } else { "selector" }
}

/// A metric in the form of the annotations.
fn flat(metric: &Value, side: &str) -> Value {
    let Some(source) = source(metric) else { return metric.clone() };
    let Some(details) = metric.get(source).and_then(Value::as_object) else { return metric.clone() };
    let mut flat = Map::new();
    for (field, value) in details {
        match field.as_str() {
            "metric" => {
                flat.insert("metricName".into(), value.str_at(&["name"]).into());
                if let Some(selector) = value.get("selector") {
                    flat.insert(selector_name(source).into(), selector.clone());
                }
            }
            "describedObject" => {
                flat.insert("target".into(), value.clone());
            }
            field if field == side => {
                for (name, flat_name) in flat_names(source, side) {
                    if let Some(value) = value.get(name) {
                        flat.insert(flat_name.into(), value.clone());
                    }
                }
            }
            _ => {
                flat.insert(field.clone(), value.clone());
            }
        }
    }
    json!({"type": metric["type"], source: flat})
}

/// A metric, or what was measured, out of the form of the annotations.
fn from_flat(metric: &Value) -> Value {
    let Some(source) = source(metric) else { return metric.clone() };
    let Some(flat) = metric.get(source).and_then(Value::as_object) else { return metric.clone() };
    let is_current = flat.keys().any(|k| k.starts_with("current"));
    let side = if is_current { "current" } else { "target" };
    let mut details = Map::new();
    let mut values = Map::new();
    for (field, value) in flat {
        let named = flat_names(source, side).into_iter().find(|(_, flat)| flat == field);
        if let Some((name, _)) = named {
            values.insert(name.into(), value.clone());
        } else if field == "metricName" {
            let mut identifier = json!({"name": value});
            if let Some(selector) = flat.get(selector_name(source)) {
                identifier["selector"] = selector.clone();
            }
            details.insert("metric".into(), identifier);
        } else if field == "target" && source == "object" {
            details.insert("describedObject".into(), value.clone());
        } else if field != selector_name(source) {
            details.insert(field.clone(), value.clone());
        }
    }
    if side == "target" {
        let kind = match () {
            () if values.contains_key("averageUtilization") => "Utilization",
            () if values.contains_key("averageValue") => "AverageValue",
            () => "Value",
        };
        values.insert("type".into(), kind.into());
    }
    details.insert(side.into(), values.into());
    json!({"type": metric["type"], source: details})
}

/// All names with their first letter in another case: the annotation of the behavior has Go's names.
fn recased(value: &Value, case: impl Fn(char) -> char + Copy) -> Value {
    match value {
        Value::Object(map) => {
            let renamed = map.iter().filter(|(_, v)| !v.is_null()).map(|(name, value)| {
                let mut letters = name.chars();
                let first = letters.next().map(case).into_iter();
                (first.chain(letters).collect(), recased(value, case))
            });
            Value::Object(renamed.collect())
        }
        Value::Array(items) => items.iter().map(|item| recased(item, case)).collect(),
        other => other.clone(),
    }
}
