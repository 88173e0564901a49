use serde_json::{Value, json};

use super::*;
use crate::kind::{Rules, Typed};

fn map(fields: Value) -> Value {
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    json_patch::merge(&mut map, &fields);
    map
}

#[test]
fn keys_are_words_and_values_fit() {
    for (fields, expected) in [
        (json!({"data": {"a.b": "c"}, "binaryData": {"x_1": "AA=="}}), vec![]),
        (
            json!({"binaryData": {"..x": "AA=="}}),
            vec!["binaryData[..x]: Invalid value: \"..x\": must not start with '..'"],
        ),
        (
            json!({"data": {"a": "x".repeat(MAX_SIZE + 1)}}),
            vec!["[]: Too long: may not be more than 1048576 bytes"],
        ),
    ] {
        let said: Vec<String> =
            Typed::<ConfigMap>::RULES.validate(&map(fields)).errors.iter().map(ToString::to_string).collect();
        assert_eq!(said, expected);
    }
}

#[test]
fn immutable_is_for_ever() {
    let old = map(json!({"immutable": true, "data": {"a": "1"}}));
    let new = map(json!({"data": {"a": "2"}}));
    let found = Typed::<ConfigMap>::RULES.validate_update(&new, &old, Part::Main);
    let fields: Vec<&str> = found.errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["immutable", "data"]);
}
