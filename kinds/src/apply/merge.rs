//! Lays a configuration over an object, and takes out of an object what nobody owns any more.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
};

use serde_json::{Map, Value};

use super::{
    set::{Set, field_element, item_element},
    shape::{Shape, member, shape},
    words::{quoted, shown, type_of},
};
use crate::{
    json::MAX_PROBLEMS,
    kind::version::Versions,
    schema::{ListKind, Node, Scalar, TypeRef, Types, push_index},
};

/// `live` with everything that `config` says.
pub(super) fn merge(types: &Types, root: TypeRef, live: &Value, config: &Value) -> Value {
    merged(types, Some(root), Some(live), Some(config))
}

fn merged(types: &Types, ty: Option<TypeRef>, live: Option<&Value>, config: Option<&Value>) -> Value {
    let (live, config) = match (live, config) {
        (live, None) => return live.cloned().unwrap_or(Value::Null),
        (None, Some(config)) => return config.clone(),
        (Some(live), Some(config)) => (live, config),
    };
    if is_hollow(live) && is_hollow(config) {
        return config.clone();
    }
    match shape(types, ty, [Some(live), Some(config)]) {
        Shape::Members(node) => {
            let (Some(live), Some(config)) = (live.as_object(), config.as_object()) else {
                return if config.is_null() { live.clone() } else { config.clone() };
            };
            let mut result = live.clone();
            for (name, value) in config {
                let value = merged(types, member(node, name).0, live.get(name), Some(value));
                result.insert(name.clone(), value);
            }
            Value::Object(result)
        }
        Shape::Items(item, kind) => {
            let (Some(live), Some(config)) = (live.as_array(), config.as_array()) else {
                return if config.is_null() { live.clone() } else { config.clone() };
            };
            Value::Array(merge_lists(types, item, kind, live, config))
        }
        Shape::Leaf => config.clone(),
    }
}

/// Whether nothing is in a value.
pub(super) fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Items of the configuration stand in its order; items that only the object has stay before the shared item
/// that they stood before.
fn merge_lists(
    types: &Types,
    item: TypeRef,
    kind: &ListKind,
    live: &[Value],
    config: &[Value],
) -> Vec<Value> {
    let elements = |list: &[Value]| -> Vec<String> {
        list.iter().map(|v| item_element(kind, v).unwrap_or_default()).collect()
    };
    let (ours, theirs) = (elements(live), elements(config));
    // An item that the object has several times is not merged with: the configuration's takes the place of all.
    let mut in_live: HashMap<&str, Option<&Value>> = HashMap::new();
    for (element, value) in ours.iter().zip(live) {
        in_live.entry(element).and_modify(|known| *known = None).or_insert(Some(value));
    }
    let in_config: HashSet<&str> = theirs.iter().map(String::as_str).collect();
    let mut shared = theirs.iter().map(String::as_str).filter(|e| in_live.contains_key(e));
    let mut next_shared = shared.next();
    let mut done: HashSet<&str> = HashSet::new();
    let mut result = Vec::with_capacity(live.len().max(config.len()));
    let (mut l, mut c) = (0, 0);
    while l < live.len() || c < config.len() {
        if l < live.len() {
            let element = ours[l].as_str();
            let at_config = theirs.get(c).map(String::as_str);
            if !in_config.contains(element) {
                result.push(live[l].clone());
                l += 1;
                continue;
            }
            if at_config != Some(element) && (done.contains(element) || next_shared != Some(element)) {
                // Shared, but not the one whose turn it is: it comes where the configuration has it.
                l += 1;
                continue;
            }
            if at_config == Some(element) {
                l += 1;
            }
        }
        if c < config.len() {
            let element = theirs[c].as_str();
            result.push(merged(types, Some(item), in_live.get(element).copied().flatten(), Some(&config[c])));
            done.insert(element);
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
            c += 1;
        }
    }
    result
}

/// The fields that a value sets.
pub(super) fn field_set(types: &Types, root: TypeRef, value: &Value) -> Set {
    fields_of(types, Some(root), value)
}

fn fields_of(types: &Types, ty: Option<TypeRef>, value: &Value) -> Set {
    let mut set = Set::default();
    match shape(types, ty, [Some(value), None]) {
        Shape::Leaf => set.member = true,
        Shape::Members(node) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let (ty, named) = member(node, name);
                let mut child = fields_of(types, ty, value);
                let hollow = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                child.member |= hollow || !named;
                set.attach(&field_element(name), child);
            }
        }
        Shape::Items(item, kind) => {
            for value in value.as_array().into_iter().flatten() {
                let Some(element) = item_element(kind, value) else { continue };
                // Items given twice are owned together.
                let double = set.children.contains_key(element.as_str());
                let mut child = if double { Set::default() } else { fields_of(types, Some(item), value) };
                child.member = true;
                set.attach(&element, child);
            }
        }
    }
    set
}

