//! What an object has before anybody wrote to it.
//!
//! Upstream compares a new object with an empty Go struct, in which struct fields and required fields are
//! there already; nobody comes to own them by creating the object, only what is in them.

use serde_json::{Map, Value};

use crate::schema::{Node, Scalar, TypeRef, Types};

/// Fields whose Go type is a struct, not a pointer to one, along the paths from the root; with their type where others
/// are called so, too.
const STRUCTS: &[&str] = &[
    "acceptedNames",
    "daemonEndpoints",
    "deprecatedSource",
    "devices",
    "jobTemplate",
    "kubeletEndpoint",
    "loadBalancer",
    "metadata",
    "names",
    "nodeInfo",
    "podSelector",
    "pool",
    "priorityLevelConfiguration",
    "source",
    "spec",
    "status",
    "strategy",
    "template",
    "updateStrategy",
    "v1.PersistentVolumeClaimSpec.resources",
];

/// Texts that are there even if they are empty, although nobody has to give them.
const TEXTS: &[&str] = &["reportingComponent", "reportingInstance"];

/// The empty object of a type.
pub(super) fn of(types: &Types, root: TypeRef) -> Value {
    let mut map = Map::new();
    if let Node::Object(object) = types.node(root) {
        let custom = object.name.is_empty();
        for (name, field) in &object.fields {
            let is_struct = (STRUCTS.contains(&&**name)
                || STRUCTS.contains(&&*format!("{}.{name}", object.name)))
                && !custom
                && !(&**name == "template" && &*object.name == "v1.ReplicationControllerSpec");
            let value = match types.node(field.ty) {
                Node::Object(o) if is_struct || &*o.name == "v1.ObjectMeta" => of(types, field.ty),
                // A moment that nobody gave is there as null.
                Node::Scalar(Scalar::Time | Scalar::MicroTime) if !custom => Value::Null,
                Node::Scalar(Scalar::String) if TEXTS.contains(&&**name) && !custom => "".into(),
                _ if !field.required || custom => continue,
                Node::Scalar(Scalar::Boolean) => false.into(),
                Node::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number) => 0.into(),
                Node::Scalar(Scalar::String) => "".into(),
                _ => Value::Null,
            };
            map.insert(String::from(&**name), value);
        }
    }
    Value::Object(map)
}
