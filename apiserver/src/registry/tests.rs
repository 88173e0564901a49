use kinds::schema::{Node, Scalar, TypeRef, Types};
use serde_json::json;

use super::*;

/// An object with something in each field that lies at most so many objects deep.
fn filled(types: &Types, ty: TypeRef, depth: usize) -> Value {
    match types.node(ty) {
        Node::Object(_) | Node::Map { .. } if depth == 0 => json!({}),
        Node::Object(object) => {
            object.fields.iter().map(|(name, f)| (name.to_string(), filled(types, f.ty, depth - 1))).collect()
        }
        Node::Map { value, .. } => json!({"k": filled(types, *value, depth - 1)}),
        Node::List { item, .. } => json!([filled(types, *item, depth)]),
        Node::Scalar(Scalar::Boolean) => json!(true),
        Node::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Number) => json!(7),
        _ => json!("filled"),
    }
}

#[test]
fn selectable_fields_are_found_in_what_is_read_of_an_object() {
    let table = Registry::builtin().table();
    let mut read = 0;
    for rows in table.resources() {
        let spec = resource_spec(rows);
        let Some(fields) = spec.fields else { continue };
        let stored = rows.iter().find(|kind| kind.is_stored_form()).expect("one form is stored");
        let types = Types::builtin();
        let root = types.root(&stored.group, &stored.version, &stored.kind).expect("it has a type");
        let object = filled(types, root, 8);
        let found: HashMap<_, _> = fields(object.to_string().as_bytes()).into_iter().collect();
        let nothing: HashMap<_, _> = stored.rules.selectable_fields(&json!({})).into_iter().collect();
        for (name, value) in stored.rules.selectable_fields(&object) {
            assert_ne!(value, nothing[&name], "{}: nothing fills {name}", stored.kind);
            assert_eq!(found[&name], value, "{}: {name} lies too deep, or in the metadata", stored.kind);
            read += 1;
        }
    }
    assert!(read > 30, "{read}");
}
