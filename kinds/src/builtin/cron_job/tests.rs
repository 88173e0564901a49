use serde_json::json;

use super::*;
use crate::builtin::testing::{made, wrong};

fn cron_job(change: &Value) -> Value {
    let mut spec = json!({"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}}}}});
    json_patch::merge(&mut spec, change);
    made::<CronJob>(
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec}),
    )
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({"timeZone": "Europe/Berlin"}), vec![]),
        (json!({"schedule": ""}), vec!["spec.schedule: Required value"]),
        (
            json!({"schedule": "61 * * * *"}),
            vec!["spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61"],
        ),
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
        assert_eq!(wrong::<CronJob>(&cron_job(&change)), expected, "{change}");
    }
}
