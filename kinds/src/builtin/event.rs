//! Event: something that happened to an object. core/v1 and events.k8s.io/v1 are two views of one object.

use api::object::is_zero_time;
use k8s_openapi::api::{core::v1::Event, events::v1 as new};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

use crate::builtin::prelude::*;
use crate::kind::{Dependents, version::Convert};

/// The most characters of a reporting instance, an action and a reason.
const WORD: usize = 128;
/// The most characters of a message.
const NOTE: usize = 1024;

/// An event that is held to what events.k8s.io/v1 insists on besides.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StrictEvent(Event);

fn or<'a>(a: &'a str, b: &'a str) -> &'a str {
    if a.is_empty() { b } else { a }
}

fn first_at(event: &Value) -> &str {
    or(event.str_at(&["firstTimestamp"]), event.str_at(&["eventTime"]))
}

fn has_series(event: &Value) -> bool {
    event.at(&["series"]).is_some_and(Value::is_object)
}

/// What core/v1 and events.k8s.io/v1 call the same field.
const NAMES: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

/// Between events.k8s.io/v1 and core/v1, which is what is stored.
pub struct Renamed;

impl Convert for Renamed {
    fn stored_form(&self, event: &mut Value) {
        let Some(map) = event.as_object_mut() else { return };
        for (core, new) in NAMES {
            if let Some(value) = map.remove(new) {
                map.insert(core.into(), value);
            }
        }
        complete(map);
    }

    fn own_form(&self, event: &mut Value) {
        let Some(map) = event.as_object_mut() else { return };
        for (core, new) in NAMES {
            if let Some(value) = map.remove(core) {
                map.insert(new.into(), value);
            }
        }
        for text in ["reportingController", "reportingInstance"] {
            if map.get(text).and_then(Value::as_str) == Some("") {
                map.remove(text);
            }
        }
    }

    fn selectable_field(&self, label: &str) -> Option<&'static str> {
        const LABELS: [(&str, &str); 10] = [
            ("reason", "reason"),
            ("regarding.apiVersion", "involvedObject.apiVersion"),
            ("regarding.fieldPath", "involvedObject.fieldPath"),
            ("regarding.kind", "involvedObject.kind"),
            ("regarding.name", "involvedObject.name"),
            ("regarding.namespace", "involvedObject.namespace"),
            ("regarding.resourceVersion", "involvedObject.resourceVersion"),
            ("regarding.uid", "involvedObject.uid"),
            ("reportingController", "reportingComponent"),
            ("type", "type"),
        ];
        LABELS.iter().find(|(new, _)| *new == label).map(|(_, core)| *core)
    }
}

/// Only reads and writes: the rules are those of [`StrictEvent`].
impl Strategy for new::Event {
    const ALWAYS_THERE: &'static [&'static str] =
        &["/eventTime", "/deprecatedFirstTimestamp", "/deprecatedLastTimestamp"];

    fn fill_in(&mut self) {
        self.deprecated_source.get_or_insert_default();
        self.regarding.get_or_insert_default();
        absent_when_zero(&mut self.deprecated_count);
    }
}

impl Strategy for Event {
    const FACTS: Facts = Facts {
        names: NameRule::PathSegmentLast,
        creates_on_update: true,
        takes_plain_finalizers: true,
        dependents: Dependents::None,
        ..Facts::PLAIN
    };

    fn fill_in(&mut self) {
        set(&mut self.reporting_component, "");
        set(&mut self.reporting_instance, "");
        self.source.get_or_insert_default();
        // The newer group's series must have a time; here one that is none is absent.
        self.event_time.take_if(|time| is_zero_time(time.0));
        if let Some(series) = &mut self.series {
            series.last_observed_time.take_if(|time| is_zero_time(time.0));
        }
    }

    fn validate(&self, errors: &mut Errors) {
        involved(self, "reportingComponent", errors);
    }

    fn validate_update(&self, _old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
    }

    fn after_writing(value: &mut Value) {
        if let Some(map) = value.as_object_mut() {
            complete(map);
        }
    }

