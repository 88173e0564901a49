#![allow(clippy::unwrap_used)]
mod fields;

use api::status::Status;
use proptest::prelude::*;
use serde_json::json;

use super::{client_side::LAST_APPLIED, *};
use crate::schema::{TypeRef, Types};

fn options<'a>(manager: &'a str, second: i64) -> Options<'a> {
    Options {
        manager,
        force: false,
        subresource: "",
        status_leaves: &[],
        api_version: "v1".into(),
        now: Timestamp::from_second(1_700_000_000 + second).unwrap(),
    }
}

fn types(kind: &str) -> (&'static Types, TypeRef) {
    let types = Types::builtin();
    let group = if kind == "Deployment" { "apps" } else { "" };
    (types, types.root(group, "v1", kind).unwrap())
}

fn versions(types: &'static Types, root: TypeRef) -> Versions<'static> {
    Versions { types, root, own: "v1", rows: &[] }
}

/// `manager/operation[/subresource]: fields` of every entry.
fn owners(object: &Value) -> Vec<String> {
    let entry = |e: &Value| {
        let text = |name: &str| e.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let subresource = text("subresource");
        let slash = if subresource.is_empty() { "" } else { "/" };
        format!("{}/{}{slash}{subresource}: {}", text("manager"), text("operation"), e["fieldsV1"])
    };
    object["metadata"]["managedFields"].as_array().into_iter().flatten().map(entry).collect()
}

#[test]
fn creators_own_what_they_wrote() {
    let (types, root) = types("ConfigMap");
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
        "metadata": {"name": "x", "namespace": "y", "uid": "u", "creationTimestamp": "z", "labels": {"l": "1"}},
    });
    let created = track_update(versions(types, root), None, object, &options("me", 0));
    assert_eq!(
        owners(&created),
        [r#"me/Update: {"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:l":{}}}}"#]
    );
    assert_eq!(created["metadata"]["managedFields"][0]["time"], "2023-11-14T22:13:20Z");
    assert_eq!(created["metadata"]["managedFields"][0]["apiVersion"], "v1");
}

#[test]
fn structs_and_lists_are_owned_as_upstream_owns_them() {
    let (types, root) = types("Deployment");
    let object = json!({
        "metadata": {"name": "x"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "c", "resources": {}, "args": ["x"], "ports": [{"containerPort": 80, "protocol": "UDP"}]},
            ]}},
        },
        "status": {},
    });
    let created = track_update(versions(types, root), None, object, &options("", 0));
    let expected = json!({"f:spec": {
        "f:replicas": {}, "f:selector": {}, "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
        "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:containers": {
            "k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {}, "f:resources": {}, "f:args": {},
                "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"UDP\"}":
                    {".": {}, "f:containerPort": {}, "f:protocol": {}}},
            },
        }}},
    }});
    assert_eq!(owners(&created), [format!("unknown/Update: {expected}")]);
}

#[test]
fn updates_take_over_what_they_change() {
    let (types, root) = types("ConfigMap");
    let make = |data: Value, managed: Option<&Value>| {
        let mut object = json!({"metadata": {"name": "x", "finalizers": ["f/a"]}, "data": data});
        if let Some(managed) = managed {
            object["metadata"]["managedFields"] = managed.clone();
        }
        object
    };
    let first = track_update(
        versions(types, root),
        None,
        make(json!({"a": "1", "b": "1"}), None),
        &options("one", 0),
    );
    let managed = first["metadata"]["managedFields"].clone();

    // A change by another manager, whether or not he sends the entries along.
    for sent in [None, Some(&managed)] {
        let new = make(json!({"a": "2", "c": "1"}), sent);
        let second = track_update(versions(types, root), Some(&first), new, &options("two", 5));
        assert_eq!(
            owners(&second),
            [
                r#"one/Update: {"f:data":{},"f:metadata":{"f:finalizers":{".":{},"v:\"f/a\"":{}}}}"#,
                r#"two/Update: {"f:data":{"f:a":{},"f:c":{}}}"#,
            ]
        );
        assert_eq!(second["metadata"]["managedFields"][1]["time"], "2023-11-14T22:13:25Z");
    }

    // Nothing changed: nothing is written anew, not even the time.
    let same = track_update(
        versions(types, root),
        Some(&first),
        make(json!({"a": "1", "b": "1"}), None),
        &options("two", 9),
    );
    assert_eq!(same, first);

    // One entry that is empty resets; without entries nobody is tracked.
    let reset = track_update(
        versions(types, root),
        Some(&first),
        make(json!({"a": "2"}), Some(&json!([{}]))),
        &options("two", 9),
    );
    assert_eq!(reset["metadata"].get("managedFields"), None);
    let untracked =
        track_update(versions(types, root), Some(&reset), make(json!({"a": "3"}), None), &options("two", 9));
    assert_eq!(untracked["metadata"].get("managedFields"), None);
}

