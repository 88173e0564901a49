//! Which fields are told apart, and whose they are.

use serde_json::{Value, json};

use super::*;

/// What is sent in `managedFields` (nothing, if `None`) with an update that changes nothing, and who manages then.
#[test]
fn updates_may_say_who_manages() {
    let (types, root) = types("ConfigMap");
    let map = || json!({"metadata": {"name": "x"}, "data": {"a": "1", "b": "2"}});
    let first = track_update(versions(types, root), None, map(), &options("one", 0));
    let entry = |change: Value| {
        let mut entry = json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}}});
        json_patch::merge(&mut entry, &change);
        entry
    };
    let kept = [r#"one/Update: {"f:data":{".":{},"f:a":{},"f:b":{}}}"#];
    let sent = [r#"x/Update: {"f:data":{"f:a":{}}}"#];
    let cases: [(Option<Value>, &[&str]); 11] = [
        (None, &kept),
        (Some(json!([])), &[]),
        (Some(json!([{}])), &[]),
        (Some(json!([{}, {}])), &kept),
        (Some(json!([entry(json!({}))])), &sent),
        // Who writes a version that is not served, or no fields, manages nothing.
        (Some(json!([entry(json!({"apiVersion": "v9"}))])), &[]),
        (Some(json!([entry(json!({"fieldsV1": null}))])), &[]),
        (Some(json!([entry(json!({"fieldsV1": {"f:data": null, "z:data": {}}}))])), &[]),
        (Some(json!([entry(json!({"apiVersion": ""}))])), &kept),
        (Some(json!([entry(json!({"fieldsType": "FieldsV2"}))])), &kept),
        (Some(json!([entry(json!({"fieldsV1": {"f:data": {"f:b": {}}}})), entry(json!({}))])), &sent),
    ];
    for (managed, expected) in cases {
        let mut new = map();
        if let Some(managed) = &managed {
            new["metadata"]["managedFields"] = managed.clone();
            types.conform(&mut new, root).unwrap();
        }
        let updated = track_update(versions(types, root), Some(&first), new, &options("two", 5));
        assert_eq!(owners(&updated), expected, "{managed:?}");
    }
    // Nobody has written yet through a part of the object that the entries are not for.
    let mut new = map();
    new["metadata"]["managedFields"] = json!([]);
    let status = Options { subresource: "status", ..options("two", 5) };
    assert_eq!(owners(&track_update(versions(types, root), Some(&first), new, &status)), kept);
}

#[test]
fn values_count_as_they_are_written() {
    let (types, root) = types("Deployment");
    let config = |cpu: Value| {
        json!({"metadata": {"name": "x"}, "spec": {"replicas": 2.0, "template": {"spec":
        {"containers": [{"name": "c", "resources": {"limits": {"cpu": cpu}}}]}}}})
    };
    let mut live = apply(versions(types, root), None, &config(json!("1000m")), &options("one", 0)).unwrap();
    types.conform(&mut live, root).unwrap();
    assert_eq!(live["spec"]["replicas"], json!(2));
    for (manager, cpu, taken) in [
        ("two", json!("1000m"), true),
        ("two", json!(1), true),
        ("two", json!("1"), false),
        ("one", json!("1000m"), false),
    ] {
        let result = apply(versions(types, root), Some(&live), &config(cpu.clone()), &options(manager, 1));
        assert_eq!(matches!(result, Err(Refusal::Conflicts(_))), taken, "{manager} {cpu}");
    }
}

/// Applies one container after the other; what is owned of the second one's ports then.
#[test]
fn items_are_told_apart_by_the_keys_they_are_written_with() {
    let (types, root) = types("Pod");
    let cases = [
        (json!({"containerPort": 80}), r#"k:{"containerPort":80,"protocol":"TCP"}"#),
        (json!({"containerPort": 80, "protocol": null}), r#"k:{"containerPort":80,"protocol":null}"#),
        (json!({"containerPort": 80.0, "protocol": "UDP"}), r#"k:{"containerPort":80,"protocol":"UDP"}"#),
        // What is always there in Go is there as its zero.
        (json!({"name": "web"}), r#"k:{"containerPort":0,"protocol":"TCP"}"#),
        (json!({"containerPort": null}), r#"k:{"containerPort":null,"protocol":"TCP"}"#),
    ];
    for (port, element) in cases {
        let config = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"ports": [port]}]}});
        let applied = apply(versions(types, root), None, &config, &options("me", 0)).unwrap();
        let containers = &applied["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:containers"];
        let ports = containers[r#"k:{"name":""}"#]["f:ports"].as_object().unwrap();
        assert_eq!(ports.keys().collect::<Vec<_>>(), [element], "{port}");
    }
}

#[test]
fn what_its_last_owner_drops_goes() {
    let (types, root) = types("Deployment");
    let container = |more: Value| {
        let mut container = more;
        container["name"] = "c".into();
        json!({"metadata": {"name": "x"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [container]}}}})
    };
    let mut live = None;
    // Who applies what, and what is left of the container.
    for (manager, config, left) in [
        (
            "one",
            container(json!({"image": "i", "securityContext": {"runAsUser": 5}})),
            json!({"name": "c", "image": "i", "securityContext": {"runAsUser": 5}}),
        ),
        (
            "two",
            container(json!({"securityContext": {"runAsUser": 5, "runAsGroup": 6}})),
            json!({"name": "c", "image": "i", "securityContext": {"runAsUser": 5, "runAsGroup": 6}}),
        ),
        // The image was needed, but nobody applies it any more.
        (
            "one",
            container(json!({})),
            json!({"name": "c", "securityContext": {"runAsUser": 5, "runAsGroup": 6}}),
        ),
        ("two", container(json!({"securityContext": {}})), json!({"name": "c", "securityContext": {}})),
        ("two", container(json!({"securityContext": null})), json!({"name": "c", "securityContext": null})),
    ] {
        let applied = apply(versions(types, root), live.as_ref(), &config, &options(manager, 1)).unwrap();
        assert_eq!(applied["spec"]["template"]["spec"]["containers"][0], left, "{manager} {config}");
        live = Some(applied);
    }
    // Nobody owned it before the object was applied to, so it stays.
    let gone = json!({"metadata": {"name": "x"}, "spec": {"replicas": 1}});
    let one = apply(versions(types, root), live.as_ref(), &gone, &options("one", 2)).unwrap();
    let two = apply(versions(types, root), Some(&one), &gone, &options("two", 2)).unwrap();
    assert_eq!((one["spec"].get("selector").is_some(), two["spec"].get("selector")), (true, None));
}