    fn columns() -> Vec<Column> {
        let text = |name, words, path: &'static [&'static str]| {
            Column::text(name, words, move |event| event.str_at(path).trim().into())
        };
        let mut name = Column::name().wide();
        name.description = "The event's own name.".into();
        vec![
            Column::timed("Last Seen", "Time since it last happened.", |event, now| {
                let last_at = if has_series(event) {
                    event.str_at(&["series", "lastObservedTime"])
                } else {
                    or(event.str_at(&["lastTimestamp"]), first_at(event))
                };
                cell::since(last_at, now)
            }),
            text("Type", "Normal or Warning.", &["type"]),
            text("Reason", "A short word for what happened.", &["reason"]),
            Column::text("Object", "What it happened to.", |event| {
                let kind = event.str_at(&["involvedObject", "kind"]).to_lowercase();
                match event.str_at(&["involvedObject", "name"]) {
                    "" => kind.into(),
                    name => format!("{kind}/{name}").into(),
                }
            }),
            text("Subobject", "The part of the object it happened to.", &["involvedObject", "fieldPath"])
                .wide(),
            Column::text("Source", "Who reports it.", |event| {
                let component =
                    or(event.str_at(&["source", "component"]), event.str_at(&["reportingComponent"]));
                match or(event.str_at(&["source", "host"]), event.str_at(&["reportingInstance"])) {
                    "" => component.into(),
                    instance => format!("{component}, {instance}").into(),
                }
            })
            .wide(),
            text("Message", "What happened.", &["message"]),
            Column::timed("First Seen", "Time since it first happened.", |event, now| {
                cell::since(first_at(event), now)
            })
            .wide(),
            Column::text("Count", "How often it happened.", |event| {
                let once_at_least = int(event, &["count"]).max(1);
                if has_series(event) { int(event, &["series", "count"]) } else { once_at_least }.into()
            })
            .wide(),
            name,
        ]
    }

    fn selectable_fields(event: &Value) -> Vec<(&'static str, String)> {
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

impl Strategy for StrictEvent {
    const FACTS: Facts = Facts { takes_plain_finalizers: false, ..Event::FACTS };

    fn fill_in(&mut self) {
        self.0.fill_in();
    }

    fn validate(&self, errors: &mut Errors) {
        let event = &self.0;
        involved(event, "reportingController", errors);
        let name = event.metadata.name.as_deref().unwrap_or_default();
        each(errors, &Path::new("metadata.name"), name, dns_subdomain(name));
        series(event, errors);
        if event.event_time.is_none() {
            errors.required(&Path::new("eventTime"), "");
        }
        let kind = event.type_.as_deref().unwrap_or_default();
        if !matches!(kind, "Normal" | "Warning") {
            errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
        }
        let source = event.source.as_ref();
        let filled = |text: Option<&String>| text.is_some_and(|t| !t.is_empty());
        for (field, set) in [
            ("firstTimestamp", event.first_timestamp.is_some()),
            ("lastTimestamp", event.last_timestamp.is_some()),
            ("count", event.count.is_some_and(|n| n != 0)),
            ("source", source.is_some_and(|s| filled(s.component.as_ref()) || filled(s.host.as_ref()))),
        ] {
            if set {
                errors.invalid(&Path::new(field), "", "needs to be unset");
            }
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        let (new, old) = (&self.0, &old.0);
        involved(new, "reportingController", errors);
        if new.series != old.series {
            series(new, errors);
        }
        immutable(&new.involved_object, &old.involved_object, &Path::new("involvedObject"), errors);
        immutable(&new.reason, &old.reason, &Path::new("reason"), errors);
        immutable(&new.message, &old.message, &Path::new("message"), errors);
        immutable(&new.source, &old.source, &Path::new("source"), errors);
        immutable(&new.first_timestamp, &old.first_timestamp, &Path::new("firstTimestamp"), errors);
        immutable(&new.last_timestamp, &old.last_timestamp, &Path::new("lastTimestamp"), errors);
        immutable(&new.count, &old.count, &Path::new("count"), errors);
        immutable(&new.reason, &old.reason, &Path::new("reason"), errors);
        immutable(&new.type_, &old.type_, &Path::new("type"), errors);
        immutable(&new.event_time, &old.event_time, &Path::new("eventTime"), errors);
        immutable(&new.action, &old.action, &Path::new("action"), errors);
        immutable(&new.related, &old.related, &Path::new("related"), errors);
        immutable(
            &new.reporting_component,
            &old.reporting_component,
            &Path::new("reportingController"),
            errors,
        );
        immutable(&new.reporting_instance, &old.reporting_instance, &Path::new("reportingInstance"), errors);
    }

    fn after_writing(value: &mut Value) {
        Event::after_writing(value);
    }

    fn columns() -> Vec<Column> {
        Event::columns()
    }

    fn selectable_fields(event: &Value) -> Vec<(&'static str, String)> {
        Event::selectable_fields(event)
    }
}

/// What core/v1 always writes.
fn complete(event: &mut Map<String, Value>) {
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        event.entry(time).or_insert(Value::Null);
    }
    for text in ["reportingComponent", "reportingInstance"] {
        event.entry(text).or_insert("".into());
    }
    event.entry("source").or_insert(json!({}));
    event.entry("involvedObject").or_insert(json!({}));
}

/// The series of an event that happened again.
fn series(event: &Event, errors: &mut Errors) {
    let Some(series) = &event.series else { return };
    if series.count.unwrap_or(0) < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

/// What is asked of every event: more of those that say when they happened than of the old ones.
fn involved(event: &Event, reporter: &str, errors: &mut Errors) {
    let own = event.metadata.namespace.as_deref().unwrap_or_default();
    let involved = event.involved_object.namespace.as_deref().unwrap_or_default();
    let is_new = event.event_time.is_some();
    let agree = match (involved.is_empty(), is_new) {
        (true, false) => matches!(own, "" | "default"),
        (true, true) => matches!(own, "default" | "kube-system"),
        (false, false) => own == involved,
        (false, true) => true,
    };
    if !agree {
        let at = Path::new("involvedObject.namespace");
        errors.invalid(&at, involved, "does not match event.namespace");
    }
    if !is_new {
        return;
    }
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let controller = text(&event.reporting_component);
    let at = Path::new(reporter);
    given(&controller, &at, errors);
    each(errors, &at, &controller, qualified_name(&controller));
    for (field, value) in [
        ("reportingInstance", text(&event.reporting_instance)),
        ("action", text(&event.action)),
        ("reason", text(&event.reason)),
    ] {
        let at = Path::new(field);
        given(&value, &at, errors);
        if value.len() > WORD {
            errors.invalid(&at, "", format!("can have at most {WORD} characters"));
        }
    }
    if text(&event.message).len() > NOTE {
        errors.invalid(&Path::new("message"), "", format!("can have at most {NOTE} characters"));
    }
}

#[cfg(test)]
mod tests;
