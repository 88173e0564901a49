use super::*;

#[test]
fn resources_are_told_on_in_the_aggregated_form() {
    let told = |document: Value| resources(document.to_string().as_bytes());
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "g/v1", "resources": [
        {"name": "flunders/scale", "singularName": "", "namespaced": true, "kind": "Scale",
            "group": "autoscaling", "version": "v1", "verbs": ["get"]},
        {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["get", "list"], "shortNames": ["fl"], "unknown": 1},
        {"name": "gone/status", "singularName": "", "namespaced": false, "kind": "Gone", "verbs": []},
    ]});
    let expected = json!([{
        "resource": "flunders", "singularResource": "flunder", "scope": "Namespaced", "verbs": ["get", "list"],
        "responseKind": {"group": "", "version": "", "kind": "Flunder"}, "shortNames": ["fl"],
        "subresources": [{"subresource": "scale", "verbs": ["get"],
            "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}}],
    }]);
    assert_eq!(json!(told(list)), expected);
    for broken in [json!("x"), json!({"kind": "Status", "apiVersion": "v1"}), json!({"resources": [{}]})] {
        assert_eq!(told(broken.clone()), None, "{broken}");
    }
}

#[test]
fn a_server_tells_of_its_own_group_version_alone() {
    let index = |url: &str| json!({"paths": {"apis/g/v1": {"serverRelativeURL": url}}}).to_string();
    let own = "/openapi/v3/apis/g/v1?hash=7";
    assert_eq!(v3(index(own).as_bytes(), "g", "v1").as_deref(), Some(own));
    for (url, version) in [(own, "v2"), ("/openapi/v3/apis/g/v1beta1", "v1"), ("https://elsewhere", "v1")] {
        assert_eq!(v3(index(url).as_bytes(), "g", version), None, "{url}");
    }
    let to = |name: &str| json!({"schema": {"$ref": format!("#/definitions/{name}")}});
    let document = json!({
        "paths": {"/apis/g/v1/as": to("A"), "/apis/other/v1/bs": to("B"), "/apis/g/v1beta1/as": to("B")},
        "definitions": {
            "A": {"properties": {"deeper": {"items": to("C")}, "own": to("A")},
                "x-kubernetes-group-version-kind": [{"group": "g", "version": "v1", "kind": "A"},
                    {"group": "apps", "version": "v1", "kind": "Deployment"}]},
            "B": {}, "C": {"description": "#/definitions/B", "other": to("missing")},
        },
    });
    let told = v2(document.to_string().as_bytes(), "g", "v1").unwrap();
    assert_eq!(told.paths.keys().collect::<Vec<_>>(), ["/apis/g/v1/as"]);
    assert_eq!(told.definitions.keys().collect::<Vec<_>>(), ["A", "C"]);
    let kinds = told.definitions["A"]["x-kubernetes-group-version-kind"].as_array().unwrap();
    assert_eq!(kinds.len(), 1);
    assert_eq!(v2(b"[]", "g", "v1"), None);
}
