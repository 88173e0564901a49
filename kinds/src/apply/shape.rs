//! How the parts of an object are owned: as a whole, or member by member, item by item.

use serde_json::Value;

use super::set;
use crate::schema::{ListKind, Node, TypeRef, Types};

/// How a value of a type is owned.
pub(super) enum Shape<'a> {
    /// As a whole.
    Leaf,
    /// Member by member.
    Members(Option<&'a Node>),
    /// Item by item.
    Items(TypeRef, &'a ListKind),
}

/// `ty` is `None` below values of which nothing is known.
pub(super) fn shape<'a>(types: &'a Types, ty: Option<TypeRef>, values: [Option<&Value>; 2]) -> Shape<'a> {
    let all = |is: fn(&Value) -> bool| values.iter().flatten().all(|v| v.is_null() || is(v));
    let node = ty.map(|ty| types.node(ty));
    match node {
        None | Some(Node::Any) => {
            let some = values.iter().flatten().any(|v| v.is_object());
            if some && all(Value::is_object) { Shape::Members(None) } else { Shape::Leaf }
        }
        Some(Node::Scalar(_) | Node::Raw) => Shape::Leaf,
        Some(Node::Object(o)) if o.atomic || !all(Value::is_object) => Shape::Leaf,
        Some(Node::Map { atomic, .. }) if *atomic || !all(Value::is_object) => Shape::Leaf,
        Some(Node::Object(_) | Node::Map { .. }) => Shape::Members(node),
        Some(Node::List { kind: ListKind::Atomic, .. }) => Shape::Leaf,
        Some(Node::List { item, kind }) => {
            let fits =
                |v: &&Value| v.as_array().into_iter().flatten().all(|i| set::item_element(kind, i).is_some());
            if all(Value::is_array) && values.iter().flatten().all(fits) {
                Shape::Items(*item, kind)
            } else {
                Shape::Leaf
            }
        }
    }
}

/// The type of a member, when the shape knows it; whether it is a field by name (not a map entry).
pub(super) fn member(node: Option<&Node>, name: &str) -> (Option<TypeRef>, bool) {
    match node {
        Some(Node::Object(o)) => {
            let field = o.fields.get(name);
            (field.map(|f| f.ty), field.is_some())
        }
        Some(Node::Map { value, .. }) => (Some(*value), false),
        _ => (None, false),
    }
}
