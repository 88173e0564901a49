//! Strategic merge patch: a merge patch that knows by which key the items of a list are the same.
//!
//! Directives: `$patch: replace|delete` in objects and list items, `$retainKeys`, `$setElementOrder/LIST`,
//! `$deleteFromPrimitiveList/LIST`. What is not merged into something is taken as the patch has it: nulls and directives
//! in it are for whoever reads the result. Counterpart of upstream's `apimachinery/pkg/util/strategicpatch`.

use std::collections::{HashMap, HashSet};

use api::status::Status;
use serde_json::{Map, Value};

use super::{
    does_not_fit,
    go::{OBJECT, go_list, go_object, go_text, go_type},
    merge::drop_nulls,
    order::{check_order, in_order},
};
use crate::schema::{Node, Patch, TypeRef, Types};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
pub(super) const SET_ORDER: &str = "$setElementOrder";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";

pub(super) type Object = Map<String, Value>;

/// Why a patch is refused.
pub(super) enum Mistake {
    /// The patch's form is wrong: 400.
    Format(&'static str),
    /// The patch does not fit: 422.
    Unfit,
    /// Anything else upstream leaves without a reason: 500.
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

impl Mistake {
    pub(super) fn wrong_type(wanted: &str, found: &Value) -> Self {
        let found = if found.is_null() { "%!s(<nil>)" } else { go_type(found) };
        Self::Other(format!("expected a {wanted}, but received a {found}"))
    }
}

pub(super) fn apply(
    types: &Types,
    root: Option<TypeRef>,
    current: &Value,
    patch: Object,
) -> Result<Value, Status> {
    let present = current.as_object().cloned().unwrap_or_default();
    let mut result = Merge { types }.objects(present, patch, root)?;
    // Whatever the patch says, the object stays what it is.
    for name in ["apiVersion", "kind"] {
        match current.get(name) {
            Some(value) => drop(result.insert(name.to_owned(), value.clone())),
            None => drop(result.remove(name)),
        }
    }
    Ok(Value::Object(result))
}

struct Merge<'a> {
    types: &'a Types,
}

/// How a list merges, and the type of its items.
struct Listed<'a> {
    item: Option<TypeRef>,
    merges: bool,
    key: Option<&'a str>,
}

impl<'a> Merge<'a> {
    /// The type of a member, and how it merges.
    fn member(&self, ty: Option<TypeRef>, name: &str) -> Result<(Option<TypeRef>, &'a Patch), Mistake> {
        static PLAIN: Patch = Patch { merge: false, replace: false, retain_keys: false, merge_key: None };
        let Some(ty) = ty else { return Ok((None, &PLAIN)) };
        let owner = match self.types.node(ty) {
            Node::Object(object) => match object.fields.get(name) {
                Some(field) => return Ok((Some(field.ty), &field.patch)),
                None => object.name.rsplit('.').next().unwrap_or_default(),
            },
            Node::Map { .. } => {
                let why = "merging an object in json but data type is not struct, instead is: map";
                return Err(Mistake::Other(why.into()));
            }
            _ => "RawExtension",
        };
        Err(Mistake::Other(format!("unable to find api field in struct {owner} for the json field {name:?}")))
    }

