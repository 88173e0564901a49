use serde_json::json;

use super::*;

#[test]
fn what_the_api_shows_of_a_container_is_compared_with_its_spec() {
    for (spec, shown, same) in [
        (json!({"limits": {"cpu": "1"}}), json!({"limits": {"cpu": "1"}}), true),
        (json!({"limits": {"cpu": "2"}}), json!({"limits": {"cpu": "1"}}), false),
        (json!({}), json!({}), true),
        (json!({}), json!(null), false),
    ] {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "c", "resources": spec}]},
            "status": {"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true,
                "restartCount": 0, "resources": shown}]},
        }))
        .expect("the test's pod is well-formed");
        assert_eq!(is_shown(&pod, &pod_spec::spec(&pod).containers[0]), same, "{spec} {shown}");
    }
}
