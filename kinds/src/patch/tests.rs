#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn patched(form: PatchType, current: &Value, patch: &Value) -> Result<Value, Status> {
    let types = Types::builtin();
    let root = types.root("", "v1", "Pod");
    apply_patch(form, types, root, current, patch.to_string().as_bytes())
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "labels": {"a": "1", "b": "2"}, "finalizers": ["x/a", "x/b"]},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "containers": [
                {"name": "c", "image": "i:1", "args": ["1"], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
                {"name": "d", "image": "j:1"},
            ],
            "volumes": [{"name": "v", "emptyDir": {}}],
        },
    })
}

#[test]
fn strategic_merge_follows_keys_and_directives() {
    // (patch, pointer into the result, what is there)
    let cases = [
        (
            json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
            "/metadata/labels",
            json!({"b": "2", "c": "3"}),
        ),
        (
            json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}}),
            "/metadata/labels",
            json!({"z": "1"}),
        ),
        (json!({"metadata": {"labels": {"$patch": "delete"}}}), "/metadata/labels", json!({})),
        (
            json!({"metadata": {"finalizers": ["x/c", "x/a"]}}),
            "/metadata/finalizers",
            json!(["x/c", "x/a", "x/b"]),
        ),
        (
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x/a", "no"]}}),
            "/metadata/finalizers",
            json!(["x/b"]),
        ),
        (
            json!({"metadata": {"$setElementOrder/finalizers": ["x/b", "x/a"]}}),
            "/metadata/finalizers",
            json!(["x/b", "x/a"]),
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "image": "i:2"}]}}),
            "/spec/containers/0/image",
            json!("i:2"),
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "image": "i:2"}]}}),
            "/spec/containers/1/name",
            json!("d"),
        ),
        // An item of the patch that is new goes first, for nothing says that it comes after others.
        (json!({"spec": {"containers": [{"name": "e"}]}}), "/spec/containers/0/name", json!("e")),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}], "containers": [{"name": "d", "image": "k"}]}}),
            "/spec/containers/0",
            json!({"name": "d", "image": "k"}),
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "$patch": "delete"}]}}),
            "/spec/containers",
            json!([{"name": "d", "image": "j:1"}]),
        ),
        (
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}),
            "/spec/containers",
            json!([{"name": "z"}]),
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]}]}}),
            "/spec/containers/0/env",
            json!([{"name": "C", "value": "3"}, {"name": "B", "value": "2"}]),
        ),
        (
            json!({"spec": {"containers": [{"name": "c", "args": ["2", "3"]}]}}),
            "/spec/containers/0/args",
            json!(["2", "3"]),
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/h"}}]}}),
            "/spec/volumes",
            json!([{"name": "v", "hostPath": {"path": "/h"}}]),
        ),
        (
            json!({"spec": {"nodeSelector": {"gpu": "yes"}}}),
            "/spec/nodeSelector",
            json!({"disk": "ssd", "gpu": "yes"}),
        ),
        (
            json!({"spec": {"tolerations": [{"key": "k", "value": null}]}}),
            "/spec/tolerations",
            json!([{"key": "k"}]),
        ),
        (json!({"spec": {"hostNetwork": true, "containers": null}}), "/spec/hostNetwork", json!(true)),
    ];
    for (patch, pointer, expected) in cases {
        let result = patched(PatchType::Strategic, &pod(), &patch).unwrap();
        assert_eq!(result.pointer(pointer), Some(&expected), "{patch}");
    }
}

