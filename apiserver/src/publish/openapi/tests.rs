use kinds::kind::Subresource;

use super::*;
use crate::registry::Registry;

fn kinds() -> Vec<Arc<Kind>> {
    kinds::builtin::all().into_iter().map(Arc::new).collect()
}

fn of_version(name: &str) -> Value {
    v3(&kinds().into_iter().filter(|kind| document_name(kind) == name).collect::<Vec<_>>())
}

/// All `$ref`s in a value.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| match value.as_str() {
            Some(text) if key == "$ref" => found.push(text),
            _ => references(value, found),
        }),
        Value::Array(list) => list.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[test]
fn a_hash_follows_from_sources_and_kinds() {
    let kinds = kinds();
    assert_eq!(hash(&kinds), hash(&self::kinds()));
    assert_ne!(hash(&kinds), hash_with("others", &kinds));
    assert_ne!(hash(&kinds), hash(&kinds[1..]));
}

#[test]
fn a_hash_changes_with_all_that_documents_show() {
    let with = |change: fn(&mut Kind)| {
        let mut kinds = kinds::builtin::all();
        change(&mut kinds[0]);
        let kinds: Vec<Arc<Kind>> = kinds.into_iter().map(Arc::new).collect();
        (hash(&kinds), v3(&kinds))
    };
    let changes: &[fn(&mut Kind)] = &[
        |_| {},
        |kind| kind.group = "example.com".into(),
        |kind| kind.version = "v7".into(),
        |kind| kind.kind = "Other".into(),
        |kind| kind.plural = "others".into(),
        |kind| kind.namespaced = !kind.namespaced,
        |kind| kind.verbs = &["get"],
        |kind| {
            let scale = ("autoscaling", "v1", "Scale");
            kind.subresources.push(Subresource { name: "scale".into(), gvk: Some(scale), verbs: &["get"] });
        },
        |kind| kind.subresources.push(Subresource { name: "scale".into(), gvk: None, verbs: &["get"] }),
        |kind| kind.subresources.push(Subresource { name: "scale".into(), gvk: None, verbs: &["patch"] }),
    ];
    let made: Vec<(String, Value)> = changes.iter().map(|change| with(*change)).collect();
    for (i, (hash, document)) in made.iter().enumerate() {
        for (other_hash, other) in &made[..i] {
            assert_ne!(document, other, "change {i} shows");
            assert_ne!(hash, other_hash, "change {i}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let names: std::collections::BTreeSet<String> = kinds().iter().map(|k| document_name(k)).collect();
    for name in &names {
        let document = of_version(name);
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(&reference.replace('#', "")).is_some(), "{name}: {reference}");
        }
    }
}

#[test]
fn what_keeps_unknown_fields_is_open_to_clients_of_v2() {
    let kinds = json!([{"group": "g", "version": "v1", "kind": "K"}]);
    let shown = |mut schema: Value| {
        open_to_clients(&mut schema);
        schema
    };
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "d",
            "properties": {"spec": {}}, "x-kubernetes-group-version-kind": kinds});
    assert_eq!(shown(open), json!({"type": "object", "x-kubernetes-group-version-kind": kinds}));
    for other in [
        json!({"type": "object", "properties": {}, "x-kubernetes-group-version-kind": kinds}),
        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
    ] {
        assert_eq!(shown(other.clone()), other);
    }
}

#[test]
fn no_built_in_kind_demands_metadata() {
    let document = v2(&Registry::builtin().table());
    let mut required = 0;
    for (name, schema) in document["definitions"].as_object().unwrap() {
        let fields = schema.get("required").map(|r| r.as_array().unwrap().as_slice());
        assert!(!fields.is_some_and(<[_]>::is_empty), "{name}");
        assert!(!fields.into_iter().flatten().any(|f| f == "metadata"), "{name}");
        required += usize::from(fields.is_some());
    }
    assert!(required > 50, "{required}");
}

#[test]
fn references_stand_where_clients_look_for_them() {
    let v2 = v2(&Registry::builtin().table());
    let spec = &v2["definitions"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(spec["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
    assert!(spec["description"].is_string());
    let v3 = of_version("api/v1");
    let spec = &v3["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"];
    assert_eq!(spec["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.core.v1.PodSpec");
}

#[test]
fn lists_say_how_they_merge() {
    let document = of_version("api/v1");
    let schemas = &document["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-list-type"], "map");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    let pod = &schemas["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
}

#[test]
fn fields_say_which_values_there_are_and_which_may_be_missing() {
    let document = of_version("api/v1");
    let schemas = &document["components"]["schemas"];
    let container = &schemas["io.k8s.api.core.v1.Container"]["properties"];
    assert_eq!(container["imagePullPolicy"]["enum"], json!(["Always", "IfNotPresent", "Never"]));
    let claim = &schemas["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]["accessModes"];
    assert_eq!(
        claim["items"]["enum"],
        json!(["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"])
    );
    assert_eq!(schemas["io.k8s.api.core.v1.LocalObjectReference"]["required"], Value::Null);
    assert_eq!(schemas["io.k8s.api.core.v1.SecretKeySelector"]["required"], json!(["key"]));
}

#[test]
fn operations_are_called_and_carry_what_they_do_upstream() {
    let pods = "/api/v1/namespaces/{namespace}/pods";
    let body = |schema: &str| json!({"$ref": format!("#/components/schemas/io.k8s.{schema}")});
    for (document, path, method, id, carried) in [
        ("api/v1", "/api/v1/pods".to_owned(), "get", "listCoreV1PodForAllNamespaces", Value::Null),
        ("api/v1", pods.to_owned(), "post", "createCoreV1NamespacedPod", body("api.core.v1.Pod")),
        (
            "api/v1",
            pods.to_owned(),
            "delete",
            "deleteCoreV1CollectionNamespacedPod",
            body("apimachinery.pkg.apis.meta.v1.DeleteOptions"),
        ),
        ("api/v1", format!("{pods}/{{name}}/exec"), "get", "connectCoreV1GetNamespacedPodExec", Value::Null),
        (
            "api/v1",
            format!("{pods}/{{name}}/eviction"),
            "post",
            "createCoreV1NamespacedPodEviction",
            body("api.policy.v1.Eviction"),
        ),
        (
            "apis/apps/v1",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale".to_owned(),
            "put",
            "replaceAppsV1NamespacedDeploymentScale",
            body("api.autoscaling.v1.Scale"),
        ),
        (
            "apis/rbac.authorization.k8s.io/v1",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}".to_owned(),
            "get",
            "readRbacAuthorizationV1ClusterRole",
            Value::Null,
        ),
    ] {
        let document = of_version(document);
        let operation = &document["paths"][&path][method];
        assert_eq!(operation["operationId"], id);
        assert_eq!(operation["requestBody"]["content"]["*/*"]["schema"], carried, "{id}");
    }
}
