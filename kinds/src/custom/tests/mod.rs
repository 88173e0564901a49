#![allow(clippy::unwrap_used)]

mod costs;
mod paths;
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
fn values_keep_to_their_schema() {
    for (schema, value, expected) in [
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec: Invalid value: \"string\": spec in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!(5),
            "spec: Invalid value: \"int64\": spec in body must be of type ipv4: \"int64\"",
        ),
        (
            json!({"type": "string", "format": "unheard-of"}),
            json!(5),
            "spec: Invalid value: \"integer\": spec in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(true),
            "spec: Invalid value: \"\": spec in body must be of type int32: \"\"",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!("x"),
            "spec: Invalid value: \"string\": spec in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "integer", "multipleOf": 2.5}),
            json!(3),
            "spec: Invalid value: 3: spec in body should be a multiple of 2.5",
        ),
        (
            json!({"type": "number", "multipleOf": 0.5}),
            json!(1),
            "spec: Invalid value: 0: factor MultipleOf declared for spec must be positive: 0",
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(2_147_483_648_i64),
            "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in spec",
        ),
        (
            json!({"type": "string", "pattern": "^a+$", "minLength": 2}),
            json!("b"),
            "spec: Invalid value: \"b\": spec in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "spec: Invalid value: \"null\": spec in body must be of type string: \"null\"",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec: Invalid value: \"boolean\": spec in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec: Invalid value: 0: spec in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            "spec: Invalid value: 1: spec in body should be greater than 1",
        ),
        (
            json!({"type": "integer", "maximum": 10}),
            json!(11),
            "spec: Invalid value: 11: spec in body should be less than or equal to 10",
        ),
        (
            json!({"type": "integer", "multipleOf": 5}),
            json!(7),
            "spec: Invalid value: 7: spec in body should be a multiple of 5",
        ),
        (
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            "spec: Invalid value: \"b\": spec in body should match '^a+$'",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("b"),
            "spec: Invalid value: \"b\": spec in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("bb"),
            "spec: Too long: may not be more than 1 bytes",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("now"),
            "spec: Invalid value: \"now\": spec in body must be of type date-time: \"now\"",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "integer"}}),
            json!([1, 2]),
            "spec: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "integer"}}),
            json!([]),
            "spec: Invalid value: 0: spec in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!([1, "x"]),
            "spec[1]: Invalid value: \"string\": spec[1] in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!({}),
            "spec.a: Required value",
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"a": "1", "b": "2"}),
            "spec: Too many: 2: must have at most 1 item",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"a": 1}),
            "spec.a: Invalid value: \"integer\": spec.a in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a"]),
            "spec[2]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}}),
            json!([{"k": "a"}, {"k": "a"}]),
            "spec[1]: Duplicate value: {\"k\":\"a\"}",
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}),
            json!({"apiVersion": "v1"}),
            "spec.kind: Required value",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}}, "not": {"required": ["a"]}}),
            json!({"a": 1}),
            "<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)",
        ),
    ] {
        assert_eq!(errors(&schema, value.clone()), [expected], "{schema} {value}");
    }
}

#[test]
fn of_numbers_all_that_is_wrong_is_told() {
    let schema = json!({"type": "integer", "minimum": 3, "maximum": 1});
    assert_eq!(
        errors(&schema, json!(1.5)),
        [
            "spec: Invalid value: \"number\": spec in body must be of type integer: \"number\"",
            "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in spec",
            "spec: Invalid value: 1.5: spec in body should be greater than or equal to 3",
            "spec: Invalid value: 1.5: spec in body should be less than or equal to 1",
        ]
    );
}

