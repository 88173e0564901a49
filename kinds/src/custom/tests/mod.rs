#![allow(clippy::unwrap_used)]

mod costs;
mod paths;
mod refusals;
mod schemas;

use api::{conditions, field::Path};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{check, fill, kind, names, schema::Schema};
use crate::kind::{Kind, Part};

/// A definition of widgets with one version, accepted.
fn definition(schema: Value, version: Value) -> Value {
    let mut versions =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    versions.as_object_mut().unwrap().extend(version.as_object().cloned().unwrap_or_default());
    let names =
        json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [versions]},
        "status": {"acceptedNames": names},
    })
}

fn row(schema: Value, version: Value) -> Kind {
    kind::rows(&definition(schema, version)).remove(0)
}

fn of_spec(spec: Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec})
}

/// The errors of an object whose spec has the given schema.
fn errors(schema: &Value, spec: Value) -> Vec<String> {
    let kind = row(of_spec(schema.clone()), json!({}));
    kind.rules.validate(&object(spec)).errors.iter().map(ToString::to_string).collect()
}

#[test]
fn objects_are_filled_and_pruned() {
    let schema = of_spec(json!({
        "type": "object",
        "properties": {
            "a": {"type": "string", "default": "x"},
            "n": {"type": "string", "nullable": true, "default": "x"},
            "o": {"type": "object", "default": {}, "properties": {"p": {"type": "integer", "default": 1}}},
            "plain": {"type": "string"},
            "list": {"type": "array", "items": {"type": "object", "properties": {"q": {"type": "boolean", "default": true}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"r": {"type": "string"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"in": {"type": "object", "properties": {"s": {"type": "string"}}}}},
        },
    }));
    let kind = row(schema, json!({}));
    let filled = kind.rules.default(json!({
        "metadata": {"name": "a", "labels": {"l": "v"}}, "other": 1,
        "spec": {"n": null, "plain": null, "extra": 1, "list": [{}, {"q": false, "z": 1}],
                 "map": {"k": {"r": "1", "z": 1}}, "open": {"any": 1, "in": {"s": "1", "z": 1}}},
    }));
    assert_eq!(
        filled.unwrap(),
        json!({
            "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a", "labels": {"l": "v"}},
            "spec": {"a": "x", "n": null, "o": {"p": 1}, "list": [{"q": true}, {"q": false}],
                     "map": {"k": {"r": "1"}}, "open": {"any": 1, "in": {"s": "1"}}},
        })
    );
}

#[test]
fn long_lists_are_compared_once() {
    let items = json!({"type": "object", "properties": {"k": {"type": "integer"}, "v": {"type": "string", "maxLength": 3}}});
    let list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": items});
    let kind = row(of_spec(json!({"type": "object", "properties": {"f": list}})), json!({}));
    let of = |value: &dyn Fn(i64) -> &'static str| {
        object_of(&(0..30_000).map(|k| json!({"k": k, "v": value(k)})).collect())
    };
    let old = of(&|k| if k == 7 { "long" } else { "a" });
    let new = of(&|k| if k == 7 { "long" } else { "b" });
    let begun = std::time::Instant::now();
    let found = kind.rules.validate_update(&new, &old, Part::Main);
    assert!(found.errors.is_empty(), "what was too long may stay");
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

/// What is left of a value of a schema, and what a configuration with it is told when it is applied.
#[test]
fn unknown_fields_are_kept_where_a_schema_says_so() {
    let text = json!({"type": "string"});
    let known = json!({"type": "object", "properties": {"a": text}});
    let keeps = |mut schema: Value| {
        schema["x-kubernetes-preserve-unknown-fields"] = true.into();
        schema
    };
    let list = |items: &Value| json!({"type": "array", "items": items});
    let map = |values: Value| json!({"type": "object", "additionalProperties": values});
    let object = |of: &Value| json!({"type": "object", "properties": {"o": of}});
    let embedded =
        json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"a": text}});
    let given = json!({"a": "1", "z": {"y": 1}});
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "no": 1}, "a": "1", "z": 1});
    let pod_kept = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "a": "1"});
    // Schema, value, what is left, whether a configuration may have it.
    let cases = [
        (known.clone(), given.clone(), json!({"a": "1"}), false),
        (keeps(known.clone()), given.clone(), given.clone(), true),
        (list(&known), json!([given]), json!([{"a": "1"}]), false),
        // What a list keeps is its items' fields, not those of what they declare.
        (keeps(list(&known)), json!([given, given]), json!([given, given]), true),
        (keeps(list(&list(&known))), json!([[given]]), json!([[given]]), true),
        (
            keeps(list(&object(&known))),
            json!([{"o": given, "z": 1}]),
            json!([{"o": {"a": "1"}, "z": 1}]),
            true,
        ),
        (list(&keeps(known.clone())), json!([given]), json!([given]), true),
        (keeps(object(&known)), json!({"o": given, "z": 1}), json!({"o": {"a": "1"}, "z": 1}), true),
        (keeps(object(&list(&known))), json!({"o": [given]}), json!({"o": [{"a": "1"}]}), true),
        (
            keeps(object(&map(known.clone()))),
            json!({"o": {"k": given}}),
            json!({"o": {"k": {"a": "1"}}}),
            true,
        ),
        (keeps(json!({})), json!({"l": [given]}), json!({"l": [given]}), true),
        (keeps(json!({})), json!([given, 5]), json!([given, 5]), true),
        (keeps(object(&text)), json!("x"), json!("x"), true),
        (json!({"type": "object"}), given.clone(), json!({}), true),
        // Nothing is known of the values of a map of anything.
        (
            map(true.into()),
            json!({"k": 1, "l": {"z": 1}, "m": [{"z": 1}]}),
            json!({"k": 1, "l": {}, "m": [{}]}),
            true,
        ),
        (map(known.clone()), json!({"k": given}), json!({"k": {"a": "1"}}), false),
        (embedded.clone(), pod.clone(), pod_kept.clone(), false),
        (list(&embedded), json!([pod]), json!([pod_kept]), false),
        (json!({"x-kubernetes-int-or-string": true}), json!(true), json!(true), true),
        (json!({"x-kubernetes-int-or-string": true}), json!([1]), json!([1]), true),
        (json!({"type": "string", "format": "date"}), json!(5), json!(5), true),
        (json!({"type": "integer"}), json!(2.0), json!(2), true),
    ];
    for (schema, given, left, fits) in cases {
        let kind = row(of_spec(json!({"type": "object", "properties": {"f": schema}})), json!({}));
        let given = object_of(&given);
        let filled = kind.rules.default(given.clone()).unwrap();
        assert_eq!(filled["spec"], json!({"f": left}), "{schema}");
        let (types, root) = kind.object_type().unwrap();
        let versions = crate::kind::version::Versions { types, root, own: "example.com/v1", rows: &[] };
        let options = crate::apply::Options {
            manager: "m",
            force: false,
            subresource: "",
            status_leaves: &[],
            api_version: "example.com/v1".into(),
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        let applied = crate::apply::apply(versions, None, &given, &options);
        assert_eq!(applied.is_ok(), fits, "{schema}: {applied:?}");
    }
    let kind = row(of_spec(json!({"type": "object", "properties": {"f": embedded}})), json!({}));
    for (resource, why) in [
        (json!({"apiVersion": 5}), "spec.f.apiVersion: Invalid value: 5: must be a string"),
        (
            json!({"metadata": 5}),
            "spec.f.metadata: Invalid value: 5: json: cannot unmarshal number into Go value of type v1.ObjectMeta",
        ),
        (
            json!({"metadata": {"labels": {"a": 5}}}),
            "spec.f.metadata: Invalid value: {\"labels\":{\"a\":5}}: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string",
        ),
    ] {
        let refused = kind.rules.default(object_of(&resource)).unwrap_err();
        assert_eq!(refused.0, why);
    }
    // What is applied is not read as metadata before it is validated.
    let timeless = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"creationTimestamp": "x"}});
    let found = kind.rules.validate(&object_of(&timeless)).errors;
    assert_eq!(found.iter().next().map(|error| error.field.as_str()), Some("spec.f.metadata"));
}

