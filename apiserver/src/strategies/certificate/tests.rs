use super::*;

#[test]
fn a_condition_that_stays_keeps_its_time() {
    let old = json!({"status": {"conditions": [{"type": "Approved", "status": "True", "lastTransitionTime": "a"}]}});
    let mut new = json!({"status": {"conditions": [
        {"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True", "lastUpdateTime": "b"}]}});
    stamp(&mut new, &old);
    let conditions = &new["status"]["conditions"];
    assert_eq!(conditions[0]["lastTransitionTime"], "a");
    assert_eq!(conditions[1]["lastUpdateTime"], "b");
    assert!(conditions[1]["lastTransitionTime"].as_str().is_some_and(|t| t.ends_with('Z')));
}
