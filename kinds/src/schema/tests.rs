#![allow(clippy::unwrap_used)]
use api::object::{ZERO_TIME, is_zero_time};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn root(group: &str, version: &str, kind: &str) -> (&'static Types, TypeRef) {
    let types = Types::builtin();
    (types, types.root(group, version, kind).unwrap())
}

#[test]
fn fields_are_known_by_path() {
    let (types, pod) = root("", "v1", "Pod");
    let object = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": {"any": "thing"}, "nam": 1},
        "spec": {"containers": [{"name": "c", "imagee": "x", "resources": {"limits": {"cpu": "1"}}}], "foo": {"bar": 1}},
    });
    assert_eq!(types.unknown_fields(&object, pod), ["metadata.nam", "spec.containers[0].imagee", "spec.foo"]);
}

#[test]
fn lists_know_how_they_merge() {
    let (types, pod) = root("", "v1", "Pod");
    let field = |path: &[&str]| {
        let mut ty = pod;
        let mut found = None;
        for name in path {
            if *name == "[]" {
                let Node::List { item, .. } = types.node(ty) else { panic!("{path:?} is no list") };
                ty = *item;
                continue;
            }
            let Node::Object(o) = types.node(ty) else { panic!("{path:?} is no object") };
            let f = &o.fields[*name];
            found = Some(f.clone());
            ty = f.ty;
        }
        found.unwrap()
    };
    let keys = |f: &Field| match types.node(f.ty) {
        Node::List { kind: ListKind::Map(keys), .. } => {
            keys.iter().map(|k| (k.name.to_string(), k.default.clone())).collect()
        }
        _ => Vec::new(),
    };
    let ports = field(&["spec", "containers", "[]", "ports"]);
    assert_eq!(
        keys(&ports),
        [("containerPort".into(), Some(json!(0))), ("protocol".into(), Some(json!("TCP")))]
    );
    assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
    let volumes = field(&["spec", "volumes"]);
    assert!(volumes.patch.merge && volumes.patch.retain_keys);
    let finalizers = field(&["metadata", "finalizers"]);
    assert!(finalizers.patch.merge && finalizers.patch.merge_key.is_none());
    assert!(matches!(types.node(finalizers.ty), Node::List { kind: ListKind::Set, .. }));
    assert!(matches!(types.node(field(&["spec", "nodeSelector"]).ty), Node::Map { atomic: true, .. }));
    assert!(matches!(
        types.node(field(&["spec", "tolerations"]).ty),
        Node::List { kind: ListKind::Atomic, .. }
    ));
}

#[test]
fn values_become_what_go_reads() {
    let (types, pod) = root("", "v1", "Pod");
    let mut object = json!({
        "metadata": {"creationTimestamp": null, "labels": {}, "annotations": {"a": null}, "finalizers": [],
                     "deletionTimestamp": "2024-01-01T02:00:00.5+01:00"},
        "spec": {"containers": [null, {"name": "c", "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}],
                 "volumes": [{"name": "v", "emptyDir": {}}]},
    });
    types.conform(&mut object, pod).unwrap();
    assert_eq!(
        object,
        json!({
            "metadata": {"annotations": {"a": ""}, "deletionTimestamp": "2024-01-01T01:00:00Z"},
            "spec": {"containers": [{}, {"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}],
                     "volumes": [{"name": "v", "emptyDir": {}}]},
        })
    );
}

#[test]
fn wrong_types_are_named_as_go_names_them() {
    let cases = [
        (
            json!({"data": {"a": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            json!({"data": "x"}),
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string",
        ),
        (
            json!({"immutable": "x"}),
            "json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool",
        ),
        (json!({"binaryData": {"a": "not base64!"}}), "illegal base64 data at input byte 3"),
        (
            json!({"metadata": []}),
            "json: cannot unmarshal array into Go struct field ConfigMap.metadata of type v1.ObjectMeta",
        ),
        (
            json!({"metadata": {"generation": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field ObjectMeta.metadata.generation of type int64",
        ),
        (
            json!({"metadata": {"creationTimestamp": "then"}}),
            "parsing time \"then\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"then\" as \"2006\"",
        ),
        (json!([]), "json: cannot unmarshal array into Go value of type v1.ConfigMap"),
    ];
    let (types, config_map) = root("", "v1", "ConfigMap");
    for (mut object, error) in cases {
        assert_eq!(types.conform(&mut object, config_map).unwrap_err().0, error);
    }
    let (types, pod) = root("", "v1", "Pod");
    let mut object = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "abc"}}}]}});
    assert!(types.conform(&mut object, pod).unwrap_err().0.starts_with("quantities must match"));
    let mut object = json!({"spec": {"containers": {}}});
    assert_eq!(
        types.conform(&mut object, pod).unwrap_err().0,
        "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
    );
}

#[test]
fn what_conforms_is_what_the_types_read() {
    use serde::Deserialize;
    let (types, pod) = root("", "v1", "Pod");
    let mut object = json!({
        "metadata": {"name": "a", "managedFields": [{"time": "2024-01-01T00:00:00Z", "fieldsV1": {"f:a": {}}}]},
        "spec": {"containers": [{"name": null, "ports": [{"containerPort": 80, "name": null}],
                                 "livenessProbe": {"httpGet": {"port": "web"}}}],
                 "terminationGracePeriodSeconds": null, "tolerations": [null]},
    });
    types.conform(&mut object, pod).unwrap();
    k8s_openapi::api::core::v1::Pod::deserialize(&object).unwrap();
}

#[test]
fn custom_kinds_bring_their_own_types() {
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {
                "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                          "items": {"type": "object", "properties": {"id": {"type": "string", "default": "a"}}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {}},
            }},
        },
    });
    let types = Types::custom("x.io", "v1", "Thing", &schema);
    let root = types.root("x.io", "v1", "Thing").unwrap();
    let object = json!({
        "apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "x", "nope": 1},
        "spec": {"parts": [{"id": "b", "no": 1}], "free": {"a": 1}, "pod": {"kind": "Pod", "what": 1}}, "extra": 1,
    });
    assert_eq!(
        types.unknown_fields(&object, root),
        ["extra", "metadata.nope", "spec.parts[0].no", "spec.pod.what"]
    );
}