fn object_of(f: &Value) -> Value {
    object(json!({"f": f}))
}

#[test]
fn versions_drop_what_they_do_not_declare_and_the_stored_one_fills_in() {
    let field = |default: &str| json!({"type": "string", "default": default});
    let version = |name: &str, storage: bool, own: &str| {
        let spec = json!({"type": "object", "properties": {
            "a": field(name), own: field(own), "only": {"type": "string"}, name: {"type": "string"}}});
        json!({"name": name, "served": true, "storage": storage, "schema": {"openAPIV3Schema": of_spec(spec)}})
    };
    let mut definition = definition(json!({}), json!({}));
    definition["spec"]["versions"] = json!([version("v1", false, "x"), version("v2", true, "y")]);
    let rows = kind::rows(&definition);
    let [v1, v2] = rows.as_slice() else { panic!("two versions") };
    let given = json!({"metadata": {"name": "a"}, "spec": {"v1": "1", "v2": "2", "only": "3"}});
    let written = v1.rules.default(given).unwrap();
    assert_eq!(written["spec"], json!({"a": "v1", "x": "x", "v1": "1", "only": "3"}));
    let stored = v1.stored_form(written);
    assert_eq!(
        (&stored["apiVersion"], &stored["spec"]),
        (&json!("example.com/v2"), &json!({"a": "v1", "only": "3"}))
    );
    assert_eq!(v2.own_form(stored.clone())["spec"], json!({"a": "v1", "y": "y", "only": "3"}));
    assert_eq!(v1.own_form(stored)["spec"], json!({"a": "v1", "only": "3"}));
    // Defaults are those of the stored version.
    let bare = json!({"apiVersion": "example.com/v2", "spec": {}});
    assert_eq!(v1.own_form(bare.clone())["spec"], json!({"a": "v2"}));
    assert_eq!(v2.own_form(bare)["spec"], json!({"a": "v2", "y": "y"}));
}