#[test]
fn status_is_owned_through_its_subresource() {
    let (types, root) = types("Pod");
    let old = track_update(
        versions(types, root),
        None,
        json!({"metadata": {"name": "x"}, "spec": {"nodeName": "n"}, "status": {"phase": "Pending"}}),
        &options("user", 0),
    );
    assert_eq!(owners(&old), [r#"user/Update: {"f:spec":{"f:nodeName":{}}}"#]);
    let mut new = old.clone();
    new["status"]["phase"] = "Running".into();
    new["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    let new = track_update(
        versions(types, root),
        Some(&old),
        new,
        &Options { subresource: "status", ..options("kubelet", 1) },
    );
    assert_eq!(
        owners(&new)[1],
        r#"kubelet/Update/status: {"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:status":{},"f:type":{}}},"f:phase":{}}}"#
    );
    // Metadata that can be written through the status is owned like it.
    let mut marked = new.clone();
    marked["metadata"]["annotations"] = json!({"a": "b"});
    marked["metadata"]["labels"] = json!({"a": "b"});
    marked["spec"]["nodeName"] = "other".into();
    let marked = track_update(
        versions(types, root),
        Some(&new),
        marked,
        &Options { subresource: "status", status_leaves: &["labels"], ..options("tool", 2) },
    );
    assert_eq!(
        owners(&marked)[2],
        r#"tool/Update/status: {"f:metadata":{"f:annotations":{".":{},"f:a":{}}}}"#
    );
}

#[test]
fn many_updaters_are_put_together() {
    let (types, root) = types("ConfigMap");
    let mut object = track_update(
        versions(types, root),
        None,
        json!({"metadata": {}, "data": {"k": "v"}}),
        &options("m00", 0),
    );
    for i in 1..15 {
        let mut new = object.clone();
        new["data"][format!("k{i}")] = "v".into();
        object = track_update(versions(types, root), Some(&object), new, &options(&format!("m{i:02}"), i));
    }
    let owners = owners(&object);
    assert_eq!(owners.len(), 10);
    assert!(
        owners[0].starts_with("ancient-changes/Update: {\"f:data\":{\".\":{},\"f:k\":{},\"f:k1\":{}"),
        "{owners:?}"
    );
}

/// Applies one configuration after the other; each step says who, with force or not, what, and what comes of
/// it: the data then, or the conflict.
#[test]
fn appliers_share_take_over_and_let_go() {
    let (types, root) = types("ConfigMap");
    let steps: [(&str, bool, Value, Result<Value, &str>); 9] = [
        ("one", false, json!({"a": "1", "b": "1"}), Ok(json!({"a": "1", "b": "1"}))),
        ("two", false, json!({"b": "1", "c": "1"}), Ok(json!({"a": "1", "b": "1", "c": "1"}))),
        (
            "two",
            false,
            json!({"b": "2"}),
            Err("Apply failed with 1 conflict: conflict with \"one\": .data.b"),
        ),
        // Shared ownership: the field stays while one of them wants it.
        ("one", false, json!({"a": "1"}), Ok(json!({"a": "1", "b": "1", "c": "1"}))),
        ("two", false, json!({"b": "2"}), Ok(json!({"a": "1", "b": "2"}))),
        (
            "three",
            false,
            json!({"a": "3", "b": "3"}),
            Err(
                "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\nconflicts with \"two\":\n- .data.b",
            ),
        ),
        ("three", true, json!({"a": "3", "b": "3"}), Ok(json!({"a": "3", "b": "3"}))),
        ("one", false, json!({}), Ok(json!({"a": "3", "b": "3"}))),
        ("three", false, json!({}), Ok(json!({}))),
    ];
    let mut live = None;
    for (i, (manager, force, data, expected)) in steps.into_iter().enumerate() {
        let config =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data});
        let options = Options { force, ..options(manager, i64::try_from(i).unwrap()) };
        match (apply(versions(types, root), live.as_ref(), &config, &options), expected) {
            (Ok(mut object), Ok(data)) => {
                types.conform(&mut object, root).unwrap();
                assert_eq!(object.get("data").cloned().unwrap_or(json!({})), data, "step {i}");
                live = Some(object);
            }
            (Err(refusal), Err(message)) => assert_eq!(Status::from(refusal).message, message, "step {i}"),
            (got, _) => panic!("step {i}: {got:?}"),
        }
    }
}

