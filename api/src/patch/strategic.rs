//! Strategic merge patch: a merge patch that knows by which key the items of a list are the same.
//!
//! Directives: `$patch: replace|delete` in objects and list items, `$retainKeys`, `$setElementOrder/LIST`,
//! `$deleteFromPrimitiveList/LIST`. Counterpart of upstream's `apimachinery/pkg/util/strategicpatch`.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::does_not_fit;
use crate::{
    schema::{Node, Patch, TypeRef, Types},
    status::Status,
};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

type Object = Map<String, Value>;

/// Why a patch is refused.
enum Mistake {
    /// The patch's form is wrong: 400.
    Format(&'static str),
    /// The patch does not fit: 422.
    Unfit,
    /// Anything else upstream leaves without a reason.
    Other(String),
}

impl From<Mistake> for Status {
    fn from(mistake: Mistake) -> Self {
        match mistake {
            Mistake::Format(text) => Status::bad_request(text),
            Mistake::Unfit => does_not_fit(),
            Mistake::Other(text) => Status::failure(500, "", text),
        }
    }
}

pub(super) fn apply(
    types: &Types,
    root: Option<TypeRef>,
    current: &Value,
    patch: Object,
) -> Result<Value, Status> {
    let mut result = current.as_object().cloned().unwrap_or_default();
    Merge { types }.objects(&mut result, patch, root)?;
    Ok(Value::Object(result))
}

struct Merge<'a> {
    types: &'a Types,
}

impl<'a> Merge<'a> {
    /// The type of a member, and how it merges.
    fn member(&self, ty: Option<TypeRef>, name: &str) -> Result<(Option<TypeRef>, &'a Patch), Mistake> {
        static PLAIN: Patch = Patch { merge: false, replace: false, retain_keys: false, merge_key: None };
        let Some(ty) = ty else { return Ok((None, &PLAIN)) };
        match self.types.node(ty) {
            Node::Object(object) => match object.fields.get(name) {
                Some(field) => Ok((Some(field.ty), &field.patch)),
                None if object.open => Ok((None, &PLAIN)),
                None => Err(Mistake::Other(format!(
                    "unable to find api field in struct {} for the json field {name:?}",
                    object.name.rsplit('.').next().unwrap_or("")
                ))),
            },
            Node::Map { value, .. } => Ok((Some(*value), &PLAIN)),
            _ => Ok((None, &PLAIN)),
        }
    }

    fn item(&self, list: Option<TypeRef>) -> Option<TypeRef> {
        match self.types.node(list?) {
            Node::List { item, .. } => Some(*item),
            _ => None,
        }
    }

    fn objects(&self, original: &mut Object, mut patch: Object, ty: Option<TypeRef>) -> Result<(), Mistake> {
        match patch.remove(DIRECTIVE) {
            None => {}
            Some(Value::String(s)) if s == "replace" => {
                original.clear();
                original.extend(cleaned_object(patch));
                return Ok(());
            }
            Some(Value::String(s)) if s == "delete" => {
                original.clear();
                return Ok(());
            }
            Some(other) => {
                let shown = go_value(&other);
                patch.insert(DIRECTIVE.to_owned(), other);
                return Err(bad_directive(&shown, &patch));
            }
        }
        if let Some(keys) = patch.remove(RETAIN_KEYS) {
            retain_keys(original, &patch, &keys)?;
        }
        self.ordered_lists(original, &mut patch, ty)?;
        for (name, change) in patch {
            let (name, deletes) = match name.strip_prefix(DELETE_FROM) {
                Some(rest) => match rest.strip_prefix('/') {
                    Some(list) => (list.to_owned(), true),
                    None => return Err(Mistake::Format("invalid patch format of primitive list")),
                },
                None => (name, false),
            };
            if change.is_null() {
                original.remove(&name);
                continue;
            }
            let merged = match (original.remove(&name), change) {
                (Some(present), _) if deletes && !present.is_array() => Some(present),
                (None, change) => {
                    if deletes {
                        None
                    } else {
                        cleaned(change)
                    }
                }
                (Some(Value::Object(mut present)), Value::Object(change)) => {
                    let (ty, how) = self.member(ty, &name)?;
                    if how.replace {
                        Some(Value::Object(change))
                    } else {
                        self.objects(&mut present, change, ty)?;
                        Some(Value::Object(present))
                    }
                }
                (Some(Value::Array(present)), Value::Array(change)) => {
                    let (ty, how) = self.member(ty, &name)?;
                    Some(Value::Array(self.lists(present, change, ty, how, deletes)?))
                }
                (Some(present), change) => {
                    if deletes {
                        Some(present)
                    } else {
                        cleaned(change)
                    }
                }
            };
            if let Some(merged) = merged {
                original.insert(name, merged);
            }
        }
        Ok(())
    }