#[test]
fn strategic_merge_names_its_mistakes() {
    let cases = [
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            500,
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (json!({"spec": {"$patch": "no"}}), 500, "unknown patch type: no in map: map[$patch:no]"),
        (
            json!({"spec": {"containers": [{"name": "c", "$patch": "merge"}]}}),
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name"], "hostPath": {}}]}}),
            400,
            "invalid patch format of retainKeys",
        ),
        (
            json!({"metadata": {"$deleteFromPrimitiveList": []}}),
            400,
            "invalid patch format of primitive list",
        ),
        (
            json!({"metadata": {"$setElementOrder/finalizers": ["x/a"], "finalizers": ["x/z"]}}),
            500,
            "The order in patch list:\n[x/z]\n doesn't match $setElementOrder list:\n[x/a]\n",
        ),
        (
            json!({"metadata": {"finalizers": [["x"]]}}),
            500,
            "list element types are not identical: [[x/a x/b] [[x]]]",
        ),
        (
            json!({"spec": {"initContainers": [], "$setElementOrder/initContainers": []}}),
            500,
            "no elements in any of the given slices",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": null}}),
            500,
            "expected a []interface {}, but received a %!s(<nil>)",
        ),
        (json!({"spec": {"$patch": 5}}), 500, "unknown patch type: %!s(int64=5) in map: map[$patch:5]"),
        (
            json!({"spec": {"$setElementOrder/hostname": []}}),
            500,
            "expected slice or array type, but got: struct",
        ),
        (
            json!({"spec": {"$setElementOrder/nope": []}}),
            500,
            "unable to find api field in struct PodSpec for the json field \"nope\"",
        ),
    ];
    for (patch, code, message) in cases {
        let refused = patched(PatchType::Strategic, &pod(), &patch).unwrap_err();
        assert_eq!((refused.code, refused.message.as_str()), (code, message), "{patch}");
    }
}

