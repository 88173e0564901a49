use super::*;
use crate::registry::Registry;

#[test]
fn who_serves_what_is_not_ours_is_looked_for() {
    let service = |port: i64| json!({"spec": {"service": {"namespace": "a", "name": "b", "port": port}}});
    let found = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 443}]}});
    let outside = json!({"spec": {"type": "ExternalName"}});
    let of = |service: &Value, found: Option<&Value>| {
        availability(service, |key| {
            assert_eq!(key, "a/b");
            found.cloned()
        })
    };
    let why = "service/b in \"a\" is not present";
    assert_eq!(of(&service(443), None), (false, "ServiceNotFound", why.into()));
    let why = "service/b in \"a\" is not listening on port 8443";
    assert_eq!(of(&service(8443), Some(&found)), (false, "ServicePortError", why.into()));
    assert_eq!(of(&service(443), Some(&found)).1, "FailedDiscoveryCheck");
    assert_eq!(of(&service(8443), Some(&outside)).1, "FailedDiscoveryCheck");
    assert!(availability(&json!({"spec": {}}), |_| None).0);
}

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
