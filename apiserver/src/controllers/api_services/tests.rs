use super::*;
use crate::registry::Registry;

#[test]
fn every_group_version_has_one() {
    let all = wanted(&Registry::builtin().table());
    assert_eq!(
        all["v1."]["spec"],
        json!({"version": "v1", "groupPriorityMinimum": 18_000, "versionPriority": 1})
    );
    assert_eq!(all["v2.autoscaling"]["spec"]["versionPriority"], 30);
    assert_eq!(all["v1.apps"]["metadata"]["labels"][MANAGED], "onstart");
    assert!(!all.contains_key("v1.apiregistration.k8s.io"));
}