/// Pieces of a pod's list, a patch of it, and what comes of it.
#[test]
fn lists_are_merged_as_upstream_merges_them() {
    let ports = |list: Value| json!({"spec": {"containers": [{"name": "c", "ports": list}]}});
    let tcp = json!({"containerPort": 80, "protocol": "TCP"});
    let udp = json!({"containerPort": 80, "protocol": "UDP"});
    let cases = [
        // Items that replace a list are all kept, also where their keys are the same.
        (json!([]), json!([{"$patch": "replace"}, tcp, udp]), json!([tcp, udp])),
        (json!([{"containerPort": 1}]), json!([tcp, {"$patch": "replace"}, udp]), json!([tcp, udp])),
        (
            json!([tcp]),
            json!([{"$patch": "replace"}, {"containerPort": 2, "$patch": "delete"}, {"containerPort": 2}]),
            json!([{"containerPort": 2}]),
        ),
        // Of doubles the first is changed; a double in the patch changes what the first of it made.
        (
            json!([tcp, udp]),
            json!([{"containerPort": 80, "name": "x"}]),
            json!([{"containerPort": 80, "protocol": "TCP", "name": "x"}, udp]),
        ),
        (json!([]), json!([tcp, udp]), json!([udp])),
        (json!([{"containerPort": 1}]), json!([tcp, udp]), json!([udp, {"containerPort": 1}])),
        (json!([tcp, udp]), json!([{"containerPort": 80, "$patch": "delete"}]), json!([])),
        // What is added to a list is for whoever reads the object to judge.
        (
            json!([tcp]),
            json!([{"containerPort": 2, "name": null, "$retainKeys": ["x"]}]),
            json!([{"containerPort": 2, "name": null, "$retainKeys": ["x"]}, tcp]),
        ),
        (json!([tcp]), json!([{"containerPort": 80, "$patch": "replace"}, udp]), json!([udp])),
        (json!([tcp]), json!([{"containerPort": 80, "name": null}]), json!([tcp])),
    ];
    for (present, change, expected) in cases {
        let result = patched(PatchType::Strategic, &ports(present), &ports(change.clone())).unwrap();
        assert_eq!(result, ports(expected), "{change}");
    }

    let cases = [
        // Lists that are not merged, and objects that are replaced, come in as they are.
        (
            json!({"spec": {"tolerations": [{"key": "a"}]}}),
            json!({"spec": {"tolerations": [{"key": "b", "value": null}, {"$patch": "delete"}]}}),
            json!({"spec": {"tolerations": [{"key": "b", "value": null}, {"$patch": "delete"}]}}),
        ),
        (
            json!({"metadata": {"labels": {"a": "1"}}}),
            json!({"metadata": {"labels": {"$patch": "replace", "b": null}}}),
            json!({"metadata": {"labels": {"b": null}}}),
        ),
        // What is new loses its nulls and whatever is a directive.
        (
            json!({"spec": {}}),
            json!({"spec": {"affinity": {"nodeAffinity": {"$patch": "replace", "x": 1}, "podAffinity": {"a": null}},
                "tolerations": [{"key": "b", "value": null}, {"$patch": "delete"}]}}),
            json!({"spec": {"affinity": {"podAffinity": {}}, "tolerations": [{"key": "b"}]}}),
        ),
        // A list of what to delete is a value like others where there is no list.
        (
            json!({"spec": {"nodeName": "a", "hostname": "b"}}),
            json!({"spec": {"$deleteFromPrimitiveList/nodeName": "c", "$deleteFromPrimitiveList/hostname": []}}),
            json!({"spec": {"nodeName": "c", "hostname": "b"}}),
        ),
        (
            json!({"metadata": {"finalizers": ["a", "b", "a"]}}),
            json!({"metadata": {"finalizers": ["c", "c", "b"]}}),
            json!({"metadata": {"finalizers": ["c", "a", "b"]}}),
        ),
    ];
    for (present, change, expected) in cases {
        assert_eq!(patched(PatchType::Strategic, &present, &change).unwrap(), expected, "{change}");
    }
    assert_eq!(patched(PatchType::Strategic, &pod(), &Value::Null).unwrap(), pod());
    let refused = patched(
        PatchType::Strategic,
        &json!({"metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}], "labels": {"a": {}}}}),
        &json!({"metadata": {"labels": {"a": {}}}}),
    )
    .unwrap_err();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (500, "merging an object in json but data type is not struct, instead is: map")
    );
}

#[test]
fn nulls_of_merge_patches_take_away() {
    let current = json!({"a": {"b": 1}, "l": [1], "n": null});
    let cases = [
        (json!({"a": {"b": null, "c": {"d": null}}}), json!({"a": {"c": {}}, "l": [1], "n": null})),
        (json!({"l": [{"x": null}, null]}), json!({"a": {"b": 1}, "l": [{}, null], "n": null})),
        (json!({"n": {"x": null}, "a": null}), json!({"l": [1], "n": {}})),
        // In place of an object things come in as they are.
        (json!({"a": [{"x": null}]}), json!({"a": [{"x": null}], "l": [1], "n": null})),
    ];
    for (patch, expected) in cases {
        assert_eq!(patched(PatchType::Merge, &current, &patch).unwrap(), expected, "{patch}");
    }
}

#[test]
fn json_patches_are_read_as_upstream_reads_them() {
    let current = json!({"a": {"b": 1, "n": null, "x/y~z": 2}, "l": [1, 2, 3], "e": []});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut object = current.clone();
        change(&mut object);
        Some(object)
    };
    let cases = [
        (json!({"op": "replace", "path": "/a/new", "value": 5}), with(&|o| o["a"]["new"] = 5.into())),
        (json!({"op": "replace", "path": "/no/new", "value": 5}), None),
        (json!({"op": "replace", "path": "/l/3", "value": 5}), None),
        (json!({"op": "replace", "path": "/l/-1", "value": 5}), with(&|o| o["l"] = json!([1, 2, 5]))),
        (json!({"op": "replace", "path": "/l/-3", "value": 5}), with(&|o| o["l"] = json!([5, 2, 3]))),
        (json!({"op": "replace", "path": "/l/-4", "value": 5}), None),
        (json!({"op": "replace", "path": "/l/-", "value": 5}), None),
        (json!({"op": "replace", "path": "", "value": {"x": 1}}), Some(json!({"x": 1}))),
        (json!({"op": "replace", "path": "", "value": 5}), None),
        (json!({"op": "replace", "path": ""}), None),
        (json!({"op": "replace", "path": "/a/b"}), with(&|o| o["a"]["b"] = Value::Null)),
        (json!({"op": "add", "path": "/a/new"}), with(&|o| o["a"]["new"] = Value::Null)),
        (json!({"op": "add", "path": "/l/-"}), with(&|o| o["l"] = json!([1, 2, 3, null]))),
        (json!({"op": "add", "path": "/l/-1", "value": 4}), with(&|o| o["l"] = json!([1, 2, 3, 4]))),
        (json!({"op": "add", "path": "/l/-4", "value": 4}), with(&|o| o["l"] = json!([4, 1, 2, 3]))),
        (json!({"op": "add", "path": "/l/-5", "value": 4}), None),
        (json!({"op": "add", "path": "/l/4", "value": 4}), None),
        (json!({"op": "add", "path": "/l/+01", "value": 4}), with(&|o| o["l"] = json!([1, 4, 2, 3]))),
        (json!({"op": "add", "path": "/e/0", "value": 4}), with(&|o| o["e"] = json!([4]))),
        (json!({"op": "add", "path": "/l/x", "value": 4}), None),
        (json!({"op": "add", "path": "/a/b/c", "value": 4}), None),
        (json!({"op": "add", "path": "/a/n/c", "value": 4}), None),
        (json!({"op": "add", "path": "", "value": {}}), None),
        (json!({"op": "add", "path": "a", "value": 4}), None),
        (json!({"op": "add", "path": "what/a/b", "value": 4}), with(&|o| o["a"]["b"] = 4.into())),
        (json!({"op": "add", "path": "/a/x~1y~0z", "value": 4}), with(&|o| o["a"]["x/y~z"] = 4.into())),
        (json!({"op": "add", "path": "/", "value": 4}), with(&|o| o[""] = 4.into())),
        (json!({"op": "add", "value": 4}), None),
        (json!({"op": "remove", "path": "/a/no"}), None),
        (json!({"op": "remove", "path": "/l/3"}), None),
        (json!({"op": "remove", "path": "/l/-1"}), with(&|o| o["l"] = json!([1, 2]))),
        (json!({"op": "remove", "path": "/l/-4"}), None),
        (json!({"op": "remove", "path": "/e/0"}), None),
        (json!({"op": "copy", "from": "/a/no", "path": "/a/new"}), with(&|o| o["a"]["new"] = Value::Null)),
        (json!({"op": "copy", "from": "/l/9", "path": "/a/new"}), None),
        (json!({"op": "copy", "from": "/no/a", "path": "/a/new"}), None),
        (json!({"op": "copy", "from": "", "path": "/a/new"}), None),
        (json!({"op": "copy", "path": "/a/new"}), None),
        (json!({"op": "move", "from": "/a/no", "path": "/a/new"}), None),
        (json!({"op": "move", "from": "/l/0", "path": "/l/-"}), with(&|o| o["l"] = json!([2, 3, 1]))),
        (json!({"op": "move", "from": "/l/0", "path": "/l/3"}), None),
        (json!({"op": "move", "from": "/a", "path": "/a/b"}), None),
        (json!({"op": "test", "path": "/a/no", "value": null}), with(&|_| {})),
        (json!({"op": "test", "path": "/a/no"}), with(&|_| {})),
        (json!({"op": "test", "path": "/a/n", "value": null}), with(&|_| {})),
        (json!({"op": "test", "path": "/a/b", "value": null}), None),
        (json!({"op": "test", "path": "/a/b"}), None),
        (json!({"op": "test", "path": "/no/b", "value": null}), None),
        (json!({"op": "test", "path": "/l/3", "value": null}), None),
        (json!({"op": "test", "path": "/l", "value": [1, 2, 3]}), with(&|_| {})),
        (json!({"op": "test", "path": "/l/-1", "value": 3}), with(&|_| {})),
        (json!({"op": "test", "path": "/l/0", "value": 1.0}), None),
        (json!({"op": "test", "path": "", "value": current}), with(&|_| {})),
        (json!({"op": "test", "path": "", "value": {}}), None),
        (json!({"op": "Add", "path": "/x", "value": 1}), None),
        (json!({"path": "/x", "value": 1}), None),
        (Value::Null, None),
    ];
    for (operation, expected) in cases {
        let result = patched(PatchType::Json, &current, &json!([operation]));
        match expected {
            Some(expected) => assert_eq!(result.unwrap(), expected, "{operation}"),
            None => assert_eq!(result.unwrap_err().code, 422, "{operation}"),
        }
    }
    // What is open already is the same to all operations.
    let opened = [
        json!({"op": "test", "path": "/l/0", "value": 1}),
        json!({"op": "test", "path": "/a/b", "value": 1}),
        json!({"op": "test", "path": "", "value": current}),
        json!({"op": "copy", "from": "/a", "path": "/c"}),
        json!({"op": "move", "from": "/l", "path": "/c/l"}),
        json!({"op": "test", "path": "/c", "value": {"b": 1, "n": null, "x/y~z": 2, "l": [1, 2, 3]}}),
    ];
    let mut expected = current.clone();
    expected["c"] = expected["a"].clone();
    expected["c"]["l"] = expected["l"].take();
    expected.as_object_mut().unwrap().remove("l");
    assert_eq!(patched(PatchType::Json, &current, &json!(opened)).unwrap(), expected);
    assert_eq!(patched(PatchType::Json, &current, &Value::Null).unwrap(), current);
}