#[test]
fn items_that_come_twice_are_owned_together() {
    let (types, root) = types("Pod");
    let pod = |values: &[&str]| {
        let env: Vec<Value> = values.iter().map(|value| json!({"name": "A", "value": value})).collect();
        json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "env": env}]}})
    };
    let mut live = track_update(versions(types, root), None, pod(&["1"]), &options("m0", 0));
    let env = |fields: &str| {
        format!(
            r#"{{"f:spec":{{"f:containers":{{"k:{{\"name\":\"c\"}}":{{"f:env":{{"k:{{\"name\":\"A\"}}":{fields}}}}}}}}}}}"#
        )
    };
    for (i, (values, owned)) in [
        (&["1", "2"][..], "{}"),
        (&["1", "3"], "{}"),
        (&["1"], r#"{".":{},"f:name":{},"f:value":{}}"#),
        (&["1", "2"], "{}"),
    ]
    .into_iter()
    .enumerate()
    {
        let manager = format!("m{}", i + 1);
        let written = i64::try_from(i + 1).unwrap();
        live = track_update(versions(types, root), Some(&live), pod(values), &options(&manager, written));
        let found = owners(&live);
        assert_eq!(found.last(), Some(&format!("{manager}/Update: {}", env(owned))), "{values:?}");
    }
    // One that is applied takes the place of all.
    let config = pod(&["9"]);
    let forced = Options { force: true, ..options("me", 9) };
    let applied = apply(versions(types, root), Some(&live), &config, &forced).unwrap();
    assert_eq!(applied["spec"], config["spec"]);
}

