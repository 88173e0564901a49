//! Job: pods that run to an end.

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde_json::Value;

use crate::{
    conditions,
    field::{Errors, Path},
    kind::{Column, Dependents, Draft, Part, Strategy, cell},
    kinds::{
        cells::{self, int},
        defaults::{set, set_text},
        pod,
    },
    object::ObjectExt,
    validation::{dns_subdomain, each, immutable, label_selector, not_negative, selects},
};

mod policies;
mod status;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const OLD_UID_LABEL: &str = "controller-uid";
const OLD_NAME_LABEL: &str = "job-name";

/// The rules of Jobs.
pub struct Jobs;

/// The defaults of a Job's spec, on its own.
fn fill(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    set(&mut spec.parallelism, 1);
    let most = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    set(&mut spec.backoff_limit, most);
    set_text(&mut spec.completion_mode, "NonIndexed");
    set(&mut spec.suspend, false);
    set(&mut spec.manual_selector, false);
    let policy = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    set_text(&mut spec.pod_replacement_policy, policy);
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|p| &mut p.rules);
    for pattern in rules.flat_map(|r| r.on_pod_conditions.iter_mut().flatten()) {
        set(&mut pattern.status, "True");
    }
    pod::defaults::pod_template(&mut spec.template);
}

impl Strategy for Jobs {
    type Object = Job;

    const HAS_GENERATION: bool = true;
    const DEPENDENTS: Dependents = Dependents::Orphaned;
    const DELETION_WARNING: Option<&'static str> = Some(
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
    );

    fn default(&self, job: &mut Job) {
        fill(job.spec.get_or_insert_default());
        job.status.get_or_insert_default();
    }

    fn prepare_create(&self, job: &mut Draft<Job>) {
        job.status = Some(Default::default());
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let name = job.metadata.name.clone().unwrap_or_default();
        let job = &mut **job;
        let spec = job.spec.get_or_insert_default();
        if spec.manual_selector != Some(true) {
            own_selector(spec, &name, &uid);
        }
        if job.metadata.labels.as_ref().is_none_or(std::collections::BTreeMap::is_empty) {
            job.metadata.labels = spec.template.metadata.as_ref().and_then(|m| m.labels.clone());
        }
    }

    fn validate(&self, job: &Job, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &job.spec else { return errors.required(&at, "") };
        validate_spec(spec, &at, errors);
        let selector_at = at.child("selector");
        match &spec.selector {
            None => errors.required(&selector_at, ""),
            Some(selector) => {
                label_selector(Some(selector), &selector_at, errors);
                let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
                if !selects(selector, labels) {
                    let words = "`selector` does not match template `labels`";
                    errors.invalid(&at.child("template.metadata.labels"), labels, words);
                }
            }
        }
        if spec.manual_selector != Some(true) {
            generated_selector(job, spec, errors);
        }
    }

    fn validate_update(&self, new: &Job, old: &Job, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            return status::validate(new, old, errors);
        }
        let at = Path::new("spec");
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        validate_spec(new, &at, errors);
        // An indexed Job may grow and shrink as a whole.
        let elastic = new.completion_mode.as_deref() == Some("Indexed") && new.completions == new.parallelism;
        if !elastic || new.completions.is_none() {
            immutable(&new.completions, &old.completions, &at.child("completions"), errors);
        }
        immutable(&new.selector, &old.selector, &at.child("selector"), errors);
        if old.suspend == Some(true) {
            let (mut rest, mut was) = (new.template.clone(), old.template.clone());
            placement(&mut rest);
            placement(&mut was);
            immutable(&rest, &was, &at.child("template"), errors);
        } else {
            immutable(&new.template, &old.template, &at.child("template"), errors);
        }
        immutable(&new.completion_mode, &old.completion_mode, &at.child("completionMode"), errors);
        immutable(&new.pod_failure_policy, &old.pod_failure_policy, &at.child("podFailurePolicy"), errors);
        let per_index_at = at.child("backoffLimitPerIndex");
        immutable(&new.backoff_limit_per_index, &old.backoff_limit_per_index, &per_index_at, errors);
        immutable(&new.managed_by, &old.managed_by, &at.child("managedBy"), errors);
        immutable(&new.success_policy, &old.success_policy, &at.child("successPolicy"), errors);
    }

    fn columns(&self) -> Vec<Column> {
        let text = |name, words| Column::new(name, "string", words);
        let [containers, images] = cells::template_columns();
        vec![
            Column::name(),
            text("Status", "How far the Job has come."),
            text("Completions", "Pods that ended well, of those wanted."),
            text("Duration", "How long the Job took or has been taking."),
            Column::age(),
            containers,
            images,
            text("Selector", "Which pods belong to the Job.").wide(),
        ]
    }

    fn cells(&self, job: &Value, now: Timestamp) -> Vec<Value> {
        let succeeded = int(job, &["status", "succeeded"]);
        let completions = job.at(&["spec", "completions"]).and_then(Value::as_i64);
        let done = match (completions, int(job, &["spec", "parallelism"])) {
            (Some(wanted), _) => format!("{succeeded}/{wanted}"),
            (None, many) if many > 1 => format!("{succeeded}/1 of {many}"),
            (None, _) => format!("{succeeded}/1"),
        };
        let time = |field: &str| job.str_at(&["status", field]).parse::<Timestamp>().ok();
        let duration = time("startTime").map(|start| {
            let end = time("completionTime").unwrap_or(now);
            cell::human_duration(end.as_second() - start.as_second())
        });
        vec![
            cell::name(job),
            state(job).into(),
            done.into(),
            duration.unwrap_or_default().into(),
            cell::age(job, now),
            cells::container_names(job),
            cells::container_images(job),
            cells::selector(job.at(&["spec", "selector"])).into(),
        ]
    }

    fn selectable_fields(&self, job: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", int(job, &["status", "succeeded"]).to_string())]
    }
}

