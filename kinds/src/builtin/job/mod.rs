//! Job: pods that run to an end.

use api::conditions;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{Affinity, Container, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use crate::builtin::prelude::*;
use crate::{builtin::pod, kind::Dependents};

mod policies;
mod status;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const OLD_UID_LABEL: &str = "controller-uid";
const OLD_NAME_LABEL: &str = "job-name";

/// How many indexes a Job may have without further conditions.
const MOST: i32 = 100_000;
/// How many of something a Job with more indexes than that may have.
const MOST_OF_MANY: i32 = 10_000;

/// The defaults of a Job's spec, on its own.
fn fill(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    set(&mut spec.parallelism, 1);
    let most = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    set(&mut spec.backoff_limit, most);
    set(&mut spec.completion_mode, "NonIndexed");
    set(&mut spec.suspend, false);
    set(&mut spec.manual_selector, false);
    let policy = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    set(&mut spec.pod_replacement_policy, policy);
    let rules = spec.pod_failure_policy.iter_mut().flat_map(|p| &mut p.rules);
    for pattern in rules.flat_map(|r| r.on_pod_conditions.iter_mut().flatten()) {
        set(&mut pattern.status, "True");
    }
    pod::defaults::pod_template(&mut spec.template);
}

impl Strategy for Job {
    const FACTS: Facts = Facts {
        has_generation: true,
        dependents: Dependents::Orphaned,
        deletion_warning: Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        ),
        ..Facts::PLAIN
    };

    fn fill_in(&mut self) {
        fill(self.spec.get_or_insert_default());
        self.status.get_or_insert_default();
    }

    fn prepare_create(job: &mut Draft<Self>) {
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

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let Some(spec) = &self.spec else { return errors.required(&at, "") };
        if spec.manual_selector != Some(true) {
            generated_selector(self, spec, errors);
        }
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
        host_names(self, spec, errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part == Part::Status {
            return status::validate(self, old, errors);
        }
        let at = Path::new("spec");
        self.validate(errors);
        let waits = waits(old);
        let (Some(new), Some(old)) = (&self.spec, &old.spec) else { return };
        let completions_at = at.child("completions");
        if new.completion_mode.as_deref() != Some("Indexed") {
            immutable(&new.completions, &old.completions, &completions_at, errors);
        } else if let Some(completions) = new.completions
            && new.completions != old.completions
            && new.completions != new.parallelism
        {
            // An indexed Job may grow and shrink as a whole.
            let words = "can only be modified in tandem with spec.parallelism";
            errors.invalid(&completions_at, completions, words);
        }
        immutable(&new.selector, &old.selector, &at.child("selector"), errors);
        if waits {
            let mut was = old.template.clone();
            take_placement_and_resources(&new.template, &mut was);
            immutable(&new.template.spec, &was.spec, &at.child("template.spec"), errors);
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

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let Some(spec) = self.spec.as_ref() else { return Vec::new() };
        let mut said = match old {
            None => name_warning(&self.metadata),
            Some(_) => Vec::new(),
        };
        if old.is_none_or(|old| old.spec.as_ref() != Some(spec)) {
            said.extend(warnings(spec, &Path::new("spec")));
        }
        said
    }

    fn columns() -> Vec<Column> {
        let [containers, images] = cells::template_columns(cells::CONTAINERS);
        vec![
            Column::name(),
            Column::text("Status", "How far the Job has come.", |job| state(job).into()),
            Column::text("Completions", "Pods that ended well, of those wanted.", |job| {
                let succeeded = int(job, &["status", "succeeded"]);
                let completions = job.at(&["spec", "completions"]).and_then(Value::as_i64);
                match (completions, int(job, &["spec", "parallelism"])) {
                    (Some(wanted), _) => format!("{succeeded}/{wanted}").into(),
                    (None, many) if many > 1 => format!("{succeeded}/1 of {many}").into(),
                    (None, _) => format!("{succeeded}/1").into(),
                }
            }),
            Column::timed("Duration", "How long the Job took or has been taking.", |job, now| {
                let time = |field: &str| job.str_at(&["status", field]).parse::<Timestamp>().ok();
                let Some(start) = time("startTime") else { return "".into() };
                let end = time("completionTime").unwrap_or(now);
                cell::human_duration(end.as_second() - start.as_second()).into()
            }),
            Column::age(),
            containers,
            images,
            cells::selector_column("Which pods belong to the Job."),
        ]
    }

    fn selectable_fields(job: &Value) -> Vec<(&'static str, String)> {
        vec![("status.successful", int(job, &["status", "succeeded"]).to_string())]
    }
}

/// Labels and selector that make the Job's pods its own.
fn own_selector(spec: &mut JobSpec, name: &str, uid: &str) {
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (label, value) in [(UID_LABEL, uid), (OLD_UID_LABEL, uid), (NAME_LABEL, name), (OLD_NAME_LABEL, name)]
    {
        // Others of the user's own are refused later.
        labels.entry(label.into()).or_insert_with(|| value.into());
    }
    let selector = spec.selector.get_or_insert_default();
    let given: &mut LabelSelector = selector;
    given.match_labels.get_or_insert_default().entry(UID_LABEL.into()).or_insert_with(|| uid.into());
}

/// Labels and selector that were made here must be for this Job.
fn generated_selector(job: &Job, spec: &JobSpec, errors: &mut Errors) {
    let Some(selector) = &spec.selector else { return };
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let name = job.metadata.name.as_deref().unwrap_or_default();
    given(uid, &Path::new("metadata.uid"), errors);
    let expected = [(OLD_UID_LABEL, uid), (OLD_NAME_LABEL, name), (UID_LABEL, uid), (NAME_LABEL, name)];
    let labels = spec.template.metadata.as_ref().and_then(|m| m.labels.as_ref());
    let labels_at = Path::new("spec.template.metadata.labels");
    for (key, value) in expected {
        let words = format!("must be '{value}'");
        match labels.and_then(|labels| labels.get(key)) {
            None => errors.required(&labels_at.key(key), &words),
            Some(found) if found != value => errors.invalid(&labels_at.key(key), labels, words),
            Some(_) => {}
        }
    }
    let own = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if !selects(selector, Some(&own)) {
        errors.invalid(&Path::new("spec.selector"), selector, "`selector` not auto-generated");
    }
}

/// The pods of an indexed Job have its name and their index as host name.
fn host_names(job: &Job, spec: &JobSpec, errors: &mut Errors) {
    let Some(completions) = spec.completions.filter(|n| *n > 0) else { return };
    if spec.completion_mode.as_deref() != Some("Indexed") {
        return;
    }
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let longest = format!("{name}-{}", completions - 1);
    if !dns_label(&longest).is_empty() {
        let words = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.invalid(&Path::new("metadata.name"), name, words);
    }
}

/// Whether nothing of a Job runs: it is suspended, and was never started or has come to rest.
fn waits(job: &Job) -> bool {
    let status = job.status.as_ref();
    let suspended = job.spec.as_ref().is_some_and(|spec| spec.suspend == Some(true));
    let started = status.is_some_and(|s| s.start_time.is_some());
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let rests = conditions.iter().any(|c| c.type_ == "Suspended" && c.status == "True");
    suspended && (!started || rests) && status.is_none_or(|s| s.active.unwrap_or(0) == 0)
}

/// Takes what may change of the template while the Job waits from the new one.
fn take_placement_and_resources(new: &PodTemplateSpec, was: &mut PodTemplateSpec) {
    let (Some(new), Some(was)) = (&new.spec, &mut was.spec) else { return };
    let affinity = new.affinity.as_ref().and_then(|a| a.node_affinity.clone());
    match (&new.affinity, &mut was.affinity) {
        (Some(_), old) => old.get_or_insert_default().node_affinity = affinity,
        (None, Some(old)) => {
            old.node_affinity = None;
            if *old == Affinity::default() {
                was.affinity = None;
            }
        }
        (None, None) => {}
    }
    was.node_selector.clone_from(&new.node_selector);
    was.tolerations.clone_from(&new.tolerations);
    was.scheduling_gates.clone_from(&new.scheduling_gates);
    let resources = |new: &[Container], was: &mut [Container]| {
        if new.len() == was.len() {
            for (new, was) in new.iter().zip(was).filter(|(new, was)| new.name == was.name) {
                was.resources.clone_from(&new.resources);
            }
        }
    };
    resources(&new.containers, &mut was.containers);
    let init = new.init_containers.as_deref().unwrap_or_default();
    resources(init, was.init_containers.as_deref_mut().unwrap_or_default());
}

/// What is to be said of a name that host names of pods begin with.
pub fn name_warning(meta: &ObjectMeta) -> Vec<String> {
    let wrong = dns_label(meta.name.as_deref().unwrap_or_default());
    if wrong.is_empty() {
        return wrong;
    }
    vec![format!(
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
        wrong.join(" ")
    )]
}

/// What is to be said of a Job's spec, on its own or in a CronJob.
pub fn warnings(spec: &JobSpec, at: &Path) -> Vec<String> {
    let mut said = Vec::new();
    if spec.completion_mode.as_deref() == Some("Indexed")
        && spec.completions.unwrap_or(0) > MOST
        && spec.parallelism.unwrap_or(0) > MOST_OF_MANY
    {
        said.push(format!("{at}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"));
    }
    said.extend(pod::warnings::of_template(&spec.template, &at.child("template")));
    said
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
        const MOST: usize = 63;
        let at = at.child("managedBy");
        domain_prefixed_path(manager, &at, errors);
        if manager.len() > MOST {
            errors.too_long(&at, MOST);
        }
    }
    completion_mode(spec, at, errors);
    policies::validate(spec, at, errors);
    let template_at = at.child("template");
    pod::validation::template(&spec.template, &template_at, errors);
    let policy = spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or_default();
    let policy_at = template_at.child("spec.restartPolicy");
    if ["Always", ""].contains(&policy) {
        errors.required(&policy_at, "valid values: \"OnFailure\", \"Never\"");
    } else if !["OnFailure", "Never"].contains(&policy) {
        errors.not_supported(&policy_at, policy, &["OnFailure", "Never"]);
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
            errors.not_supported(&at.child("completionMode"), other, &["NonIndexed", "Indexed"]);
        }
    }
}

/// How much of everything a Job with indexes may have.
fn indexed(spec: &JobSpec, at: &Path, errors: &mut Errors) {
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
        errors.required(&failed_at, format!("must be specified when completions is above {MOST}"));
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
