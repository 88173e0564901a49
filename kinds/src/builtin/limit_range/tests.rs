use serde_json::{Value, json};

use super::*;
use crate::builtin::testing::{made, wrong};

fn range(limits: Value) -> Value {
    let raw = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}});
    made::<LimitRange>(raw)
}

#[test]
fn defaults_follow_from_bounds() {
    let made = range(json!([{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1024Ki"}}]));
    assert_eq!(
        made["spec"]["limits"][0],
        json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"},
                "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}})
    );
}

#[test]
fn bounds_are_in_order() {
    for (limits, expected) in [
        (json!([{"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}}]), vec![]),
        (
            json!([{"type": "Pod", "default": {"cpu": "2"}}]),
            vec!["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
        ),
        (
            json!([{"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}}, {"type": "Pod"}]),
            vec![
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[1].type: Duplicate value: \"Pod\"",
            ],
        ),
        (
            json!([{"type": "Container", "min": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}}]),
            vec![
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"500m\": min value 1 is greater than default request value 500m",
            ],
        ),
        (
            json!([{"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}]),
            vec![
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ],
        ),
    ] {
        assert_eq!(wrong::<LimitRange>(&range(limits.clone())), expected, "{limits}");
    }
}