/// Labels and selector that make the Job's pods its own.
fn own_selector(spec: &mut JobSpec, name: &str, uid: &str) {
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (label, value) in [(UID_LABEL, uid), (OLD_UID_LABEL, uid), (NAME_LABEL, name), (OLD_NAME_LABEL, name)]
    {
        labels.insert(label.into(), value.into());
    }
    let selector = spec.selector.get_or_insert_default();
    let given: &mut LabelSelector = selector;
    given.match_labels.get_or_insert_default().entry(UID_LABEL.into()).or_insert_with(|| uid.into());
}

/// A selector that was made here must be for this Job.
fn generated_selector(job: &Job, spec: &JobSpec, errors: &mut Errors) {
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let matches = spec.selector.as_ref().and_then(|s| s.match_labels.as_ref());
    let made_here = matches.is_some_and(|m| m.len() == 1 && m.get(UID_LABEL).is_some_and(|v| v == uid));
    if !made_here {
        errors.invalid(&Path::new("spec.selector"), &spec.selector, "`selector` not auto-generated");
    }
}

/// What may change of the template while the Job is suspended.
fn placement(template: &mut PodTemplateSpec) {
    if let Some(spec) = &mut template.spec {
        spec.affinity = None;
        spec.node_selector = None;
        spec.tolerations = None;
        spec.scheduling_gates = None;
    }
    if let Some(meta) = &mut template.metadata {
        meta.labels = None;
        meta.annotations = None;
    }
}

/// The spec of a Job, on its own or in a CronJob.
pub fn validate_spec(spec: &JobSpec, at: &Path, errors: &mut Errors) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        not_negative(value, &at.child(field), errors);
    }
    let per_index_at = at.child("backoffLimitPerIndex");
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&per_index_at, "when maxFailedIndexes is specified");
    }
    if let Some(manager) = &spec.managed_by {
        let (domain, path) = manager.split_once('/').unwrap_or((manager, ""));
        let at = at.child("managedBy");
        if path.is_empty() {
            errors.invalid(&at, manager, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        } else {
            each(errors, &at, manager, dns_subdomain(domain));
        }
    }
    completion_mode(spec, at, errors);
    policies::validate(spec, at, errors);
    let template_at = at.child("template");
    pod::validation::template(&spec.template, &template_at, errors);
    let policy = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or_default();
    let policy_at = template_at.child("spec.restartPolicy");
    if !["OnFailure", "Never"].contains(&policy) {
        errors.required(&policy_at, "valid values: \"OnFailure\", \"Never\"");
    } else if spec.pod_failure_policy.is_some() && policy != "Never" {
        let words = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.invalid(&policy_at, policy, words);
    }
}

fn completion_mode(spec: &JobSpec, at: &Path, errors: &mut Errors) {
    match spec.completion_mode.as_deref() {
        Some("Indexed") => indexed(spec, at, errors),
        Some("NonIndexed") | None => {
            for (field, value) in [
                ("backoffLimitPerIndex", spec.backoff_limit_per_index),
                ("maxFailedIndexes", spec.max_failed_indexes),
            ] {
                if value.is_some() {
                    errors.invalid(&at.child(field), value, "requires indexed completion mode");
                }
            }
        }
        Some(other) => {
            errors.not_supported(&at.child("completionMode"), other, &["Indexed", "NonIndexed"]);
        }
    }
}

/// How much of everything a Job with indexes may have.
fn indexed(spec: &JobSpec, at: &Path, errors: &mut Errors) {
    const MOST: i32 = 100_000;
    const MOST_OF_MANY: i32 = 10_000;
    let (parallelism_at, failed_at) = (at.child("parallelism"), at.child("maxFailedIndexes"));
    if spec.completions.is_none() {
        errors.required(&at.child("completions"), "when completion mode is Indexed");
    }
    if let Some(n) = spec.parallelism.filter(|n| *n > MOST) {
        let words = format!("must be less than or equal to {MOST} when completion mode is Indexed");
        errors.invalid(&parallelism_at, n, words);
    }
    if let (Some(failed), Some(completions)) = (spec.max_failed_indexes, spec.completions)
        && failed > completions
    {
        errors.invalid(&failed_at, failed, "must be less than or equal to completions");
    }
    if let Some(failed) = spec.max_failed_indexes.filter(|n| *n > MOST) {
        errors.invalid(&failed_at, failed, format!("must be less than or equal to {MOST}"));
    }
    if spec.completions.is_none_or(|n| n <= MOST) || spec.backoff_limit_per_index.is_none() {
        return;
    }
    if spec.max_failed_indexes.is_none() {
        errors.required(&failed_at, &format!("must be specified when completions is above {MOST}"));
    }
    for (at, value) in [(&parallelism_at, spec.parallelism), (&failed_at, spec.max_failed_indexes)] {
        if let Some(n) = value.filter(|n| *n > MOST_OF_MANY) {
            let words = format!(
                "must be less than or equal to {MOST_OF_MANY} when completions are above {MOST} and used with backoff limit per index"
            );
            errors.invalid(at, n, words);
        }
    }
}

/// What the column `Status` shows.
fn state(job: &Value) -> &'static str {
    let has = |kind: &str| conditions::holds(job, kind);
    if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if job.is_deleting() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

#[cfg(test)]
mod tests;
