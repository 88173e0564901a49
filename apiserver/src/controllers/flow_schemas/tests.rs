use serde_json::json;

use super::*;

#[test]
fn a_condition_is_written_when_it_says_something_else() {
    let schema = json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}, "status": {
        "conditions": [{"type": "Other"}]}});
    let missing = told(&schema, false, "0");
    let condition = &missing["status"]["conditions"][1];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("NotFound")));
    assert_eq!(told(&missing, false, "5"), missing);
    let mut found = told(&missing, true, "5");
    assert_eq!(found["status"]["conditions"][1]["lastTransitionTime"], "5");
    assert_eq!(found["status"]["conditions"].as_array().map(Vec::len), Some(2));
    found["spec"]["priorityLevelConfiguration"]["name"] = json!("m");
    let renamed = told(&found, true, "9");
    assert_ne!(renamed, found);
    assert_eq!(renamed["status"]["conditions"][1]["lastTransitionTime"], "5");
}
