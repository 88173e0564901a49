use serde_json::json;

use super::*;

#[test]
fn what_could_not_be_read_again_is_not_stored() {
    let table = crate::registry::Registry::builtin().table();
    let kind = crate::resources::NAMESPACES.row(&table).unwrap();
    let nested = |levels: usize| (0..levels).fold(json!({}), |value, _| json!([value]));
    let bytes = stored(kind, &nested(MAX_DEPTH - 1)).unwrap();
    assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
    assert_eq!(stored(kind, &nested(MAX_DEPTH)).unwrap_err().code, 400);
}

#[test]
fn only_the_resource_version_of_the_object_itself_is_left_out() {
    let object = json!({
        "kind": "A",
        "metadata": {"name": "a", "resourceVersion": "7"},
        "spec": {"metadata": {"resourceVersion": "8"}},
    });
    let text = serde_json::to_value(Unversioned(&object)).unwrap();
    let expected =
        json!({"kind": "A", "metadata": {"name": "a"}, "spec": {"metadata": {"resourceVersion": "8"}}});
    assert_eq!(text, expected);
    assert_eq!(serde_json::to_value(Unversioned(&json!(["x"]))).unwrap(), json!(["x"]));
}
