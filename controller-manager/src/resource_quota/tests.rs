use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::plan;
use super::*;

fn quota(spec: Value, status: Value) -> ResourceQuota {
    let metadata = json!({"name": "q", "namespace": "n", "uid": "u", "resourceVersion": "7"});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn pod(name: &str, spec: Value, status: Value) -> Pod {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]);
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": status})).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

#[test]
fn what_a_quota_is_about_is_counted() {
    let pods = [
        pod("runs", json!({}), json!({"phase": "Running"})),
        pod("ends", json!({"activeDeadlineSeconds": 9}), json!({"phase": "Running"})),
        pod("done", json!({}), json!({"phase": "Succeeded"})),
    ];
    let counted = Counted::of("", "pods").unwrap();
    let cases = [
        (
            json!({"hard": {"pods": "1", "requests.cpu": "1", "secrets": "1"}}),
            json!({"pods": "2", "requests.cpu": "200m"}),
        ),
        (
            json!({"hard": {"count/pods": "1", "limits.cpu": "1"}}),
            json!({"count/pods": "3", "limits.cpu": "0"}),
        ),
        (json!({"hard": {"pods": "1"}, "scopes": ["Terminating"]}), json!({"pods": "1"})),
        (json!({"hard": {"services": "1"}}), json!({})),
    ];
    for (spec, expected) in cases {
        let used = plan::usage(&quota(spec.clone(), json!({})), &counted, &pods, at(0));
        let used: Value = used.into_iter().map(|(name, amount)| (name, json!(amount.wire()))).collect();
        assert_eq!(used, expected, "{spec}");
    }
}

#[test]
fn the_status_follows_what_was_counted_and_overwrites_nothing_newer() {
    let (status, hard) =
        (json!({"hard": {"pods": "2"}, "used": {"pods": "5"}}), json!({"hard": {"pods": "2"}}));
    let counted = |pods: i64| Amounts::from([("pods".to_owned(), api::quantity::Quantity::whole(pods))]);
    let body = |quota: &ResourceQuota, counted: &Amounts| match plan::write(quota, counted) {
        Some(crate::frame::Action::Patch { body, subresource: Some("status"), .. }) => body,
        None => Value::Null,
        other => panic!("{other:?}"),
    };
    let over = |status: Value| json!({"metadata": {"uid": "u", "resourceVersion": "7"}, "status": status});
    for (old, now, expected) in [
        (
            quota(hard.clone(), json!(null)),
            counted(3),
            over(json!({"hard": {"pods": "2"}, "used": {"pods": "3"}})),
        ),
        (quota(hard.clone(), status.clone()), counted(5), Value::Null),
        (quota(hard.clone(), status.clone()), counted(1), over(json!({"used": {"pods": "1"}}))),
        // A new limit, one that is gone, and one that cannot be counted now.
        (
            quota(
                json!({"hard": {"pods": "1", "count/ships.example.org": "1"}}),
                json!({"hard": {"pods": "2", "secrets": "1"}, "used": {"pods": "5", "secrets": "1", "count/ships.example.org": "4"}}),
            ),
            counted(5),
            over(
                json!({"hard": {"pods": "1", "count/ships.example.org": "1", "secrets": null}, "used": {"secrets": null}}),
            ),
        ),
        (
            quota(json!({"hard": {"pods": "2"}}), json!({"hard": {"pods": "2"}, "used": {"pods": "2000m"}})),
            counted(2),
            Value::Null,
        ),
    ] {
        assert_eq!(body(&old, &now), expected, "{old:?}");
    }
}

#[test]
fn quotas_are_counted_for_what_they_say_and_not_for_what_is_charged() {
    let one = |hard: &str, status: &str, used: &str| {
        quota(json!({"hard": {"pods": hard}}), json!({"hard": {"pods": status}, "used": {"pods": used}}))
    };
    for (old, new, expected) in [
        (None, quota(json!({"hard": {"pods": "1"}}), json!({})), true),
        (None, quota(json!({}), json!({})), false),
        (Some(one("1", "1", "0")), one("1", "1", "1"), false),
        (Some(one("1", "1", "0")), one("2", "1", "0"), true),
        (Some(one("1", "1", "0")), one("1", "3", "0"), true),
    ] {
        assert_eq!(plan::is_new_to(old.as_ref(), &new), expected, "{old:?} {new:?}");
    }
}

#[test]
fn pods_that_outlive_their_deletion_are_looked_at_then() {
    let deleted = |seconds: i64| {
        let mut pod = pod("p", json!({}), json!({}));
        pod.metadata.deletion_timestamp = Some(crate::frame::api_time(at(seconds)));
        pod.metadata.deletion_grace_period_seconds = Some(30);
        Arc::new(pod)
    };
    let pods = [deleted(100), deleted(70), Arc::new(pod("p", json!({}), json!({})))];
    assert_eq!(plan::next_end(&pods, at(90)), Some(Duration::from_secs(11)));
    assert_eq!(plan::next_end(&pods, at(101)), Some(Duration::from_secs(30)));
    assert_eq!(plan::next_end(&pods, at(131)), None);
}