#[test]
fn scales_can_be_shown() {
    let open = json!({"x-kubernetes-preserve-unknown-fields": true});
    let paths = json!({"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.s"});
    let kind = row(of_spec(open), json!({"subresources": {"status": {}, "scale": paths}}));
    let tell = |object: &Value, part| -> Vec<String> {
        let found = kind.rules.validate_update(object, &json!({}), part);
        found.errors.iter().map(ToString::to_string).collect()
    };
    for (spec, why) in [
        (json!({"n": "x"}), "0: .spec.n accessor error: x is of the type string, expected int64"),
        (
            json!({"n": [1, {"a": null}]}),
            "0: .spec.n accessor error: [1 map[a:<nil>]] is of the type []interface {}, expected int64",
        ),
        (json!(5), "0: .spec.n accessor error: 5 is of the type int64, expected map[string]interface{}"),
        (json!({"n": -1}), "-1: should be a non-negative integer"),
        (json!({"n": 2_147_483_648_i64}), "2147483648: should be less than or equal to 2147483647"),
    ] {
        assert_eq!(tell(&object(spec.clone()), Part::Main), [format!(".spec.n: Invalid value: {why}")]);
        assert!(tell(&object(spec), Part::Status).is_empty());
    }
    for fine in [json!({}), json!({"n": 0}), json!(null)] {
        assert!(tell(&object(fine), Part::Main).is_empty());
    }
    let mut object = object(json!({}));
    object["status"] = json!({"s": 5});
    let why = "accessor error: 5 is of the type int64, expected string";
    assert_eq!(tell(&object, Part::Status), [format!(".status.s: Invalid value: \"\": .status.s {why}")]);
}

#[test]
fn wrong_metadata_is_named_from_where_it_begins() {
    let kind = row(json!({"type": "object"}), json!({}));
    let (types, root) = kind.object_type().unwrap();
    for (metadata, why) in [
        (json!({"labels": {"a": 5}}), "number into Go struct field ObjectMeta.labels of type string"),
        (json!("x"), "string into Go value of type v1.ObjectMeta"),
    ] {
        let refused = types.conform(&mut json!({"metadata": metadata}), root).unwrap_err();
        assert_eq!(refused.0, format!("json: cannot unmarshal {why}"));
    }
}

#[test]
fn logic_is_told_with_its_closest_part() {
    let schema = json!({
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    });
    assert!(errors(&schema, json!({"a": 1})).is_empty());
    assert_eq!(
        errors(&schema, json!({})),
        [
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid",
            "spec.a: Required value",
        ]
    );
    assert_eq!(
        errors(&schema, json!({"a": 1, "b": 1})),
        [
            "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives"
        ]
    );
    let schema = json!({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 1}]});
    assert!(errors(&schema, json!(0)).is_empty());
    assert_eq!(errors(&schema, json!(5)).len(), 2);
    let schema = json!({"type": "integer", "allOf": [{"minimum": 10}, {"maximum": 20}]});
    assert_eq!(
        errors(&schema, json!(5)),
        [
            "spec: Invalid value: 5: spec in body should be greater than or equal to 10",
            "<nil>: Invalid value: \"\": \"spec\" must validate all the schemas (allOf)",
        ]
    );
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
fn what_was_wrong_before_may_stay() {
    let schema = of_spec(json!({
        "type": "object", "properties": {
            "a": {"type": "string", "maxLength": 1},
            "b": {"type": "string", "x-kubernetes-validations": [{"rule": "self.startsWith('b')"}]},
            "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                      "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
            "atoms": {"type": "array", "items": {"type": "integer", "maximum": 1}},
        },
    }));
    let kind = row(schema, json!({}));
    let old = object(json!({"a": "long", "b": "x", "parts": [{"k": "p", "v": 5}], "atoms": [5]}));
    let tell = |spec: Value| -> Vec<String> {
        let new = object(spec);
        kind.rules.validate_update(&new, &old, Part::Main).errors.iter().map(ToString::to_string).collect()
    };
    let same = json!({"a": "long", "b": "x", "parts": [{"k": "o"}, {"k": "p", "v": 5}], "atoms": [5]});
    assert!(tell(same.clone()).is_empty());
    let told = kind.rules.validate_update(&object(same), &old, Part::Main).warnings;
    assert_eq!(told, ["spec.b: Invalid value: \"x\": failed rule: self.startsWith('b')"]);
    assert_eq!(
        tell(json!({"a": "other", "b": "x"})),
        [
            "spec.a: Too long: may not be more than 1 bytes",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ]
    );
    assert_eq!(tell(json!({"b": "y"})), ["spec.b: Invalid value: \"y\": failed rule: self.startsWith('b')"]);
    assert_eq!(
        tell(json!({"atoms": [5, 1]})),
        ["spec.atoms[0]: Invalid value: 5: spec.atoms[0] in body should be less than or equal to 1"]
    );
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
