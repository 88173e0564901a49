//! Which fields differ between two states of an object.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    merge::is_hollow,
    set::{Set, field_element, item_element},
    shape::{Shape, member, shape},
    unmanaged::strip,
};
use crate::schema::{ListKind, Node, TypeRef, Types};

/// The fields that were added, removed, and given another value.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) removed: Set,
    pub(super) modified: Set,
}

/// Compares two states of an object of type `root`.
pub(super) fn compare(types: &Types, root: TypeRef, old: &Value, new: &Value) -> Comparison {
    let mut found = Comparison::default();
    Walk { types }.values(Some(root), Some(old), Some(new), &mut found);
    // Nobody manages what identifies the object or is the system's.
    for set in [&mut found.added, &mut found.removed, &mut found.modified] {
        strip(set);
    }
    found
}

struct Walk<'a> {
    types: &'a Types,
}

impl Walk<'_> {
    fn values(&self, ty: Option<TypeRef>, old: Option<&Value>, new: Option<&Value>, found: &mut Comparison) {
        let hollow = |value: Option<&Value>| value.is_none_or(is_hollow);
        if hollow(old) && hollow(new) {
            return leaf(old, new, found);
        }
        match shape(self.types, ty, [old, new]) {
            Shape::Leaf => {
                if ty.is_none_or(|ty| matches!(self.types.node(ty), Node::Any)) {
                    self.reshaped(old, new, found);
                }
                return leaf(old, new, found);
            }
            Shape::Members(node) => {
                let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
                for (name, value) in old.into_iter().flatten() {
                    let new = new.and_then(|n| n.get(name));
                    self.below(&field_element(name), member(node, name).0, Some(value), new, found);
                }
                for (name, value) in new.into_iter().flatten() {
                    if old.is_none_or(|o| !o.contains_key(name)) {
                        self.below(&field_element(name), member(node, name).0, None, Some(value), found);
                    }
                }
            }
            Shape::Items(item, kind) => self.items(item, kind, old, new, found),
        }
        found.added.member |= old.is_none();
        found.removed.member |= new.is_none();
    }

    /// Members of what was an object and is something else now, or the other way round.
    fn reshaped(&self, old: Option<&Value>, new: Option<&Value>, found: &mut Comparison) {
        let is_other = |value: Option<&Value>| value.is_some_and(|v| !v.is_object() && !v.is_null());
        for (name, value) in old.and_then(Value::as_object).filter(|_| is_other(new)).into_iter().flatten() {
            self.below(&field_element(name), None, Some(value), None, found);
        }
        for (name, value) in new.and_then(Value::as_object).filter(|_| is_other(old)).into_iter().flatten() {
            self.below(&field_element(name), None, None, Some(value), found);
        }
    }

    fn below(
        &self,
        element: &str,
        ty: Option<TypeRef>,
        old: Option<&Value>,
        new: Option<&Value>,
        found: &mut Comparison,
    ) {
        let mut inner = Comparison::default();
        self.values(ty, old, new, &mut inner);
        found.added.attach(element, inner.added);
        found.removed.attach(element, inner.removed);
        found.modified.attach(element, inner.modified);
    }

    fn items(
        &self,
        item: TypeRef,
        kind: &ListKind,
        old: Option<&Value>,
        new: Option<&Value>,
        found: &mut Comparison,
    ) {
        let mut places: BTreeMap<String, [Vec<&Value>; 2]> = BTreeMap::new();
        for (side, list) in [old, new].into_iter().enumerate() {
            for value in list.and_then(Value::as_array).into_iter().flatten() {
                if let Some(element) = item_element(kind, value) {
                    places.entry(element).or_default()[side].push(value);
                }
            }
        }
        for (element, [old, new]) in places {
            self.below(&element, Some(item), only(&old), only(&new), found);
            // Items given several times are owned together.
            let doubled = match (old.len() > 1, new.len() > 1) {
                (true, true) if old != new => &mut found.modified,
                (true, false) => &mut found.removed,
                (false, true) => &mut found.added,
                _ => continue,
            };
            doubled.below(&element).member = true;
        }
    }
}

fn only<'v>(items: &[&'v Value]) -> Option<&'v Value> {
    if let [one] = items { Some(*one) } else { None }
}

fn leaf(old: Option<&Value>, new: Option<&Value>, found: &mut Comparison) {
    match (old, new) {
        (None, None) => {}
        (None, Some(_)) => found.added.member = true,
        (Some(_), None) => found.removed.member = true,
        (Some(old), Some(new)) => found.modified.member |= old != new,
    }
}
