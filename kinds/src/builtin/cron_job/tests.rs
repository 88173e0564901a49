use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::builtin::testing::{made, wrong};

fn cron_job(change: &Value) -> Value {
    let mut spec = json!({"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}}}});
    json_patch::merge(&mut spec, change);
    made(
        CronJobs,
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec}),
    )
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({"timeZone": "Europe/Berlin"}), vec![]),
        (json!({"schedule": ""}), vec!["spec.schedule: Required value"]),
        (
            json!({"timeZone": "Local"}),
            vec![
                "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ],
        ),
        (
            json!({"timeZone": "europe/berlin"}),
            vec!["spec.timeZone: Invalid value: \"europe/berlin\": unknown time zone europe/berlin"],
        ),
        (
            json!({"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}),
            vec![
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ],
        ),
    ] {
        assert_eq!(wrong(CronJobs, &cron_job(&change)), expected, "{change}");
    }
}

#[test]
fn schedules_are_read() {
    for (text, expected) in [
        ("*/5 * * * *", Ok(())),
        ("0 0 1,15 jan-mar MON", Ok(())),
        ("5/15 * ? * *", Ok(())),
        ("@hourly", Ok(())),
        ("@every 1h30m", Ok(())),
        ("@every soon", Err("failed to parse duration @every soon: time: invalid duration \"soon\"")),
        ("@noon", Err("unrecognized descriptor: @noon")),
        ("60 * * * *", Err("end of range (60) above maximum (59): 60")),
        ("* * 0 * *", Err("beginning of range (0) below minimum (1): 0")),
        ("9-3 * * * *", Err("beginning of range (9) beyond end of range (3): 9-3")),
        ("*/0 * * * *", Err("step of range should be a positive number: */0")),
        ("x * * * *", Err("failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax")),
    ] {
        assert_eq!(schedule(text), expected.map_err(str::to_owned), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_schedule(text in "\\PC*") {
        let _ = schedule(&text);
    }
}
