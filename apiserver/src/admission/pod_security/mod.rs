//! Holds pods to the standards that their namespace's labels name (`pod-security.kubernetes.io/enforce`), and warns the
//! authors of pods and of workloads (`warn`), or the reader of the audit log (`audit`).
//!
//! Counterpart of upstream's `pod-security-admission`.

mod checks;
mod standard;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::Value;

use super::{Operation, Step, Verb, request::apart};
use crate::{
    forms::value,
    resources::{
        BuiltIn, CRON_JOBS, DAEMON_SETS, DEPLOYMENTS, JOBS, NAMESPACES, POD_TEMPLATES, PODS, REPLICA_SETS,
        REPLICATION_CONTROLLERS, STATEFUL_SETS,
    },
    watch_cache::{Objects, Scope},
};
use checks::{Pod, Violation, violations};
use standard::{Level, PREFIX, Policy, Standard};

/// Where pods, or what pods are made from, are in objects.
const TEMPLATES: &[(BuiltIn, &[&str])] = &[
    (PODS, &[]),
    (POD_TEMPLATES, &["template"]),
    (REPLICATION_CONTROLLERS, &["spec", "template"]),
    (REPLICA_SETS, &["spec", "template"]),
    (DEPLOYMENTS, &["spec", "template"]),
    (STATEFUL_SETS, &["spec", "template"]),
    (DAEMON_SETS, &["spec", "template"]),
    (JOBS, &["spec", "template"]),
    (CRON_JOBS, &["spec", "jobTemplate", "spec", "template"]),
];
/// What of a pod changes nothing that pods are held to.
const IGNORED: &[&str] = &["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];
/// How many pods of a namespace are looked at when it is held to more, and for how long.
const MOST: usize = 3000;
const LONGEST: Duration = Duration::from_secs(1);

/// The step.
pub struct PodSecurity;

#[async_trait]
impl Step for PodSecurity {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        matches!(operation.verb, Verb::Create | Verb::Update)
            && match operation.subresource() {
                Some(part) => PODS.is(&operation.ctx.kind) && !IGNORED.contains(&part),
                None => operation.is_of(NAMESPACES) || template(operation).is_some(),
            }
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let Some(new) = operation.new.as_deref() else { return Ok(()) };
        match (template(operation), operation.ctx.path.namespace.as_deref()) {
            (Some(path), Some(namespace)) => workload(operation, namespace, new.at(path)).await,
            _ => namespace(operation, new).await,
        }
    }
}

