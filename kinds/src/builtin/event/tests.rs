use jiff::Timestamp;
use serde_json::json;

use super::*;

#[test]
fn series_and_single_events_show_when_and_how_often() {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
    let columns = Event::columns();
    let cells = crate::kind::cells(
        &columns,
        &json!({"metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": " again\n",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:30Z", "count": 4}),
        now,
    );
    assert_eq!(
        Value::from(cells),
        json!([
            "30s",
            "Warning",
            "BackOff",
            "pod/p",
            "spec.containers{c}",
            "kubelet, n",
            "again",
            "10m",
            4,
            "e"
        ])
    );
    let cells = crate::kind::cells(
        &columns,
        &json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:08:00.000001Z",
            "reportingComponent": "x", "involvedObject": {"kind": "Node"}}),
        now,
    );
    assert_eq!((&cells[0], &cells[3], &cells[8]), (&json!("2m"), &json!("node"), &json!(1)));
}
