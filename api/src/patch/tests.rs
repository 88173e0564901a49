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
            422,
            "the server rejected our request due to an error in our request",
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