    /// Lists for which the patch says in which order the items are to stand.
    fn ordered_lists(
        &self,
        original: &mut Object,
        patch: &mut Object,
        ty: Option<TypeRef>,
    ) -> Result<(), Mistake> {
        const WRONG: Mistake = Mistake::Format("invalid patch format of setElementOrder list");
        let directives: Vec<String> = patch.keys().filter(|k| k.starts_with(SET_ORDER)).cloned().collect();
        for directive in directives {
            let Some(order) = patch.remove(&directive) else { continue };
            let name = directive.strip_prefix(SET_ORDER).and_then(|r| r.strip_prefix('/')).ok_or(WRONG)?;
            let list = |value: Option<&Value>| match value {
                None => Ok(None),
                Some(Value::Array(items)) => Ok(Some(items.clone())),
                Some(other) => Err(Mistake::Other(format!(
                    "expected a []interface {{}}, but received a {}",
                    go_type(other)
                ))),
            };
            let order = list(Some(&order))?.unwrap_or_default();
            let present = list(original.get(name))?;
            let change = list(patch.get(name))?;
            let (ty, how) = self.member(ty, name)?;
            let key = how.merge_key.as_deref();
            check_order(change.as_deref().unwrap_or_default(), &order, key)?;
            let merged = match (present.clone(), change) {
                (None, None) => continue,
                (Some(present), None) => present,
                (None, Some(change)) => cleaned_list(change),
                (Some(present), Some(change)) => self.lists(present, change, ty, how, false)?,
            };
            patch.remove(name);
            let sorted = in_order(merged, &order, &present.unwrap_or_default(), key)?;
            original.insert(name.to_owned(), Value::Array(sorted));
        }
        Ok(())
    }

    fn lists(
        &self,
        present: Vec<Value>,
        change: Vec<Value>,
        ty: Option<TypeRef>,
        how: &Patch,
        deletes: bool,
    ) -> Result<Vec<Value>, Mistake> {
        if !how.merge && !deletes {
            return Ok(cleaned_list(change));
        }
        if present.is_empty() && change.is_empty() {
            return Ok(present);
        }
        let objects = one_kind(present.iter().chain(&change))?;
        if !objects {
            if deletes {
                let gone: HashSet<Value> = change.into_iter().collect();
                return Ok(present.into_iter().filter(|p| !gone.contains(p)).collect());
            }
            let mut known: HashSet<&Value> = present.iter().collect();
            let added: Vec<Value> = change.iter().filter(|value| known.insert(value)).cloned().collect();
            let merged = present.iter().cloned().chain(added).collect();
            return in_order(merged, &change, &present, None);
        }
        let Some(key) = how.merge_key.as_deref() else {
            return Err(Mistake::Other("cannot merge lists without merge key".into()));
        };
        let (mut merged, change) = special_items(present, change, key)?;
        let before = merged.clone();
        let item = self.item(ty);
        let mut places: HashMap<Value, usize> = HashMap::new();
        for (i, id) in merged.iter().enumerate().filter_map(|(i, item)| Some((i, item.get(key)?))) {
            places.entry(id.clone()).or_insert(i);
        }
        for value in &change {
            let Value::Object(value) = value else { continue };
            let wanted = merge_key(value, key)?;
            match places.get(wanted).and_then(|i| merged.get_mut(*i)) {
                Some(Value::Object(found)) => self.objects(found, value.clone(), item)?,
                _ => {
                    places.insert(wanted.clone(), merged.len());
                    merged.extend(cleaned(Value::Object(value.clone())));
                }
            }
        }
        in_order(merged, &change, &before, Some(key))
    }
}

fn merge_key<'v>(item: &'v Object, key: &str) -> Result<&'v Value, Mistake> {
    item.get(key).ok_or_else(|| {
        Mistake::Other(format!("map: {} does not contain declared merge key: {key}", go_object(item)))
    })
}

/// Carries out the `$patch` items of a list: what is left of the present items, and of the patch.
fn special_items(
    mut present: Vec<Value>,
    change: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Mistake> {
    let mut ordinary = Vec::new();
    let mut gone = HashSet::new();
    let mut replace = false;
    for value in change {
        let Value::Object(item) = &value else { continue };
        match item.get(DIRECTIVE) {
            None => ordinary.push(value),
            Some(Value::String(s)) if s == "delete" => {
                gone.insert(merge_key(item, key)?.clone());
            }
            Some(Value::String(s)) if s == "replace" => replace = true,
            Some(Value::String(s)) if s == "merge" => {
                return Err(Mistake::Other("merging lists cannot yet be specified in the patch".into()));
            }
            Some(other) => return Err(bad_directive(&go_value(other), item)),
        }
    }
    present.retain(|p| p.get(key).is_none_or(|id| !gone.contains(id)));
    Ok((if replace { Vec::new() } else { present }, ordinary))
}

/// Clears what the patch does not retain.
fn retain_keys(original: &mut Object, patch: &Object, keys: &Value) -> Result<(), Mistake> {
    const WRONG: Mistake = Mistake::Format("invalid patch format of retainKeys");
    let keys = keys.as_array().ok_or(WRONG)?;
    let keys: HashSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let retained = |name: &str| keys.contains(name);
    let foreign = patch.iter().any(|(name, value)| {
        !value.is_null() && !name.starts_with(DELETE_FROM) && !name.starts_with(SET_ORDER) && !retained(name)
    });
    if foreign {
        return Err(WRONG);
    }
    original.retain(|name, _| retained(name));
    Ok(())
}

/// Whether all items are objects (true) or scalars (false); mixtures and lists of lists are refused.
fn one_kind<'v>(items: impl Iterator<Item = &'v Value>) -> Result<bool, Mistake> {
    let mut kind: Option<&Value> = None;
    for item in items {
        if item.is_array() {
            return Err(Mistake::Unfit);
        }
        match kind {
            Some(k) if std::mem::discriminant(k) != std::mem::discriminant(item) => {
                return Err(Mistake::Other(format!(
                    "list element types are not identical: {} and {}",
                    go_type(k),
                    go_type(item)
                )));
            }
            _ => kind = Some(item),
        }
    }
    Ok(kind.is_some_and(Value::is_object))
}