#[test]
fn every_kind_has_a_type_and_every_fact_a_field() {
    let types = Types::builtin();
    let mut generator = schema_generator();
    for kind in crate::builtin::all() {
        let root = types.root(&kind.group, &kind.version, &kind.kind);
        let Some(Node::Object(object)) = root.map(|r| types.node(r)) else {
            panic!("{} has no type", kind.kind)
        };
        assert!(object.fields.contains_key("metadata"), "{}", kind.kind);
        kind.rules.schema(&mut generator);
    }
    // Facts about types that no kind leads to are there for kinds to come; of the others each names a field.
    let definitions = generator.take_definitions(false);
    for (name, schema) in &definitions {
        for field in facts::fields_of(name) {
            let known = field == "*" || schema["properties"].get(field).is_some();
            assert!(known, "{name} has no field {field}");
        }
    }
}

/// Any JSON, not too deep.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9=:T-]{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("metadata".to_owned()),
        Just("spec".to_owned()),
        Just("containers".to_owned()),
        Just("name".to_owned()),
        Just("data".to_owned()),
        Just("ports".to_owned()),
        Just("$patch".to_owned()),
        Just("labels".to_owned()),
        Just("finalizers".to_owned()),
        Just("$setElementOrder/containers".to_owned()),
        Just("$retainKeys".to_owned()),
        Just("$deleteFromPrimitiveList/finalizers".to_owned()),
        Just("containerPort".to_owned()),
        Just("managedFields".to_owned()),
        Just("resources".to_owned()),
        Just("limits".to_owned()),
        "[a-z]{0,3}",
    ];
    leaf.prop_recursive(6, 48, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_panics(value in any_json()) {
        let (types, pod) = root("", "v1", "Pod");
        types.unknown_fields(&value, pod);
        let mut once = value;
        if types.conform(&mut once, pod).is_ok() {
            let mut twice = once.clone();
            types.conform(&mut twice, pod).unwrap();
            prop_assert_eq!(once, twice);
        }
    }
}

/// An object in which everything is that can hold something, and in which no single value is; or all are null.
fn hollow(types: &Types, ty: TypeRef, depth: usize, nulls: bool) -> Option<Value> {
    if depth == 0 {
        return nulls.then_some(Value::Null);
    }
    match types.node(ty) {
        Node::Any | Node::Raw | Node::Scalar(_) => nulls.then_some(Value::Null),
        Node::List { item, .. } => Some(json!([hollow(types, *item, depth - 1, nulls)])),
        Node::Map { value, .. } => Some(json!({"k": hollow(types, *value, depth - 1, nulls)})),
        Node::Object(object) => {
            let fields = object.fields.iter().filter_map(|(name, field)| {
                Some((name.to_string(), hollow(types, field.ty, depth - 1, nulls)?))
            });
            Some(Value::Object(fields.collect()))
        }
    }
}

#[test]
fn what_is_left_out_is_the_zero_of_its_type_in_every_kind() {
    const DEPTH: usize = 12;
    for kind in crate::builtin::all() {
        let (types, root) = kind.object_type().unwrap();
        for nulls in [false, true] {
            let mut object = hollow(types, root, DEPTH, nulls).unwrap();
            for (field, value) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_string())] {
                object[field] = value.into();
            }
            types.conform(&mut object, root).unwrap_or_else(|e| panic!("{}: {e}", kind.kind));
            let read = kind.rules.default(object);
            assert!(read.is_ok(), "{}: {:?}", kind.kind, read.err());
        }
    }
}

#[test]
fn no_time_is_a_time_only_where_one_must_be() {
    let (types, service) = root("", "v1", "Service");
    let condition =
        |time: Value| json!({"status": {"conditions": [{"type": "a", "lastTransitionTime": time}]}});
    for (given, kept) in [
        (Value::Null, ZERO_TIME),
        (json!("0001-01-01T00:00:00Z"), ZERO_TIME),
        (json!("0001-01-01T02:00:00+02:00"), ZERO_TIME),
        (json!("2026-01-01T00:00:00Z"), "2026-01-01T00:00:00Z"),
    ] {
        let mut object = condition(given.clone());
        types.conform(&mut object, service).unwrap();
        assert_eq!(object, condition(kept.into()), "{given}");
    }
    assert!(is_zero_time(ZERO_TIME.parse().unwrap()));
    let (types, pod) = root("", "v1", "Pod");
    let mut object = json!({"status": {"startTime": "0001-01-01T00:00:00Z", "phase": "Running"}});
    types.conform(&mut object, pod).unwrap();
    assert_eq!(object, json!({"status": {"phase": "Running"}}));
}
