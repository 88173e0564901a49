//! Which schemas can be served.

use super::*;

fn schema_errors(schema: &Value) -> Vec<String> {
    check::check(schema, false, false, &Path::new("at")).iter().map(ToString::to_string).collect()
}

#[test]
fn schemas_are_structural() {
    for (schema, expected) in [
        (json!({}), "at.type: Required value: must not be empty at the root"),
        (json!({"type": "string"}), "at.type: Invalid value: \"string\": must be object at the root"),
        (
            json!({"type": "object", "properties": {"a": {}}}),
            "at.properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            "at.properties[a].items: Required value: must be specified",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
            "at.properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            "at.additionalProperties: Forbidden: must not be used at the root",
        ),
        (
            json!({"type": "object", "anyOf": [{"properties": {"a": {"minimum": 1}}}]}),
            "at.properties[a]: Required value: because it is defined in at.anyOf[0].properties[a]",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "anyOf": [{"type": "integer"}]}}}),
            "at.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            "at.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "integer"}}}),
            "at.properties[kind].type: Invalid value: \"integer\": must be string",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            "at.properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: unclosed group",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "default": 1}}}),
            "at.properties[a].default: Invalid value: \"integer\":  in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "default": [1]}}}),
            "at.properties[a].default.[0]: Invalid value: \"integer\": [0] in body must be of type string: \"integer\"",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": 1, "minimum": 5.0}}}),
            "at.properties[a].default: Invalid value: 1:  in body should be greater than or equal to 5",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "default": {"b": 1}}}}),
            "at.properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields",
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}}}),
            "at.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "set"}}}),
            "at.properties[a].type: Unsupported value: \"set\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}}}),
            "at.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}}}),
            "at.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["x"]}}}),
            "at.properties[a].items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "string"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}}}),
            "at.properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
            "at.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ),
        (json!({"type": "object", "$ref": "x"}), "at.$ref: Forbidden: $ref is not supported"),
        (
            json!({"type": "object", "nullable": true}),
            "at.nullable: Forbidden: nullable cannot be true at the root",
        ),
    ] {
        assert_eq!(schema_errors(&schema), [expected], "{schema}");
    }
    let fine = json!({
        "type": "object", "properties": {
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "size": {"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "^[0-9]+$"}]},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}},
        },
    });
    assert!(schema_errors(&fine).is_empty(), "{:?}", schema_errors(&fine));
}

#[test]
fn rules_of_a_schema_are_checked() {
    let of = |rule: Value| {
        of_spec(
            json!({"type": "object", "properties": {"x": {"type": "integer"}}, "x-kubernetes-validations": [rule]}),
        )
    };
    let at = "at.properties[spec].x-kubernetes-validations[0]";
    for (rule, field, part) in [
        (
            json!({"rule": "self.z == 100"}),
            "rule",
            "compilation failed: ERROR: <input>:1:5: undefined field 'z'",
        ),
        (json!({"rule": "self.x"}), "rule", "cel expression must evaluate to a bool"),
        (json!({"rule": "self.x ="}), "rule", "Syntax error"),
        (json!({"rule": " "}), "rule", "Required value: rule is not specified"),
        (json!({"rule": "true", "message": " "}), "message", "message must be non-empty if specified"),
        (
            json!({"rule": "true\n&& true"}),
            "message",
            "message must be specified if rule contains line breaks",
        ),
        (
            json!({"rule": "true", "messageExpression": "self.x"}),
            "messageExpression",
            "must evaluate to a string",
        ),
        (json!({"rule": "true", "reason": "Nope"}), "reason", "Unsupported value: \"Nope\""),
        (json!({"rule": "true", "fieldPath": ".nope"}), "fieldPath", "must be a valid path"),
        (
            json!({"rule": "true", "optionalOldSelf": true}),
            "optionalOldSelf",
            "may not be set if oldSelf is not used in rule",
        ),
    ] {
        let told = schema_errors(&of(rule.clone()));
        assert_eq!(told.len(), 1, "{rule}: {told:?}");
        assert!(
            told[0].starts_with(&format!("{at}.{field}: ")) && told[0].contains(part),
            "{rule}: {told:?}"
        );
    }
    assert!(schema_errors(&of(json!({"rule": "self.x > oldSelf.x", "fieldPath": ".x"}))).is_empty());
    let list = of_spec(
        json!({"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}}),
    );
    assert!(schema_errors(&list).iter().any(|e| e.contains(
        "oldSelf cannot be used on the uncorrelatable portion of the schema within at.properties[spec]"
    )));
    let costly = of_spec(json!({"type": "object", "properties": {"x": {"type": "array", "items": {
        "type": "array", "items": {"type": "string"}, "x-kubernetes-validations": [{"rule": "self.all(s, s == 'string constant')"}]}}}}));
    let told = schema_errors(&costly);
    assert!(told[0].contains("estimated rule cost exceeds budget by factor of more than 100x"), "{told:?}");
    assert!(
        told.last().unwrap().contains("estimated rule cost total for entire OpenAPIv3 schema exceeds budget"),
        "{told:?}"
    );
    // What was accepted once is not judged by the cost of single rules again.
    let again = check::check(&costly, false, true, &Path::new("at"));
    assert!(again.iter().all(|e| !e.body.contains("estimated rule cost exceeds")), "{again:?}");
}