fn template(operation: &Operation<'_>) -> Option<&'static [&'static str]> {
    TEMPLATES.iter().find(|(resource, _)| resource.is(&operation.ctx.kind)).map(|(_, path)| *path)
}

fn policy(namespace: &Value) -> Policy {
    let labels = namespace.metadata().and_then(|m| m.get("labels")).and_then(Value::as_object);
    Policy::of(
        labels.into_iter().flatten().filter_map(|(label, value)| Some((label.as_str(), value.as_str()?))),
    )
}

/// Judges a pod, and warns of one that is to be made from a template.
async fn workload(operation: &Operation<'_>, namespace: &str, pod: Option<&Value>) -> Result<(), Status> {
    let api = &operation.ctx.api;
    let policy = match api.cached(NAMESPACES, namespace) {
        Some(cached) => Policy::of(cached.labels()),
        None => policy(&api.stored(NAMESPACES, namespace).await?.unwrap_or_default()),
    };
    let Some(pod) = pod.filter(|pod| pod.is_object()) else { return Ok(()) };
    let is_pod = PODS.is(&operation.ctx.kind);
    if is_pod && operation.old.is_some_and(|old| !is_significant(pod, old)) {
        return Ok(());
    }
    let pod = Pod(pod);
    if operation.ctx.trail.is_kept() {
        tell(operation, &policy, &pod, is_pod);
    }
    let enforced = if is_pod { violations(policy.enforce, &pod) } else { Vec::new() };
    if !enforced.is_empty() {
        let told = in_detail(&enforced);
        return Err(operation.forbidden(format!("violates PodSecurity \"{}\": {told}", policy.enforce)));
    }
    let warned = violations(policy.warn, &pod);
    if !warned.is_empty() {
        let told = in_detail(&warned);
        operation.ctx.warnings.add([format!("would violate PodSecurity \"{}\": {told}", policy.warn)]);
    }
    Ok(())
}

/// Tells the audit log what a pod, or one that is to be made, is held to, and what of it is not as it should be.
fn tell(operation: &Operation<'_>, policy: &Policy, pod: &Pod<'_>, is_pod: bool) {
    let note = |what: &str, words: String| operation.ctx.trail.annotate(format!("{PREFIX}{what}"), words);
    let held = [policy.audit, policy.warn, policy.enforce];
    let is_free = |standard: &Standard| standard.level == Level::Privileged;
    if policy.wrong.is_empty() && held.iter().take(if is_pod { 3 } else { 2 }).all(is_free) {
        return;
    }
    if let Some(why) = policy.wrong.aggregate() {
        note("error", format!("Failed to parse policy: {why}"));
    }
    if is_pod {
        note("enforce-policy", policy.enforce.to_string());
    }
    let found = violations(policy.audit, pod);
    if !found.is_empty() {
        let told = in_detail(&found);
        note("audit-violations", format!("would violate PodSecurity \"{}\": {told}", policy.audit));
    }
}

fn in_detail(violations: &[Violation]) -> String {
    let told: Vec<String> =
        violations.iter().map(|(reason, detail)| format!("{reason} ({detail})")).collect();
    told.join(", ")
}

/// Whether a pod's containers are others, or of other images: nothing else that matters can change.
fn is_significant(new: &Value, old: &Value) -> bool {
    let images = |pod: &Value, list: &str| -> Vec<Value> {
        pod.list_at(&["spec", list]).iter().map(|container| container["image"].clone()).collect()
    };
    let debuggers = |pod: &Value| -> BTreeSet<(String, String)> {
        let all = pod.list_at(&["spec", "ephemeralContainers"]).iter();
        all.map(|c| (c.str_at(&["name"]).to_owned(), c.str_at(&["image"]).to_owned())).collect()
    };
    ["containers", "initContainers"].iter().any(|list| images(new, list) != images(old, list))
        || !debuggers(new).is_subset(&debuggers(old))
}

/// Judges a namespace's labels, and warns of the pods in it that it would not let in any more.
async fn namespace(operation: &Operation<'_>, new: &Value) -> Result<(), Status> {
    let policy = policy(new);
    let old = operation.old.map(self::policy);
    if !policy.wrong.is_empty() && old.as_ref().is_none_or(|old| old.wrong != policy.wrong) {
        return Err(Status::invalid("Namespace", "", operation.object_name(), &policy.wrong));
    }
    let Some(old) = old else { return Ok(()) };
    let (wanted, had) = (policy.enforce, old.enforce);
    let is_relaxed = wanted.version == had.version && wanted.level <= had.level;
    if wanted.level == Level::Privileged || is_relaxed {
        return Ok(());
    }
    let (pods, name) = (operation.ctx.api.objects(PODS), new.name().to_owned());
    let until = Instant::now() + LONGEST;
    let warnings = apart(move || standing(&pods, &name, wanted, until)).await?;
    operation.ctx.warnings.add(warnings);
    Ok(())
}

/// What is told of the pods that are there already.
fn standing(pods: &Objects, namespace: &str, standard: Standard, until: Instant) -> Vec<String> {
    let scope = Scope::Namespace(namespace.to_owned());
    let all = pods.scan(&scope, None).count();
    let in_time = pods.scan(&scope, None).take_while(|_| Instant::now() < until);
    let pods: Vec<Value> = in_time.filter_map(|pod| value(pod).ok()).collect();
    // Those that a controller has made are most likely all alike.
    let mut controllers = BTreeSet::new();
    let (first, alike): (Vec<&Value>, Vec<&Value>) = pods.iter().partition(|pod| {
        let mut owners = pod.list_at(&["metadata", "ownerReferences"]).iter();
        owners
            .find(|owner| owner["controller"] == true)
            .is_none_or(|owner| controllers.insert(owner.str_at(&["uid"])))
    });
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut checked = 0;
    for pod in first.into_iter().chain(alike).take(MOST) {
        checked += 1;
        let reasons: Vec<&str> =
            violations(standard, &Pod(pod)).into_iter().map(|(reason, _)| reason).collect();
        if !reasons.is_empty() {
            found.entry(reasons.join(", ")).or_default().push(pod.name());
        }
        if Instant::now() >= until {
            break;
        }
    }
    let told = found.into_iter().map(|(reasons, names)| {
        let others = match names.len() - 1 {
            0 => String::new(),
            1 => " (and 1 other pod)".to_owned(),
            more => format!(" (and {more} other pods)"),
        };
        format!("{}{others}: {reasons}", names.iter().min().unwrap_or(&""))
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    let violate = (!told.is_empty()).then(|| {
        format!("existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{standard}\"")
    });
    let partly = (checked < all).then(|| {
        format!(
            "new PodSecurity enforce level only checked against the first {checked} of {all} existing pods"
        )
    });
    partly.into_iter().chain(violate).chain(told).collect()
}

#[cfg(test)]
mod tests;
