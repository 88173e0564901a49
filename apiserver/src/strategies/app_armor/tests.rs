use serde_json::json;

use super::profile;

#[test]
fn annotations_name_profiles() {
    for (name, wanted) in [
        ("unconfined", json!({"type": "Unconfined"})),
        ("runtime/default", json!({"type": "RuntimeDefault"})),
        ("localhost/a/b", json!({"type": "Localhost", "localhostProfile": "a/b"})),
        ("localhost/", json!(null)),
        ("localhost/ a", json!(null)),
        ("other", json!(null)),
    ] {
        assert_eq!(profile(name).unwrap_or_default(), wanted, "{name}");
    }
}
