use serde_json::json;

use super::*;
use crate::builtin::testing::{made, wrong};

fn daemon_set(change: &Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "log"}},
        "template": {"metadata": {"labels": {"app": "log"}},
                     "spec": {"containers": [{"name": "log", "image": "log:1"}]}},
    });
    json_patch::merge(&mut spec, change);
    made::<DaemonSet>(
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": spec}),
    )
}

#[test]
fn what_is_wrong_is_named() {
    for (change, expected) in [
        (json!({}), vec![]),
        (
            json!({"selector": {"matchLabels": {"app": "x"}}}),
            vec![
                "spec.template.metadata.labels: Invalid value: {\"app\":\"log\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}),
            vec![
                "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
            ],
        ),
        (
            json!({"updateStrategy": {"rollingUpdate": {"maxSurge": "10%"}}}),
            vec![
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: \"10%\": may not be set when maxUnavailable is non-zero",
            ],
        ),
        (json!({"updateStrategy": {"type": "OnDelete"}}), vec![]),
    ] {
        assert_eq!(wrong::<DaemonSet>(&daemon_set(&change)), expected, "{change}");
    }
}

#[test]
fn changes_of_the_template_are_counted() {
    use crate::kind::{Rules, Typed};
    let old = daemon_set(&json!({}));
    assert_eq!(old["metadata"]["annotations"][TEMPLATE_GENERATION], "1");
    let mut new = daemon_set(&json!({"template": {"spec": {"hostNetwork": true}}}));
    Typed::<DaemonSet>::RULES.prepare_update(&mut new, &old, Part::Main);
    assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], "2");
}
