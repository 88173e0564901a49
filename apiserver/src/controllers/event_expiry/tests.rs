use serde_json::json;

use super::*;

#[test]
fn an_event_was_last_seen_at_its_latest_time_that_is_past() {
    let at = |time: &str| time.parse::<Timestamp>().map(Timestamp::as_second).ok();
    let now = at("2026-01-01T10:00:00Z").expect("a time");
    let made = json!({"creationTimestamp": "2026-01-01T08:00:00Z"});
    for (event, seen) in [
        (json!({"metadata": made}), "2026-01-01T08:00:00Z"),
        (json!({"metadata": made, "lastTimestamp": "2026-01-01T09:30:00Z"}), "2026-01-01T09:30:00Z"),
        (json!({"metadata": made, "lastTimestamp": "2099-01-01T00:00:00Z"}), "2026-01-01T08:00:00Z"),
        (
            json!({"metadata": made, "eventTime": "2026-01-01T09:00:00.5Z",
                "series": {"lastObservedTime": "2099-01-01T00:00:00Z"}}),
            "2026-01-01T09:00:00Z",
        ),
        (json!({}), "2026-01-01T10:00:00Z"),
    ] {
        assert_eq!(Some(last_seen(&event, now)), at(seen), "{event}");
    }
}