#[test]
fn rules_hold_objects() {
    let schema = json!({
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.metadata.name != 'bad'", "message": "no bad names"}],
        "properties": {"spec": {
            "type": "object",
            "x-kubernetes-validations": [
                {"rule": "self.min <= self.max", "messageExpression": "'%d is more than %d'.format([self.min, self.max])"},
                {"rule": "!has(self.fixed) || self.fixed == oldSelf.fixed", "message": "fixed is immutable", "reason": "FieldValueForbidden", "fieldPath": ".fixed"},
                {"rule": "oldSelf.hasValue() || self.max < 100", "optionalOldSelf": true, "message": "start small"},
            ],
            "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "fixed": {"type": "string"}},
        }},
    });
    let kind = row(schema, json!({}));
    let tell = |new: &Value, old: Option<&Value>| -> Vec<String> {
        let found = match old {
            None => kind.rules.validate(new),
            Some(old) => kind.rules.validate_update(new, old, Part::Main),
        };
        found.errors.iter().map(ToString::to_string).collect()
    };
    let fine = object(json!({"min": 1, "max": 2, "fixed": "a"}));
    assert!(tell(&fine, None).is_empty());
    assert_eq!(tell(&object(json!({"min": 3, "max": 2})), None), ["spec: Invalid value: 3 is more than 2"]);
    assert_eq!(tell(&object(json!({"min": 1, "max": 200})), None), ["spec: Invalid value: start small"]);
    let changed = object(json!({"min": 1, "max": 200, "fixed": "b"}));
    assert_eq!(tell(&changed, Some(&fine)), ["spec.fixed: Forbidden: fixed is immutable"]);
    let mut bad = fine.clone();
    bad["metadata"]["name"] = json!("bad");
    assert_eq!(tell(&bad, None), ["<nil>: Invalid value: no bad names"]);
    let missing = object(json!({"min": 3}));
    assert_eq!(
        tell(&missing, None)[0],
        "spec: Invalid value: \"object\": no such key: max evaluating rule: self.min <= self.max"
    );
}

#[test]
fn expensive_rules_are_given_up() {
    let schema = of_spec(json!({
        "type": "object", "properties": {"large": {
            "type": "array", "maxItems": 725, "items": {"type": "integer"},
            "x-kubernetes-validations": [{"rule": "self.all(x, self.all(y, x == y))"}],
        }},
    }));
    assert!(check::check(&schema, false, false, &Path::new("at")).is_empty());
    let kind = row(schema, json!({}));
    let told = kind.rules.validate(&object(json!({"large": vec![20; 725]}))).errors;
    assert!(told.iter().next().unwrap().body.contains("call cost exceeds limit"), "{told:?}");
    assert!(kind.rules.validate(&object(json!({"large": vec![20; 20]}))).errors.is_empty());
}

