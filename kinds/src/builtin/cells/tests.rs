use serde_json::json;

use super::*;

#[test]
fn selectors_print_sorted_by_key() {
    let s = json!({"matchLabels": {"z": "1"}, "matchExpressions": [
        {"key": "b", "operator": "In", "values": ["y", "x"]},
        {"key": "c", "operator": "NotIn", "values": ["v"]},
        {"key": "a", "operator": "DoesNotExist"},
        {"key": "d", "operator": "Exists"}]});
    assert_eq!(selector(Some(&s)), "!a,b in (x,y),c notin (v),d,z=1");
    assert_eq!(selector(Some(&json!({}))), "<none>");
    assert_eq!(selector(None), "");
}

#[test]
fn long_lists_are_cut() {
    let items: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
    assert_eq!(first_three(&items), "a,b,c + 2 more...");
    assert_eq!(first_three(&items[..3]), "a,b,c");
}
