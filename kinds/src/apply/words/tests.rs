use serde_json::json;

use super::*;

#[test]
fn values_are_shown_as_go_does() {
    let value = json!({"b": [1, "x", null], "a": {"c": true}});
    assert_eq!(shown(&value), "&{map[a:map[c:true] b:[1 x <nil>]]}");
    assert_eq!(shown(&json!("yes")), "&{yes}");
    assert_eq!(quoted(&json!(8080)), "&value.valueUnstructured{Value:8080}");
    assert_eq!(
        quoted(&value),
        "&value.valueUnstructured{Value:map[string]interface {}{\"a\":map[string]interface {}{\"c\":true}, \"b\":[]interface {}{1, \"x\", interface {}(nil)}}}"
    );
    assert_eq!(type_of(&json!("x")), "string");
}