    fn list(&self, ty: Option<TypeRef>, name: &str) -> Result<Listed<'a>, Mistake> {
        let (list, how) = self.member(ty, name)?;
        let item = match list.map(|list| self.types.node(list)) {
            None => None,
            Some(Node::List { item, .. }) => Some(*item),
            Some(_) => {
                return Err(Mistake::Other("expected slice or array type, but got: struct".into()));
            }
        };
        Ok(Listed { item, merges: how.merge, key: how.merge_key.as_deref() })
    }

    fn objects(
        &self,
        mut original: Object,
        mut patch: Object,
        ty: Option<TypeRef>,
    ) -> Result<Object, Mistake> {
        match patch.get(DIRECTIVE) {
            None => {}
            Some(directive) if directive == "replace" => {
                patch.remove(DIRECTIVE);
                return Ok(patch);
            }
            Some(directive) if directive == "delete" => return Ok(Object::new()),
            Some(directive) => return Err(bad_directive(directive, &patch)),
        }
        if let Some(keys) = patch.remove(RETAIN_KEYS) {
            retain_keys(&mut original, &patch, &keys)?;
        }
        self.ordered_lists(&mut original, &mut patch, ty)?;
        for (name, change) in patch {
            let (name, deletes) = if name.starts_with(DELETE_FROM) {
                const WRONG: Mistake = Mistake::Format("invalid patch format of primitive list");
                let list = subject(&name, DELETE_FROM).ok_or(WRONG)?;
                (if list.is_empty() { name.clone() } else { list.to_owned() }, true)
            } else {
                (name, false)
            };
            let present = original.remove(&name);
            if let Some(merged) = self.values(present, change, ty, &name, deletes)? {
                original.insert(name, merged);
            }
        }
        Ok(original)
    }

    /// What a member becomes; with `deletes` the change says what a list is to lose.
    fn values(
        &self,
        present: Option<Value>,
        change: Value,
        ty: Option<TypeRef>,
        name: &str,
        deletes: bool,
    ) -> Result<Option<Value>, Mistake> {
        Ok(match (present, change) {
            (_, Value::Null) => None,
            (Some(Value::Object(present)), Value::Object(change)) => {
                let (ty, how) = self.member(ty, name)?;
                let merged = if how.replace { change } else { self.objects(present, change, ty)? };
                Some(merged.into())
            }
            (Some(Value::Array(present)), Value::Array(change)) => {
                let list = self.list(ty, name)?;
                let merged = if list.merges || deletes {
                    self.lists(present, change, &list, deletes)?
                } else {
                    change
                };
                Some(merged.into())
            }
            (Some(present), change) if deletes && go_type(&present) != go_type(&change) => Some(present),
            (None, _) if deletes => None,
            (_, mut change) => {
                drop_nulls(&mut change);
                without_directives(change)
            }
        })
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
            let items = |value: Option<Value>| match value {
                None => Ok(None),
                Some(Value::Array(items)) => Ok(Some(items)),
                Some(other) => Err(Mistake::wrong_type("[]interface {}", &other)),
            };
            let order = items(patch.remove(&directive))?.unwrap_or_default();
            let name = subject(&directive, SET_ORDER).ok_or(WRONG)?;
            let present = items(original.remove(name))?;
            let change = items(patch.remove(name))?;
            let list = self.list(ty, name)?;
            check_order(change.as_deref().unwrap_or_default(), &order, list.key)?;
            let lists = [&present, &change].map(|list| list.as_deref().unwrap_or_default());
            let has_items = Items::of(lists)? != Items::None;
            let server_order = present.clone().unwrap_or_default();
            let merged = match (present, change) {
                (None, None) => continue,
                (Some(present), None) => present,
                (None, Some(change)) => change.into_iter().filter_map(without_directives).collect(),
                (Some(present), Some(change)) if list.merges => self.lists(present, change, &list, false)?,
                (Some(_), Some(change)) => change,
            };
            if !has_items {
                return Err(Mistake::Other("no elements in any of the given slices".into()));
            }
            let sorted = in_order(merged, &order, &server_order, list.key)?;
            original.insert(name.to_owned(), sorted.into());
        }
        Ok(())
    }

    fn lists(
        &self,
        present: Vec<Value>,
        change: Vec<Value>,
        list: &Listed<'_>,
        deletes: bool,
    ) -> Result<Vec<Value>, Mistake> {
        match Items::of([&present, &change])? {
            Items::None => Ok(present),
            Items::Scalars if deletes => {
                let gone: HashSet<&Value> = change.iter().collect();
                Ok(present.into_iter().filter(|item| !gone.contains(item)).collect())
            }
            Items::Scalars => {
                let mut seen = HashSet::new();
                let merged = present.iter().chain(&change).filter(|item| seen.insert(*item)).cloned();
                in_order(merged.collect(), &change, &present, None)
            }
            Items::Objects => {
                let Some(key) = list.key else {
                    return Err(Mistake::Other("cannot merge lists without merge key for struct".into()));
                };
                let (present, change) = special_items(present, change, key)?;
                let server_order: Vec<Value> = present.iter().map(|item| item_named(item, key)).collect();
                let order: Vec<Value> = change.iter().map(|item| item_named(item, key)).collect();
                let merged = self.items(present, change, key, list.item)?;
                in_order(merged, &order, &server_order, Some(key))
            }
        }
    }

    /// Merges each item of the patch into the first that has its key.
    fn items(
        &self,
        mut merged: Vec<Value>,
        change: Vec<Value>,
        key: &str,
        item: Option<TypeRef>,
    ) -> Result<Vec<Value>, Mistake> {
        let mut places: HashMap<Value, usize> = HashMap::new();
        for (place, item) in merged.iter().enumerate() {
            if let Some(value) = item.get(key) {
                places.entry(value.clone()).or_insert(place);
            }
        }
        for value in change {
            let Value::Object(value) = value else { continue };
            let wanted = merge_key(&value, key)?;
            match places.get(wanted) {
                Some(&place) => {
                    let found = std::mem::take(&mut merged[place]);
                    let Value::Object(found) = found else { return Err(Mistake::Unfit) };
                    merged[place] = self.objects(found, value, item)?.into();
                }
                None => {
                    places.insert(wanted.clone(), merged.len());
                    merged.push(value.into());
                }
            }
        }
        Ok(merged)
    }
}