/// What tells an item from others: its merge key, or itself.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> Option<&'v Value> {
    match key {
        Some(key) => item.get(key),
        None => Some(item),
    }
}

/// The order directive must hold all of the patch's items, in the patch's order.
fn check_order(change: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Mistake> {
    let deleted = |item: &&Value| item.get(DIRECTIVE).and_then(Value::as_str) == Some("delete");
    let mut rest = order.iter();
    for item in change.iter().filter(|i| !deleted(i)) {
        let wanted = identity(item, key);
        if !rest.any(|o| identity(o, key) == wanted) {
            return Err(Mistake::Other(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                go_list(change),
                go_list(order)
            )));
        }
    }
    Ok(())
}

/// Sorts merged items: those named by the patch in the patch's order; the others keep the order they had,
/// before the first of the patch's items that they used to stand in front of.
fn in_order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Mistake> {
    if let Some(key) = key {
        for item in merged.iter().chain(patch_order) {
            match item {
                Value::Object(item) => drop(merge_key(item, key)?),
                _ => return Err(Mistake::Other(format!("expected a map, but received a {}", go_type(item)))),
            }
        }
    }
    let places = |order: &[Value]| -> HashMap<String, usize> {
        let mut places = HashMap::new();
        for (i, item) in order.iter().enumerate() {
            if let Some(id) = identity(item, key) {
                places.entry(id.to_string()).or_insert(i);
            }
        }
        places
    };
    let (in_patch, on_server) = (places(patch_order), places(server_order));
    let mut patched = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let id = identity(&item, key).map(Value::to_string).unwrap_or_default();
        let server = on_server.get(&id).copied();
        match in_patch.get(&id) {
            Some(place) => patched.push((*place, server, item)),
            None => others.push((server.unwrap_or(usize::MAX), server, item)),
        }
    }
    patched.sort_by_key(|p| p.0);
    others.sort_by_key(|o| o.0);
    let mut sorted = Vec::with_capacity(patched.len() + others.len());
    let mut others = others.into_iter().peekable();
    for (_, place, item) in patched {
        while let Some((_, other, _)) = others.peek()
            && matches!((other, place), (Some(other), Some(place)) if *other < place)
        {
            sorted.extend(others.next().map(|o| o.2));
        }
        sorted.push(item);
    }
    sorted.extend(others.map(|o| o.2));
    Ok(sorted)
}

/// A value taken from the patch as it is: without nulls in objects and without directives.
fn cleaned(value: Value) -> Option<Value> {
    match value {
        Value::Object(mut map) => match map.remove(DIRECTIVE) {
            Some(Value::String(s)) if s == "delete" => None,
            _ => Some(Value::Object(cleaned_object(map))),
        },
        Value::Array(items) => Some(Value::Array(cleaned_list(items))),
        other => Some(other),
    }
}

fn cleaned_object(map: Object) -> Object {
    let directive = |name: &str| {
        name == DIRECTIVE
            || name == RETAIN_KEYS
            || name.starts_with(SET_ORDER)
            || name.starts_with(DELETE_FROM)
    };
    map.into_iter()
        .filter(|(name, value)| !value.is_null() && !directive(name))
        .filter_map(|(name, value)| Some((name, cleaned(value)?)))
        .collect()
}

fn cleaned_list(items: Vec<Value>) -> Vec<Value> {
    items.into_iter().filter(|i| i.get(DIRECTIVE).is_none()).filter_map(cleaned).collect()
}

fn bad_directive(directive: &str, object: &Object) -> Mistake {
    Mistake::Other(format!("unknown patch type: {directive} in map: {}", go_object(object)))
}

/// A value as Go's `%v` prints it.
pub(super) fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(s) => s.clone(),
        Value::Array(items) => go_list(items),
        Value::Object(map) => go_object(map),
        other => other.to_string(),
    }
}

fn go_list(items: &[Value]) -> String {
    format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" "))
}

fn go_object(map: &Object) -> String {
    let members: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_value(v))).collect();
    format!("map[{}]", members.join(" "))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
