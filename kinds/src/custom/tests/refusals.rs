//! What is told of objects that do not keep to their schema.

use super::*;

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
