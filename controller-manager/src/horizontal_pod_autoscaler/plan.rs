//! What an autoscaler decides, and what it says of that. Pure; reasons and messages are upstream's.

use std::cmp::Ordering;
use std::sync::Arc;

use api::quantity::Quantity;
use api::{Message, conditions, message};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;

use super::limits::{Bounded, History, bound};
use super::replicas::{Metric, PodMetrics, Proposal, Target, Tolerance};
use crate::frame::{Timestamp, api_time};

/// The part of the target by which use may differ from it.
const TOLERANCE: f64 = 0.1;

/// Replicas of the target, and the pods they are.
pub struct Observed {
    /// The replicas that are asked for.
    pub replicas: i32,
    /// The pods, or why the selector selects none to be judged: event and condition.
    pub pods: Result<Vec<Arc<Pod>>, [(&'static str, String); 2]>,
    /// What the metrics API tells of pods, or why it does not.
    pub measured: Result<Vec<PodMetrics>, Message>,
}

/// A decision.
pub struct Decision {
    /// What the autoscaler is to say.
    pub status: HorizontalPodAutoscalerStatus,
    /// Events: whether they warn, reason and message.
    pub events: Vec<(bool, &'static str, String)>,
    /// The replicas there are to be, where that is another number, and why.
    pub rescale: Option<(i32, String)>,
    now: Timestamp,
}

impl Decision {
    fn new(scaler: &HorizontalPodAutoscaler, now: Timestamp) -> Self {
        let status = scaler.status.clone().unwrap_or_default();
        Self { status, events: Vec::new(), rescale: None, now }
    }

    fn say(&mut self, kind: &str, holds: bool, reason: &str, message: impl Into<String>) {
        let condition = HorizontalPodAutoscalerCondition {
            type_: kind.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            last_transition_time: Some(api_time(self.now)),
        };
        conditions::set(self.status.conditions.get_or_insert_default(), condition);
    }

    fn warn(&mut self, reason: &'static str, message: impl Into<String>) {
        self.events.push((true, reason, message.into()));
    }

    /// What is decided when the target's replicas are not known.
    pub fn without_scale(scaler: &HorizontalPodAutoscaler, why: &str, now: Timestamp) -> Self {
        let mut decision = Self::new(scaler, now);
        decision.warn("FailedGetScale", why);
        let message = format!("the HPA controller was unable to get the target's current scale: {why}");
        decision.say("AbleToScale", false, "FailedGetScale", message);
        decision
    }

    /// What is said once the replicas were changed, or could not be.
    pub fn rescaled(&mut self, from: i32, done: Result<(), Message>) {
        let Some((to, reason)) = self.rescale.take() else { return };
        match done {
            Ok(()) => {
                let message = format!("the HPA controller was able to update the target scale to {to}");
                self.say("AbleToScale", true, "SucceededRescale", message);
                self.events.push((false, "SuccessfulRescale", format!("New size: {to}; reason: {reason}")));
                self.status.last_scale_time = Some(api_time(self.now));
                self.status.desired_replicas = to;
            }
            Err(why) => {
                self.warn("FailedRescale", format!("New size: {to}; reason: {reason}; error: {why}"));
                let message = format!("the HPA controller was unable to update the target scale: {why}");
                self.say("AbleToScale", false, "FailedUpdateScale", message);
            }
        }
        self.status.current_replicas = Some(from);
    }
}

/// Decides.
pub fn decide(
    scaler: &HorizontalPodAutoscaler,
    observed: &Observed,
    history: &mut History,
    now: Timestamp,
) -> Decision {
    let mut decision = Decision::new(scaler, now);
    let current = observed.replicas;
    let (fewest, most) = (scaler.spec.min_replicas.unwrap_or(1), scaler.spec.max_replicas);
    decision.say(
        "AbleToScale",
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    history.begin(current, now);
    decision.status.current_replicas = Some(current);
    if current == 0 {
        let why = "scaling is disabled since the replica count of the target is zero";
        decision.say("ScalingActive", false, "ScalingDisabled", why);
        decision.status.current_metrics = None;
        decision.status.desired_replicas = 0;
        return decision;
    }
    let outside = match current {
        _ if current > most => Some((most, "Current number of replicas above Spec.MaxReplicas")),
        _ if current < fewest => Some((fewest, "Current number of replicas below Spec.MinReplicas")),
        _ => None,
    };
    if let Some((to, why)) = outside {
        decision.status.current_metrics = None;
        decision.rescale = Some((to, why.to_owned()));
        return decision;
    }
    let Some((asked, by)) = measure(scaler, observed, &mut decision) else { return decision };
    let Bounded { replicas, able, limited } = bound(&scaler.spec, current, asked, history, now);
    decision.say("AbleToScale", true, able.0, able.1);
    decision.say("ScalingLimited", limited.0, limited.1.0, limited.1.1);
    if replicas == current {
        decision.status.desired_replicas = current;
        return decision;
    }
    let why = match asked.cmp(&current) {
        Ordering::Greater => format!("{by} above target"),
        Ordering::Less => "All metrics below target".to_owned(),
        Ordering::Equal => String::new(),
    };
    decision.rescale = Some((replicas, why));
    decision
}

/// The replicas that the metrics ask for: the most of them, and what asks for so many. Nothing when too little is known.
fn measure(
    scaler: &HorizontalPodAutoscaler,
    observed: &Observed,
    decision: &mut Decision,
) -> Option<(i32, String)> {
    let pods = match &observed.pods {
        Ok(pods) => pods,
        Err([(reason, event), (condition, message)]) => {
            decision.warn(reason, event.clone());
            decision.say("ScalingActive", false, condition, message.clone());
            decision.warn("FailedComputeMetricsReplicas", event.clone());
            decision.status.current_metrics = None;
            return None;
        }
    };
    let specs = scaler.spec.metrics.as_deref().unwrap_or_default();
    let mut statuses = vec![MetricStatus::default(); specs.len()];
    let mut most: Option<(i32, String)> = None;
    let mut first: Option<(&'static str, String, String)> = None;
    let mut failed = 0;
    for (spec, status) in specs.iter().zip(&mut statuses) {
        match propose(scaler, spec, pods, observed, decision.now) {
            Ok((replicas, name, told)) => {
                *status = told;
                if most.as_ref().is_none_or(|(known, _)| replicas > *known) {
                    most = Some((replicas, name));
                }
            }
            Err((reason, what, why)) => {
                decision.warn(reason, why.clone());
                failed += 1;
                first.get_or_insert((reason, what, why));
            }
        }
    }
    decision.status.current_metrics = Some(statuses);
    // With some of the metrics unknown there may be more replicas, and never fewer.
    let enough = most.filter(|(replicas, _)| first.is_none() || *replicas >= observed.replicas);
    if let Some((_, by)) = &enough {
        let message = format!("the HPA was able to successfully calculate a replica count from {by}");
        decision.say("ScalingActive", true, "ValidMetricFound", message);
    } else if let Some((reason, what, why)) = first {
        let message = format!("the HPA was unable to compute the replica count: {why}");
        decision.say("ScalingActive", false, reason, message);
        let all = specs.len();
        let message =
            format!("invalid metrics ({failed} invalid out of {all}), first error is: {what}: {why}");
        decision.warn("FailedComputeMetricsReplicas", message);
    }
    enough
}

/// What one metric asks for, its name and what it says now; or the reason of a failure, what failed and why.
type Proposed = Result<(i32, String, MetricStatus), (&'static str, String, String)>;

fn propose(
    scaler: &HorizontalPodAutoscaler,
    spec: &MetricSpec,
    pods: &[Arc<Pod>],
    observed: &Observed,
    now: Timestamp,
) -> Proposed {
    let (resource, container, target) = match (&spec.resource, &spec.container_resource) {
        (Some(source), _) => (&source.name, None, &source.target),
        (_, Some(source)) => (&source.name, Some(&*source.container), &source.target),
        _ => return Err(unserved(scaler, spec)),
    };
    let proposed = || {
        let (target, verb, name) = aim(resource, container, target)?;
        let metric = Metric { resource, container, target, tolerance: tolerance(scaler) };
        let proposed = match &observed.measured {
            Ok(measured) => metric.propose(pods, metric.samples(measured), observed.replicas, now),
            Err(why) => Err(message!("unable to get metrics for resource {resource}: {why}")),
        };
        proposed
            .map(|proposal| (proposal, name))
            .map_err(|why| format!("failed to get {resource} {verb}: {why}"))
    };
    let (proposal, name) = proposed().map_err(|why| match container {
        None => ("FailedGetResourceMetric", format!("failed to get {resource} resource metric value"), why),
        Some(container) => {
            let what = format!("failed to get {container} container metric value");
            ("FailedGetContainerResourceMetric", what, why)
        }
    })?;
    let (current, of) = (told(resource, &proposal), resource.clone());
    let mut status = MetricStatus { type_: spec.type_.clone(), ..MetricStatus::default() };
    match container.map(str::to_owned) {
        None => status.resource = Some(ResourceMetricStatus { name: of, current }),
        Some(container) => {
            status.container_resource = Some(ContainerResourceMetricStatus { name: of, container, current });
        }
    }
    Ok((proposal.replicas, name, status))
}

/// What is said of metrics that nobody serves to us.
fn unserved(scaler: &HorizontalPodAutoscaler, spec: &MetricSpec) -> (&'static str, String, String) {
    const CUSTOM: &str = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
    let namespace = scaler.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(pods) = &spec.pods {
        let why = format!("unable to get metric {}: {CUSTOM}", pods.metric.name);
        return ("FailedGetPodsMetric", "failed to get pods metric value".to_owned(), why);
    }
    if let Some(object) = &spec.object {
        let (name, of) = (&object.metric.name, &object.described_object);
        let why = format!("unable to get metric {name}: {CUSTOM} on {} {namespace}/{}", of.kind, of.name);
        return ("FailedGetObjectMetric", "failed to get object metric value".to_owned(), why);
    }
    let name = spec.external.as_ref().map_or("", |external| external.metric.name.as_str());
    let why = format!(
        "unable to get external metric {namespace}/{name}: unable to fetch metrics from external metrics API: \
         the server could not find the requested resource (get {name}.external.metrics.k8s.io)"
    );
    ("FailedGetExternalMetric", format!("failed to get {name} external metric value"), why)
}

/// What a target aims at, what of the resource that is, and what it is called.
fn aim(
    resource: &str,
    container: Option<&str>,
    target: &MetricTarget,
) -> Result<(Target, &'static str, String), Message> {
    if let Some(average) = &target.average_value {
        let milli = Quantity::of(average).milli_value();
        return Ok((Target::Average(milli), "usage", format!("{resource} resource")));
    }
    let Some(percent) = target.average_utilization else {
        return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".into());
    };
    let of = if container.is_some() { "container resource" } else { "resource" };
    Ok((
        Target::Utilization(percent),
        "utilization",
        format!("{resource} {of} utilization (percentage of request)"),
    ))
}

fn tolerance(scaler: &HorizontalPodAutoscaler) -> Tolerance {
    let behavior = scaler.spec.behavior.as_ref();
    let said = |rules: Option<&k8s_openapi::api::autoscaling::v2::HPAScalingRules>| {
        let tolerance = rules.and_then(|rules| rules.tolerance.as_ref());
        tolerance.map_or(TOLERANCE, |tolerance| Quantity::of(tolerance).as_f64())
    };
    Tolerance {
        down: said(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        up: said(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
    }
}

fn told(resource: &str, proposal: &Proposal) -> MetricValueStatus {
    let milli = proposal.average;
    let average = match resource {
        "memory" if milli % 1000 == 0 => Quantity::bytes(milli / 1000),
        _ => Quantity::milli(milli),
    };
    MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(average.wire()),
        value: None,
    }
}
