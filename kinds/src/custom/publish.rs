//! A custom kind's schema as OpenAPI documents show it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{Schema as Described, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::schema::Schema;
use crate::kind::Text;

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

const METADATA: &str = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The schema with what every object has.
pub fn described(
    json: &Value,
    schema: &Schema,
    selectable: &[Text],
    generator: &mut SchemaGenerator,
) -> Described {
    let mut root = if schema.preserves() && schema.properties.is_empty() {
        // Nothing is known of its fields.
        let mut root = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        if let Some(text) = json.get("description") {
            root["description"] = text.clone();
        }
        root
    } else {
        json.clone()
    };
    clean(&mut root);
    embed(&mut root, true, generator);
    if !selectable.is_empty() {
        let fields = selectable.iter().map(|path| json!({"fieldPath": path}));
        root["x-kubernetes-selectable-fields"] = fields.collect();
    }
    Described::try_from(root).unwrap_or_default()
}

/// Leaves out what clients have no use for, and closes what has no type.
fn clean(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if map.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        map.remove("type");
        map.remove("anyOf");
    }
    if map.get("default").is_some_and(Value::is_null) {
        map.remove("default");
    }
    for key in ["properties", "definitions"] {
        for inner in map.get_mut(key).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            clean(inner);
        }
    }
    for key in ["items", "additionalProperties", "not"] {
        if let Some(inner) = map.get_mut(key) {
            clean(inner);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().for_each(clean);
    }
}

/// Adds `apiVersion`, `kind` and `metadata` to the root and to embedded resources.
fn embed(schema: &mut Value, root: bool, generator: &mut SchemaGenerator) {
    let Some(map) = schema.as_object_mut() else { return };
    for inner in
        map.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
    {
        embed(inner, false, generator);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            embed(inner, false, generator);
        }
    }
    if root || map.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("apiVersion".into(), json!({"type": "string", "description": API_VERSION}));
            properties.insert("kind".into(), json!({"type": "string", "description": KIND}));
            let mut metadata = generator.subschema_for::<ObjectMeta>().to_value();
            if root {
                metadata["description"] = METADATA.into();
            }
            properties.insert("metadata".into(), metadata);
        }
    }
}
