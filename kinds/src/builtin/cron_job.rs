//! CronJob: Jobs at set times.

use api::schedule::{self, Schedule};
use k8s_openapi::api::batch::v1::CronJob;

use crate::builtin::{job, pod, prelude::*};

/// The longest name: the Jobs' own add eleven characters, and 63 is the limit of a label.
const LONGEST_NAME: usize = 52;

impl Strategy for CronJob {
    const FACTS: Facts = Facts { has_generation: true, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        let spec = &mut self.spec;
        set_text(&mut spec.concurrency_policy, "Allow");
        set(&mut spec.suspend, false);
        set(&mut spec.successful_jobs_history_limit, 3);
        set(&mut spec.failed_jobs_history_limit, 1);
        spec.job_template.metadata.get_or_insert_default();
        pod::defaults::pod_template(&mut spec.job_template.spec.get_or_insert_default().template);
        self.status.get_or_insert_default();
    }

    fn prepare_create(cron_job: &mut Draft<Self>) {
        cron_job.status = Some(Default::default());
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let spec = &self.spec;
        let schedule_at = at.child("schedule");
        if spec.schedule.is_empty() {
            errors.required(&schedule_at, "");
        } else if let Err(why) = Schedule::parse(&spec.schedule) {
            errors.invalid(&schedule_at, &spec.schedule, why);
        } else if spec.schedule.contains("TZ=") {
            let words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.invalid(&schedule_at, &spec.schedule, words);
        }
        not_negative(spec.starting_deadline_seconds, &at.child("startingDeadlineSeconds"), errors);
        if let Some(zone) = &spec.time_zone {
            let at = at.child("timeZone");
            if zone.is_empty() {
                errors.invalid(&at, zone, "timeZone must be nil or non-empty string");
            } else if zone.eq_ignore_ascii_case("local") {
                errors.invalid(
                    &at,
                    zone,
                    "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
                );
            } else if schedule::zone(zone).is_none() {
                errors.invalid(&at, zone, format!("unknown time zone {zone}"));
            }
        }
        let policy = spec.concurrency_policy.as_deref().unwrap_or_default();
        one_of(policy, &["Allow", "Forbid", "Replace"], &at.child("concurrencyPolicy"), errors);
        if let Some(template) = &spec.job_template.spec {
            job_template(template, &at.child("jobTemplate.spec"), errors);
        }
        not_negative(spec.successful_jobs_history_limit, &at.child("successfulJobsHistoryLimit"), errors);
        not_negative(spec.failed_jobs_history_limit, &at.child("failedJobsHistoryLimit"), errors);
        let name = self.metadata.name.as_deref().unwrap_or_default();
        if name.len() > LONGEST_NAME {
            let words = format!("must be no more than {LONGEST_NAME} characters");
            errors.invalid(&Path::new("metadata.name"), name, words);
        }
    }

    fn warnings(&self, old: Option<&Self>) -> Vec<String> {
        let mut said = match old {
            None => job::name_warning(&self.metadata),
            Some(_) => Vec::new(),
        };
        if old.is_none_or(|old| old.spec != self.spec)
            && let Some(spec) = &self.spec.job_template.spec
        {
            said.extend(job::warnings(spec, &Path::new("spec.jobTemplate.spec")));
        }
        if old.is_some() && self.spec.schedule.contains("TZ") {
            said.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
        }
        said
    }

    fn columns() -> Vec<Column> {
        const CONTAINERS: &[&str] = &["spec", "jobTemplate", "spec", "template", "spec", "containers"];
        let [containers, images] = cells::template_columns(CONTAINERS);
        vec![
            Column::name(),
            Column::field("Schedule", "When Jobs start.", &["spec", "schedule"]),
            Column::text("Timezone", "Whose clock the schedule follows.", |c| {
                text_or(c, &["spec", "timeZone"], "<none>")
            }),
            Column::flag("Suspend", "Whether no Jobs start.", |c| {
                let suspended = c.at(&["spec", "suspend"]).and_then(Value::as_bool).unwrap_or(false);
                if suspended { "True" } else { "False" }.into()
            }),
            Column::number("Active", "Jobs that run.", |c| c.list_at(&["status", "active"]).len().into()),
            Column::timed("Last Schedule", "Time since a Job last started.", |c, now| {
                match c.str_at(&["status", "lastScheduleTime"]) {
                    "" => "<none>".into(),
                    last => cell::since(last, now),
                }
            }),
            Column::age(),
            containers,
            images,
            Column::text("Selector", "Which pods belong to the Jobs.", |c| {
                let selector = c.at(&["spec", "jobTemplate", "spec", "selector"]);
                selector.map_or_else(|| "<none>".to_owned(), |s| cells::selector(Some(s))).into()
            })
            .wide(),
        ]
    }
}

/// The Jobs' spec; a selector is made when the Job is, and may be given only by hand.
fn job_template(spec: &k8s_openapi::api::batch::v1::JobSpec, at: &Path, errors: &mut Errors) {
    job::validate_spec(spec, at, errors);
    if let Some(selector) = &spec.selector {
        errors.invalid(&at.child("selector"), selector, "`selector` will be auto-generated");
    }
    if spec.manual_selector == Some(true) {
        let allowed: &[&str] = &["nil", "false"];
        errors.not_supported(&at.child("manualSelector"), true, allowed);
    }
}

#[cfg(test)]
mod tests;