/// Who applies which items of a set, the items that there are then, and who has which of them.
type SetStep<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a [(&'a str, &'a str)]);

#[test]
fn items_of_a_set_stay_while_somebody_applies_them() {
    let schema = json!({"type": "object", "properties": {"metadata": {"type": "object"}, "tags": {
        "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}});
    let custom = Types::custom("x.io", "v1", "Thing", &schema);
    let thing = custom.root("x.io", "v1", "Thing").unwrap();
    let (builtin, map) = types("ConfigMap");
    let steps: [SetStep<'_>; 8] = [
        ("one", &["x/a", "x/b"], &["x/a", "x/b"], &[("one", "ab")]),
        ("two", &["x/b", "x/c"], &["x/a", "x/b", "x/c"], &[("one", "ab"), ("two", "bc")]),
        ("one", &["x/a"], &["x/a", "x/b", "x/c"], &[("one", "a"), ("two", "bc")]),
        ("two", &["x/c"], &["x/a", "x/c"], &[("one", "a"), ("two", "c")]),
        // The order is that of who applies last.
        ("two", &["x/c", "x/a"], &["x/c", "x/a"], &[("one", "a"), ("two", "ac")]),
        ("one", &[], &["x/c", "x/a"], &[("two", "ac")]),
        ("two", &["x/c"], &["x/c"], &[("two", "c")]),
        ("two", &[], &[], &[]),
    ];
    for (types, root, api_version, kind, at) in [
        (builtin, map, "v1", "ConfigMap", "/metadata/finalizers"),
        (&custom, thing, "x.io/v1", "Thing", "/tags"),
    ] {
        let versions = Versions { types, root, own: api_version, rows: &[] };
        let mut live: Option<Value> = None;
        for (i, (manager, applied, items, owned)) in steps.into_iter().enumerate() {
            let mut config = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
            if !applied.is_empty() {
                let list =
                    if at == "/tags" { &mut config["tags"] } else { &mut config["metadata"]["finalizers"] };
                *list = json!(applied);
            }
            let options =
                Options { api_version: api_version.into(), ..options(manager, i64::try_from(i).unwrap()) };
            let object = apply(versions, live.as_ref(), &config, &options).unwrap();
            let left: Vec<&str> = object
                .pointer(at)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            assert_eq!(left, items, "{kind}, step {i}");
            let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
            let found: Vec<(&str, String)> = entries
                .map(|entry| {
                    let mut fields = &entry["fieldsV1"];
                    for name in at.split('/').skip(1) {
                        fields = &fields[format!("f:{name}")];
                    }
                    let names = fields.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
                    let letters = names.filter_map(|name| name.strip_prefix("v:\"x/")?.chars().next());
                    (entry["manager"].as_str().unwrap(), letters.collect())
                })
                .filter(|(_, letters): &(_, String)| !letters.is_empty())
                .collect();
            let found: Vec<(&str, &str)> = found.iter().map(|(who, what)| (*who, what.as_str())).collect();
            assert_eq!(found, owned, "{kind}, step {i}: {:?}", owners(&object));
            live = Some(object);
        }
    }
}

#[test]
fn what_is_applied_to_the_status_owns_nothing_else() {
    let (types, root) = types("Pod");
    let live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"nodeName": "n"},
        "status": {"phase": "Pending"}});
    let live = track_update(versions(types, root), None, live, &options("user", 0));
    let config = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"l": "1"}},
        "spec": {"nodeName": "other"}, "status": {"message": "well", "phase": "Pending"}});
    let options = Options { subresource: "status", status_leaves: &["labels"], ..options("doctor", 1) };
    let applied = apply(versions(types, root), Some(&live), &config, &options).unwrap();
    assert_eq!(
        owners(&applied),
        [
            r#"doctor/Apply/status: {"f:status":{"f:message":{},"f:phase":{}}}"#,
            r#"user/Update: {"f:spec":{"f:nodeName":{}}}"#,
        ]
    );
    assert_eq!(applied["status"], json!({"message": "well", "phase": "Pending"}));
}