/// Many operations on a large document take their own time, not the document's.
#[test]
fn operations_are_not_paid_for_by_the_document() {
    let map: serde_json::Map<String, Value> = (0..100_000).map(|i| (i.to_string(), json!([i]))).collect();
    let current = json!({"a": map, "l": vec![0; 300_000]});
    let count = 10_000;
    let moves = (0..count).map(|i| {
        let (from, path) = if i % 2 == 0 { ("/a", "/b") } else { ("/b", "/a") };
        json!({"op": "move", "from": from, "path": path})
    });
    let inserts = (0..count).map(|i| json!({"op": "add", "path": "/l/0", "value": i}));
    let removals = (0..count).map(|_| json!({"op": "remove", "path": "/l/0"}));
    let nested = (0..count / 2).flat_map(|i| {
        let (outer, inner) = if i % 2 == 0 { ("/x", "/y") } else { ("/y", "/x") };
        [
            json!({"op": "add", "path": outer, "value": {}}),
            json!({"op": "move", "from": inner, "path": format!("{outer}/z")}),
        ]
    });
    let nested = Value::from(
        [json!({"op": "add", "path": "/y", "value": {}})]
            .into_iter()
            .chain(nested.skip(1))
            .collect::<Vec<_>>(),
    );
    let begun = std::time::Instant::now();
    assert_eq!(patched(PatchType::Json, &current, &Value::from_iter(moves)).unwrap(), current);
    let grown = patched(PatchType::Json, &current, &Value::from_iter(inserts)).unwrap();
    assert_eq!((grown["l"][0].clone(), grown["l"].as_array().unwrap().len()), (json!(9_999), 310_000));
    assert_eq!(patched(PatchType::Json, &grown, &Value::from_iter(removals)).unwrap(), current);
    // Thousands of levels do not end the stack.
    assert_eq!(patched(PatchType::Json, &json!({"x": {}}), &nested).unwrap_err().code, 422);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn merge_and_json_patches() {
    let merged =
        patched(PatchType::Merge, &pod(), &json!({"metadata": {"labels": {"a": null}, "finalizers": ["z"]}}))
            .unwrap();
    assert_eq!(merged["metadata"], json!({"name": "p", "labels": {"b": "2"}, "finalizers": ["z"]}));

    let operations = json!([
        {"op": "test", "path": "/metadata/name", "value": "p"},
        {"op": "test", "path": "/metadata/uid", "value": null},
        {"op": "add", "path": "/metadata/labels/x~1y", "value": "1"},
        {"op": "copy", "from": "/metadata/labels/x~1y", "path": "/metadata/labels/z"},
        {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/b"},
        {"op": "add", "path": "/metadata/finalizers/-", "value": "x/c"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
        {"op": "replace", "path": "/spec/containers/1/image", "value": "k"},
    ]);
    let result = patched(PatchType::Json, &pod(), &operations).unwrap();
    assert_eq!(result["metadata"]["labels"], json!({"b": "1", "x/y": "1", "z": "1"}));
    assert_eq!(result["metadata"]["finalizers"], json!(["x/b", "x/c"]));
    assert_eq!(result["spec"]["containers"][1]["image"], "k");
}

#[test]
fn patches_that_do_not_fit_are_refused() {
    let types = Types::builtin();
    let many = json!(vec![json!({"op": "remove", "path": "/x"}); 10_001]).to_string();
    let copies = |path: &dyn Fn(usize) -> String, count| {
        let copy = |i| json!({"op": "copy", "from": "/metadata", "path": format!("/metadata/{}", path(i))});
        Value::from((0..count).map(copy).collect::<Vec<_>>()).to_string()
    };
    let doubling = copies(&|i| format!("x{i}"), 40);
    let nesting = copies(&|_| "x".into(), 200);
    let deep = |op: &str, levels: usize| {
        let value = (0..levels).fold(json!({}), |value, _| json!({"x": value}));
        json!({"op": op, "path": "/metadata/x", "value": value})
    };
    let deeper = json!([deep("add", 70), {"op": "add", "path": format!("/metadata{}", "/x".repeat(71)), "value": deep("add", 60)["value"]}]).to_string();
    let replaced = json!([deep("add", 1), deep("replace", 118)]).to_string();
    let moved = json!([deep("add", 70), {"op": "copy", "from": "/metadata/x", "path": "/metadata/y"},
        {"op": "move", "from": "/metadata/y", "path": format!("/metadata{}", "/x".repeat(71))}])
    .to_string();
    let just = json!([deep("add", 117)]).to_string();
    assert!(apply_patch(PatchType::Json, types, None, &pod(), just.as_bytes()).is_ok());
    let cases = [
        (PatchType::Json, deeper.as_str(), 422),
        (PatchType::Json, &replaced, 422),
        (PatchType::Json, &moved, 422),
        (PatchType::Json, "[{\"op\":\"remove\",\"path\":\"/no\"}]", 422),
        (PatchType::Json, "[{\"op\":\"jump\",\"path\":\"/no\"}]", 422),
        (PatchType::Json, "[{\"op\":\"test\",\"path\":\"/metadata/name\",\"value\":\"q\"}]", 422),
        (PatchType::Json, "{\"op\":\"remove\"}", 400),
        (PatchType::Json, "[1]", 400),
        (PatchType::Json, "[", 400),
        (PatchType::Json, &many, 413),
        (PatchType::Json, &doubling, 422),
        (PatchType::Json, &nesting, 422),
        (PatchType::Merge, "[]", 400),
        (PatchType::Merge, "{", 400),
        (PatchType::Strategic, "[]", 400),
        (PatchType::Strategic, "{", 400),
        (PatchType::Apply, "{}", 415),
    ];
    for (form, patch, code) in cases {
        let refused =
            apply_patch(form, types, types.root("", "v1", "Pod"), &pod(), patch.as_bytes()).unwrap_err();
        assert_eq!(refused.code, code, "{form:?} {}", &patch[..patch.len().min(80)]);
    }
    let refused = apply_patch(PatchType::Json, types, None, &pod(), b"{\"op\":\"remove\"}").unwrap_err();
    assert_eq!(
        refused.message,
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
    );
}

#[test]
fn outcomes_that_cannot_be_read_are_shown() {
    let patch = br#"{"spec":{"replicas":"x"}}"#;
    let refused = unreadable(PatchType::Strategic, &json!({}), patch, "no");
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(refused.message, " \"\" is invalid: patch: Invalid value: \"map[spec:map[replicas:x]]\": no");
    let refused = unreadable(PatchType::Merge, &json!({"a": 1}), patch, "no");
    assert_eq!(refused.message, " \"\" is invalid: patch: Invalid value: \"{\\\"a\\\":1}\": no");
}

proptest! {
    #[test]
    fn no_patch_panics(current in crate::schema::tests::any_json(), patch in crate::schema::tests::any_json()) {
        for form in [PatchType::Json, PatchType::Merge, PatchType::Strategic] {
            let _ = patched(form, &current, &patch);
            let _ = patched(form, &pod(), &patch);
        }
    }

    #[test]
    fn a_patch_made_of_the_object_changes_nothing(labels in proptest::collection::btree_map("[a-c]", "[a-c]", 1..4)) {
        let mut object = pod();
        object["metadata"]["labels"] = json!(labels);
        prop_assert_eq!(&patched(PatchType::Strategic, &object, &object).unwrap(), &object);
        prop_assert_eq!(&patched(PatchType::Merge, &object, &object).unwrap(), &object);
    }
}