#[test]
fn structs_that_go_always_has_are_not_the_creators() {
    let types = Types::builtin();
    let root = types.root("networking.k8s.io", "v1", "NetworkPolicy").unwrap();
    let versions = versions(types, root);
    let policy = json!({"metadata": {"name": "x"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}});
    let created = track_update(versions, None, policy.clone(), &options("one", 0));
    assert_eq!(owners(&created), [r#"one/Update: {"f:spec":{"f:policyTypes":{}}}"#]);
    let applied = apply(versions, None, &policy, &options("one", 0)).unwrap();
    assert_eq!(owners(&applied), [r#"one/Apply: {"f:spec":{"f:podSelector":{},"f:policyTypes":{}}}"#]);
    // Moments that were not given are null, and nobody's.
    let root = types.root("", "v1", "Event").unwrap();
    let event = json!({"metadata": {"name": "x"}, "eventTime": null, "firstTimestamp": null,
        "lastTimestamp": "2024-01-01T00:00:00Z", "source": {}, "reportingComponent": "", "reportingInstance": ""});
    let created = track_update(Versions { root, ..versions }, None, event, &options("one", 0));
    assert_eq!(owners(&created), [r#"one/Update: {"f:lastTimestamp":{}}"#]);
    let root = types.root("", "v1", "PersistentVolumeClaim").unwrap();
    let claim = json!({"metadata": {"name": "x"}, "spec": {"resources": {"requests": {"storage": "1"}}}});
    let created = track_update(Versions { root, ..versions }, None, claim, &options("one", 0));
    let fields = r#"{"f:spec":{"f:resources":{"f:requests":{".":{},"f:storage":{}}}}}"#;
    assert_eq!(owners(&created), [format!("one/Update: {fields}")]);
    // Raw objects are owned as a whole.
    let root = types.root("apps", "v1", "ControllerRevision").unwrap();
    let versions = Versions { root, ..versions };
    let applied =
        apply(versions, None, &json!({"metadata": {}, "data": {"a": {"b": 1}}}), &options("one", 0)).unwrap();
    assert_eq!(owners(&applied), [r#"one/Apply: {"f:data":{}}"#]);
}

#[test]
fn a_scale_times_its_writes_itself() {
    let (types, root) = types("Deployment");
    let deployment = |replicas: i64| json!({"metadata": {"name": "x"}, "spec": {"replicas": replicas}});
    let live = track_update(versions(types, root), None, deployment(1), &options("one", 0));
    let scale = Options { subresource: "scale", ..options("two", 1) };
    let scaled = track_update(versions(types, root), Some(&live), deployment(2), &scale);
    assert_eq!(owners(&scaled), [r#"two/Update/scale: {"f:spec":{"f:replicas":{}}}"#]);
    assert_eq!(scaled["metadata"]["managedFields"][0].get("time"), None);
}

#[test]
fn what_takes_another_shape_is_owned_anew() {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let types = Types::custom("x.io", "v1", "Thing", &schema);
    let root = types.root("x.io", "v1", "Thing").unwrap();
    let versions = Versions { types: &types, root, own: "x.io/v1", rows: &[] };
    let options = |manager| Options { api_version: "x.io/v1".into(), ..options(manager, 0) };
    let object = |a: &Value| json!({"metadata": {"name": "x"}, "a": a});
    for (old, new, left, taken) in [
        (json!({"b": {"c": 1}}), json!("x"), None, r#"{"f:a":{}}"#),
        (json!({"b": {"c": 1}}), json!([1]), None, r#"{"f:a":{}}"#),
        (json!("x"), json!({"b": 1}), None, r#"{"f:a":{".":{},"f:b":{}}}"#),
        (json!({"b": 1}), json!({"c": 1}), Some(r#"one/Update: {"f:a":{}}"#), r#"{"f:a":{"f:c":{}}}"#),
    ] {
        let live = track_update(versions, None, object(&old), &options("one"));
        let changed = track_update(versions, Some(&live), object(&new), &options("two"));
        let expected = left.into_iter().map(str::to_owned).chain([format!("two/Update: {taken}")]);
        assert_eq!(owners(&changed), expected.collect::<Vec<_>>(), "{old} {new}");
    }
}