/// The list that a directive such as `$setElementOrder/containers` is about.
fn subject<'n>(name: &'n str, directive: &str) -> Option<&'n str> {
    name.strip_prefix(directive)?.strip_prefix('/')
}

pub(super) fn merge_key<'v>(item: &'v Object, key: &str) -> Result<&'v Value, Mistake> {
    item.get(key).ok_or_else(|| {
        Mistake::Other(format!("map: {} does not contain declared merge key: {key}", go_object(item)))
    })
}

/// An item of which nothing but its key is left.
fn item_named(item: &Value, key: &str) -> Value {
    item.get(key).map(|value| (key.to_owned(), value.clone())).into_iter().collect()
}

/// Carries out the `$patch` items of a list: what is left of the present items, and of the patch. Where the list is to
/// be replaced, the rest of the patch is what there is, doubles included.
fn special_items(
    mut present: Vec<Value>,
    change: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Mistake> {
    let mut ordinary = Vec::new();
    let mut gone: HashSet<Value> = HashSet::new();
    let mut replace = false;
    for value in change {
        let Value::Object(item) = &value else { continue };
        match item.get(DIRECTIVE) {
            None => ordinary.push(value),
            Some(directive) if directive == "delete" => drop(gone.insert(merge_key(item, key)?.clone())),
            Some(directive) if directive == "replace" => replace = true,
            Some(directive) if directive == "merge" => {
                return Err(Mistake::Other("merging lists cannot yet be specified in the patch".into()));
            }
            Some(directive) => return Err(bad_directive(directive, item)),
        }
    }
    if replace {
        return Ok((ordinary, Vec::new()));
    }
    present.retain(|item| item.get(key).is_none_or(|value| !gone.contains(value)));
    Ok((present, ordinary))
}

/// Clears what the patch does not retain.
fn retain_keys(original: &mut Object, patch: &Object, keys: &Value) -> Result<(), Mistake> {
    const WRONG: Mistake = Mistake::Format("invalid patch format of retainKeys");
    let keys: HashSet<&str> = keys.as_array().ok_or(WRONG)?.iter().filter_map(Value::as_str).collect();
    let foreign = patch.iter().any(|(name, value)| {
        let directive = name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER);
        !value.is_null() && !directive && !keys.contains(name.as_str())
    });
    if foreign {
        return Err(WRONG);
    }
    original.retain(|name, _| keys.contains(name.as_str()));
    Ok(())
}

/// What the items of lists are.
#[derive(PartialEq, Eq)]
enum Items {
    None,
    Objects,
    Scalars,
}

impl Items {
    /// Lists of lists and mixtures are refused.
    fn of(lists: [&[Value]; 2]) -> Result<Self, Mistake> {
        let mut kind: Option<&'static str> = None;
        for item in lists.into_iter().flatten() {
            let found = go_type(item);
            match kind {
                None if item.is_array() || item.is_null() => return Err(Mistake::Unfit),
                Some(kind) if kind != found => {
                    let shown = lists.map(go_list);
                    return Err(Mistake::Other(format!(
                        "list element types are not identical: [{}]",
                        shown.join(" ")
                    )));
                }
                _ => kind = Some(found),
            }
        }
        Ok(match kind {
            None => Self::None,
            Some(OBJECT) => Self::Objects,
            Some(_) => Self::Scalars,
        })
    }
}

/// A value without the objects in it that are directives; `None` if it is one itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(name, value)| Some((name, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

pub(super) fn is_deletion(item: &Value) -> bool {
    item.get(DIRECTIVE).is_some_and(|directive| directive == "delete")
}

pub(super) fn is_directive(item: &Value) -> bool {
    item.get(DIRECTIVE).is_some()
}

fn bad_directive(directive: &Value, object: &Object) -> Mistake {
    Mistake::Other(format!("unknown patch type: {} in map: {}", go_text(directive), go_object(object)))
}