/// The set with every field by name that leads to a member made a member.
fn with_named(types: &Types, ty: Option<TypeRef>, set: &Set) -> Set {
    let node = ty.map(|ty| types.node(ty));
    let mut result = Set { member: set.member, ..Set::default() };
    for (element, child) in &set.children {
        let (ty, named) = match (element.strip_prefix("f:"), node) {
            (Some(name), node) => member(node, name),
            (None, Some(Node::List { item, .. })) => (Some(*item), false),
            _ => (None, false),
        };
        let mut child = with_named(types, ty, child);
        child.member |= named && !child.children.is_empty();
        result.children.insert(element.clone(), child);
    }
    result
}

/// Takes out of `merged` what the manager applied `before` (in the version `applied`) and nobody in `owned`,
/// which has fields by version, has now.
pub(super) fn prune(
    versions: Versions<'_>,
    merged: Value,
    applied: &str,
    before: &Set,
    mut owned: BTreeMap<&str, Set>,
) -> Value {
    if before.is_empty() {
        return merged;
    }
    let seen = versions.object_type(applied).zip(versions.convert(&merged, versions.own, applied));
    // Nobody can tell any more what was applied in a version that is gone.
    let Some(((types, root), all)) = seen else { return merged };
    let (root, all) = (Some(root), all.as_ref());
    let before = with_named(types, root, before);
    let mut kept = removed(types, root, all, &before);
    let first = owned.remove_entry(applied).into_iter();
    let versioned: Vec<(&str, Set)> = first.chain(owned).collect();
    for (version, owned) in versioned {
        if let Some(more) = add_owned(versions, (applied, all), &kept, version, &owned) {
            kept = more;
        }
    }
    // What was never applied stays, even if nobody owns it.
    let named = |value: &Value| with_named(types, root, &fields_of(types, root, value));
    let mut gone = named(all);
    gone.subtract(&named(&kept));
    let pruned = removed(types, root, all, &gone.intersection(&before));
    versions.convert(&pruned, applied, versions.own).map_or(merged.clone(), Cow::into_owned)
}

/// Puts back into `kept` what `all` has and the managers of a version own; `None` when it is not served.
fn add_owned(
    versions: Versions<'_>,
    (at, all): (&str, &Value),
    kept: &Value,
    version: &str,
    owned: &Set,
) -> Option<Value> {
    let (types, root) = versions.object_type(version)?;
    let root = Some(root);
    let (all, kept) = (versions.convert(all, at, version)?, versions.convert(kept, at, version)?);
    let named = |set: &Set| with_named(types, root, set);
    let mut stays = named(&fields_of(types, root, &kept));
    stays.union(named(owned));
    let mut unowned = named(&fields_of(types, root, &all));
    unowned.subtract(&stays);
    let kept = removed(types, root, &all, &unowned);
    versions.convert(&kept, version, at).map(Cow::into_owned)
}

/// The value without the members of `set`. A list or map that loses all it has stays.
fn removed(types: &Types, ty: Option<TypeRef>, value: &Value, set: &Set) -> Value {
    let below = |ty, value: &Value, element: &str| match set.children.get(element) {
        None => Some(value.clone()),
        Some(child) if child.member => None,
        Some(child) => Some(removed(types, ty, value, child)),
    };
    match (shape(types, ty, [Some(value), None]), value) {
        (Shape::Members(node), Value::Object(map)) => map
            .iter()
            .filter_map(|(name, value)| {
                Some((name.clone(), below(member(node, name).0, value, &field_element(name))?))
            })
            .collect(),
        (Shape::Items(item, kind), Value::Array(items)) => {
            items.iter().filter_map(|value| below(Some(item), value, &item_element(kind, value)?)).collect()
        }
        _ => value.clone(),
    }
}