#[test]
fn rows_are_made_from_a_definition() {
    let version = json!({
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.s"}},
        "additionalPrinterColumns": [
            {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
            {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1},
            {"name": "When", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            {"name": "All", "type": "string", "jsonPath": ".spec.list"},
            {"name": "First", "type": "string", "jsonPath": ".spec.list[*]"},
        ],
        "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.n"}],
        "deprecated": true,
    });
    let mut definition =
        definition(of_spec(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})), version);
    definition["spec"]["versions"].as_array_mut().unwrap().push(json!({
        "name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}},
    }));
    let rows = kind::rows(&definition);
    let [row, other] = rows.as_slice() else { panic!("two versions") };
    assert!(row.is_stored_form() && !other.is_stored_form() && row.has_status() && !other.has_status());
    assert_eq!(row.scale.as_ref().unwrap().selector, Some(vec!["status".into(), "s".into()]));
    let object = json!({
        "metadata": {"name": "a", "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {"n": 3, "color": "red", "list": ["x", "y"]},
        "status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]},
    });
    let now = "2024-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(
        row.cells(&object, now),
        [json!("a"), json!(3), json!("True"), json!("60s"), json!("[\"x\",\"y\"]"), json!("x")]
    );
    assert_eq!(row.rules.columns()[2].priority, 1);
    assert_eq!(
        row.rules.selectable_fields(&object),
        [("spec.color".into(), "red".to_owned()), ("spec.n".into(), "3".to_owned())]
    );
    assert_eq!(row.deprecation.as_deref(), Some("example.com/v1 Widget is deprecated"));
    assert_eq!(other.deprecation, None);
    assert_eq!(other.rules.columns().iter().map(|c| c.name.to_string()).collect::<Vec<_>>(), ["Name", "Age"]);
    assert_eq!(other.own_form(object)["apiVersion"], "example.com/v1beta1");
    // What a webhook would have to convert is not served.
    definition["spec"]["conversion"] = json!({"strategy": "Webhook"});
    assert_eq!(kind::rows(&definition).len(), 1);
}

#[test]
fn two_definitions_do_not_share_a_name() {
    let first = definition(json!({"type": "object"}), json!({}));
    let mut second = first.clone();
    second["metadata"]["name"] = json!("gadgets.example.com");
    second["spec"]["names"] = json!({"plural": "gadgets", "singular": "gadget", "kind": "Widget", "listKind": "GadgetList", "shortNames": ["widget"]});
    second.as_object_mut().unwrap().remove("status");
    let all = [first.clone(), second.clone()];
    let status = names::status(&second, &all, "t").unwrap();
    let told: Vec<String> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| format!("{}={} {}: {}", c["type"], c["status"], c["reason"], c["message"]))
        .collect();
    assert_eq!(
        told,
        [
            "\"NamesAccepted\"=\"False\" \"KindConflict\": \"\\\"Widget\\\" is already in use\"",
            "\"Established\"=\"False\" \"NotAccepted\": \"not all names are accepted\"",
        ]
    );
    assert_eq!(
        status["acceptedNames"],
        json!({"plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"})
    );
    // Alone it is established, and then there is nothing more to say.
    let mut alone = second;
    alone["status"] = names::status(&alone, &[], "t").unwrap();
    assert!(conditions::holds(&alone, "Established") && conditions::holds(&alone, "NamesAccepted"));
    assert_eq!(alone["status"]["acceptedNames"], alone["spec"]["names"]);
    assert_eq!(names::status(&alone, &all, "later"), None);
}

#[test]
fn kinds_are_published_with_what_every_object_has() {
    let kind = row(
        of_spec(
            json!({"type": "object", "properties": {"p": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}}}),
        ),
        json!({}),
    );
    let mut generator = crate::schema::schema_generator();
    let schema = kind.rules.schema(&mut generator).to_value();
    assert_eq!(schema["properties"]["kind"]["type"], "string");
    assert!(schema["properties"]["metadata"]["$ref"].as_str().unwrap().ends_with("ObjectMeta"));
    let description = schema["properties"]["metadata"]["description"].as_str().unwrap();
    assert!(description.starts_with("Standard object's metadata. More info: "), "{description}");
    assert_eq!(schema["properties"]["spec"]["properties"]["p"], json!({"x-kubernetes-int-or-string": true}));
}

proptest! {
    #[test]
    fn no_schema_and_no_value_panics(schema in crate::schema::tests::any_json(), value in crate::schema::tests::any_json()) {
        check::check(&schema, true, false, &Path::new("at"));
        let mut filled = value.clone();
        let read = Schema::read(&schema);
        fill::drop_nulls(&mut filled, &read);
        fill::defaults(&mut filled, &read);
        fill::prune(&mut filled, &read, true);
        let kind = row(schema, json!({}));
        kind.rules.validate_update(&filled, &value, Part::Main);
    }
}
