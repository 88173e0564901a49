//! Event: something that happened to an object.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use crate::{
    field::{Errors, Path},
    kind::{Column, Strategy, cell},
    kinds::{cells::int, defaults::set},
    object::ObjectExt,
};

/// The rules of core/v1 events.
pub struct Events;

impl Strategy for Events {
    type Object = Event;

    fn default(&self, event: &mut Event) {
        set(&mut event.reporting_component, "");
        set(&mut event.reporting_instance, "");
        event.source.get_or_insert_default();
    }

    fn validate(&self, event: &Event, errors: &mut Errors) {
        let own = event.metadata.namespace.as_deref().unwrap_or_default();
        let involved = event.involved_object.namespace.as_deref().unwrap_or_default();
        let agree = if involved.is_empty() { matches!(own, "" | "default") } else { own == involved };
        if !agree {
            let at = Path::new("involvedObject.namespace");
            errors.invalid(&at, involved, "does not match event.namespace");
        }
    }

    fn after_writing(&self, value: &mut Value) {
        if let Some(map) = value.as_object_mut() {
            for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
                map.entry(time).or_insert(Value::Null);
            }
        }
    }

    fn columns(&self) -> Vec<Column> {
        let text = |name, words| Column::new(name, "string", words);
        let mut name = Column::name().wide();
        name.description = "The event's own name.".into();
        vec![
            text("Last Seen", "Time since it last happened."),
            text("Type", "Normal or Warning."),
            text("Reason", "A short word for what happened."),
            text("Object", "What it happened to."),
            text("Subobject", "The part of the object it happened to.").wide(),
            text("Source", "Who reports it.").wide(),
            text("Message", "What happened."),
            text("First Seen", "Time since it first happened.").wide(),
            text("Count", "How often it happened.").wide(),
            name,
        ]
    }

    fn cells(&self, event: &Value, now: Timestamp) -> Vec<Value> {
        let text = |path: &[&str]| event.str_at(path);
        let or = |a, b| if str::is_empty(a) { b } else { a };
        let since = |stamp| cell::since(stamp, now);
        let first_at = or(text(&["firstTimestamp"]), text(&["eventTime"]));
        let mut last_at = or(text(&["lastTimestamp"]), first_at);
        let mut count = int(event, &["count"]).max(1);
        if event.at(&["series"]).is_some_and(Value::is_object) {
            last_at = text(&["series", "lastObservedTime"]);
            count = int(event, &["series", "count"]);
        }
        let kind = text(&["involvedObject", "kind"]).to_lowercase();
        let object = match text(&["involvedObject", "name"]) {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        let component = or(text(&["source", "component"]), text(&["reportingComponent"]));
        let source = match or(text(&["source", "host"]), text(&["reportingInstance"])) {
            "" => component.to_owned(),
            instance => format!("{component}, {instance}"),
        };
        vec![
            since(last_at),
            text(&["type"]).into(),
            text(&["reason"]).into(),
            object.into(),
            text(&["involvedObject", "fieldPath"]).into(),
            source.into(),
            text(&["message"]).trim().into(),
            since(first_at),
            count.into(),
            cell::name(event),
        ]
    }

    fn selectable_fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        let involved = |field| event.str_at(&["involvedObject", field]).to_owned();
        let source = match event.str_at(&["source", "component"]) {
            "" => event.str_at(&["reportingComponent"]),
            component => component,
        };
        vec![
            ("involvedObject.kind", involved("kind")),
            ("involvedObject.namespace", involved("namespace")),
            ("involvedObject.name", involved("name")),
            ("involvedObject.uid", involved("uid")),
            ("involvedObject.apiVersion", involved("apiVersion")),
            ("involvedObject.resourceVersion", involved("resourceVersion")),
            ("involvedObject.fieldPath", involved("fieldPath")),
            ("reason", event.str_at(&["reason"]).to_owned()),
            ("reportingComponent", event.str_at(&["reportingComponent"]).to_owned()),
            ("source", source.to_owned()),
            ("type", event.str_at(&["type"]).to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn series_and_single_events_show_when_and_how_often() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
        let cells = Events.cells(
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
        let cells = Events.cells(
            &json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:08:00.000001Z",
                "reportingComponent": "x", "involvedObject": {"kind": "Node"}}),
            now,
        );
        assert_eq!((&cells[0], &cells[3], &cells[8]), (&json!("2m"), &json!("node"), &json!(1)));
    }
}