/// Whether a configuration fits the type, so that every field of it can be owned.
pub(super) fn check(types: &Types, root: TypeRef, config: &Value) -> Result<(), Vec<String>> {
    let mut errors = Vec::new();
    check_value(types, root, config, &mut String::new(), &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// The places of what a configuration can only say as a whole.
pub(super) fn atomics(types: &Types, ty: TypeRef, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let length = path.len();
    match (types.node(ty), value) {
        (node @ (Node::Object(_) | Node::Map { .. }), Value::Object(map)) => {
            if matches!(node, Node::Object(o) if o.atomic) || matches!(node, Node::Map { atomic: true, .. }) {
                found.push(path.clone());
            }
            for (name, value) in map {
                if let (Some(ty), true) = member(Some(node), name) {
                    path.push('.');
                    path.push_str(name);
                    atomics(types, ty, value, path, found);
                    path.truncate(length);
                }
            }
        }
        (Node::List { item, kind }, Value::Array(items)) => {
            if *kind == ListKind::Atomic {
                found.push(path.clone());
            }
            for (i, value) in items.iter().enumerate() {
                push_index(path, i);
                atomics(types, *item, value, path, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

fn check_value(types: &Types, ty: TypeRef, value: &Value, path: &mut String, errors: &mut Vec<String>) {
    /// So much of a name is shown.
    const NAME: usize = 512;
    let length = path.len();
    if value.is_null() || errors.len() >= MAX_PROBLEMS {
        return;
    }
    match types.node(ty) {
        Node::Any | Node::Raw => {}
        // Whether it is an object is for the schema of a custom kind to say.
        Node::Object(object) if object.open && !value.is_object() => {}
        Node::Scalar(scalar) => {
            let fits = match scalar {
                Scalar::Boolean => value.is_boolean(),
                Scalar::Int32 | Scalar::Int64 | Scalar::Number => value.is_number(),
                Scalar::String | Scalar::Bytes => value.is_string(),
                _ => !value.is_object() && !value.is_array(),
            };
            if !fits {
                let words = match scalar {
                    Scalar::Boolean => format!("boolean, got {}", shown(value)),
                    Scalar::Int32 | Scalar::Int64 | Scalar::Number => {
                        format!("numeric (int or float), got {}", type_of(value))
                    }
                    Scalar::String | Scalar::Bytes => format!("string, got {}", quoted(value)),
                    _ => format!("any scalar, got {}", shown(value)),
                };
                errors.push(format!("{path}: expected {words}"));
            }
        }
        node @ (Node::Object(_) | Node::Map { .. }) => {
            let Some(map) = value.as_object() else {
                errors.push(format!("{path}: expected map, got {}", shown(value)));
                return;
            };
            for (name, value) in map {
                path.push('.');
                path.push_str(&name[..name.floor_char_boundary(NAME)]);
                match member(Some(node), name).0 {
                    Some(ty) => check_value(types, ty, value, path, errors),
                    None if matches!(node, Node::Object(o) if o.open || o.loose) => {}
                    None if errors.len() >= MAX_PROBLEMS => return,
                    None => errors.push(format!("{path}: field not declared in schema")),
                }
                path.truncate(length);
            }
        }
        Node::List { item, kind } => {
            let Some(items) = value.as_array() else {
                errors.push(format!("{path}: expected list, got {}", shown(value)));
                return;
            };
            let mut seen = HashSet::new();
            for (i, value) in items.iter().enumerate() {
                let element = item_element(kind, value);
                match (&element, kind) {
                    (_, ListKind::Atomic) => push_index(path, i),
                    (Some(element), _) => {
                        let shown =
                            Set { children: [(element.as_str().into(), Set::leaf())].into(), member: false };
                        let shown = shown.paths().concat();
                        if !seen.insert(element.clone()) {
                            errors.push(format!("{path}: duplicate entries for key {shown}"));
                        }
                        path.push_str(&shown);
                    }
                    (None, ListKind::Map(_)) if !value.is_object() => {
                        let what = if value.is_null() { "a null element" } else { "non-map elements" };
                        errors.push(format!(
                            "{path}: element {i}: associative list with keys may not have {what}"
                        ));
                        return;
                    }
                    (None, ListKind::Map(keys)) => {
                        let keys: Vec<String> = keys.iter().map(|k| format!("{:?}", k.name)).collect();
                        errors.push(format!(
                            "{path}: element {i}: associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                            keys.join(" ")
                        ));
                        // Whoever cannot be named ends the list.
                        return;
                    }
                    (None, ListKind::Set) => {
                        let what = match value {
                            Value::Object(_) => {
                                "associative list without keys has an element that's a map type"
                            }
                            Value::Array(_) => "not supported: associative list with lists as elements",
                            _ => "associative list without keys has an element that's an explicit null",
                        };
                        errors.push(format!("{path}: element {i}: {what}"));
                        return;
                    }
                }
                check_value(types, *item, value, path, errors);
                path.truncate(length);
            }
        }
    }
}