#[test]
fn list_items_are_merged_by_key() {
    let (types, root) = types("Deployment");
    let config = |containers: Value| json!({"metadata": {"name": "x"}, "spec": {"template": {"spec": {"containers": containers}}}});
    let first = apply(versions(types, root), None,
        &config(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1", "ports": [{"containerPort": 1}]}])),
        &options("one", 0),
    )
    .unwrap();
    let second = apply(versions(types, root), Some(&first),
        &config(json!([{"name": "c", "image": "1"}, {"name": "b", "ports": [{"containerPort": 2}, {"containerPort": 1, "protocol": "UDP"}]}])),
        &options("two", 1),
    )
    .unwrap();
    let ports = json!([{"containerPort": 1}, {"containerPort": 2}, {"containerPort": 1, "protocol": "UDP"}]);
    assert_eq!(
        second["spec"]["template"]["spec"]["containers"],
        json!([{"name": "a", "image": "1"}, {"name": "c", "image": "1"}, {"name": "b", "image": "1", "ports": ports}])
    );
    // What only the first applied goes when he drops it; the item that both have stays.
    let third = apply(
        versions(types, root),
        Some(&second),
        &config(json!([{"name": "a", "image": "1"}])),
        &options("one", 2),
    )
    .unwrap();
    assert_eq!(
        third["spec"]["template"]["spec"]["containers"],
        json!([{"name": "a", "image": "1"}, {"name": "c", "image": "1"},
               {"name": "b", "ports": [{"containerPort": 2}, {"containerPort": 1, "protocol": "UDP"}]}])
    );
}

#[test]
fn what_was_there_before_is_owned_by_nobody_in_particular() {
    let (types, root) = types("ConfigMap");
    let live = json!({"metadata": {"name": "x"}, "data": {"a": "1"}});
    let config = json!({"metadata": {"name": "x"}, "data": {"a": "2"}});
    let refused = apply(versions(types, root), Some(&live), &config, &options("me", 0)).unwrap_err();
    assert_eq!(
        Status::from(refused).message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a"
    );
    // Client-side apply hands over to kubectl's server-side apply what it applied itself.
    let applied = r#"{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1"}}"#;
    let live = json!({"metadata": {"name": "x", "annotations": {LAST_APPLIED: applied}}, "data": {"a": "1"}});
    assert!(apply(versions(types, root), Some(&live), &config, &options("me", 0)).is_err());
    let taken = apply(versions(types, root), Some(&live), &config, &options("kubectl", 0)).unwrap();
    assert_eq!(taken["data"], json!({"a": "2"}));
    assert_eq!(
        taken["metadata"]["annotations"][LAST_APPLIED],
        "{\"data\":{\"a\":\"2\"},\"metadata\":{\"name\":\"x\"}}\n"
    );
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let (types, root) = types("Pod");
    let cases = [
        (json!({"specc": 1}), ".specc: field not declared in schema"),
        (json!({"spec": {"hostNetwork": "yes"}}), ".spec.hostNetwork: expected boolean, got &{yes}"),
        (json!({"spec": {"containers": {}}}), ".spec.containers: expected list, got &{map[]}"),
        (
            json!({"spec": {"containers": ["a"]}}),
            ".spec.containers: element 0: associative list with keys may not have non-map elements",
        ),
        (
            json!({"spec": {"nodeName": 5}}),
            ".spec.nodeName: expected string, got &value.valueUnstructured{Value:5}",
        ),
        (
            json!({"spec": {"priority": "high"}}),
            ".spec.priority: expected numeric (int or float), got string",
        ),
        (
            json!({"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            json!({"spec": {"containers": [null]}}),
            ".spec.containers: element 0: associative list with keys may not have a null element",
        ),
        (
            json!({"metadata": {"finalizers": [{}]}}),
            ".metadata.finalizers: element 0: associative list without keys has an element that's a map type",
        ),
    ];
    for (mut config, error) in cases {
        config["apiVersion"] = "v1".into();
        config["kind"] = "Pod".into();
        config["metadata"]["name"] = "x".into();
        config["metadata"]["namespace"] = "n".into();
        let refused =
            Status::from(apply(versions(types, root), None, &config, &options("me", 0)).unwrap_err());
        assert_eq!(
            (refused.code, refused.message),
            (500, format!("failed to create typed patch object (n/x; /v1, Kind=Pod): {error}"))
        );
    }
}

#[test]
fn not_every_mistake_is_told() {
    let (types, root) = types("ConfigMap");
    let mut config: Value = (0..10_000).map(|i| (format!("f{i}"), json!(1))).collect();
    config["metadata"] = json!({"name": "x"});
    let refused = Status::from(apply(versions(types, root), None, &config, &options("me", 0)).unwrap_err());
    assert_eq!(refused.message.matches("field not declared").count(), 100);
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let (types, root) = types("Pod");
    let config = json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}], "tolerations": [{"key": "k"}],
        "resources": {"limits": {"cpu": 0.5}}}});
    let once = apply(versions(types, root), None, &config, &options("me", 0)).unwrap();
    assert_eq!(apply(versions(types, root), Some(&once), &config, &options("me", 100)).unwrap(), once);

    let mut later = once.clone();
    later["metadata"]["managedFields"][0]["time"] = "2030-01-01T00:00:00Z".into();
    keep_times(&once, &mut later);
    assert_eq!(later, once);
    later["metadata"]["managedFields"][0]["time"] = "2030-01-01T00:00:00Z".into();
    later["metadata"]["labels"]["a"] = "c".into();
    let changed = later.clone();
    keep_times(&once, &mut later);
    assert_eq!(later, changed);
}

proptest! {
    #[test]
    fn no_value_panics(live in crate::schema::tests::any_json(), config in crate::schema::tests::any_json()) {
        for kind in ["Pod", "ConfigMap"] {
            let (types, root) = types(kind);
            let _ = apply(versions(types, root), Some(&live), &config, &options("a", 0));
            if let Ok(once) = apply(versions(types, root), None, &config, &options("a", 0)) {
                let _ = apply(versions(types, root), Some(&once), &live, &Options { force: true, ..options("b", 1) });
            }
            track_update(versions(types, root), Some(&live), config.clone(), &options("a", 0));
            track_update(versions(types, root), None, config.clone(), &options("a", 0));
        }
    }

    #[test]
    fn sets_survive_writing(value in crate::schema::tests::any_json()) {
        let (types, root) = types("Pod");
        let set = merge::field_set(types, root, &value);
        if !set.member {
            prop_assert_eq!(&Set::decode(&set.encode()).unwrap(), &set);
        }
    }
}
