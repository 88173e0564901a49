//! Sets of fields, as `fieldsV1` writes them: `{"f:spec":{"f:replicas":{}}}`.
//!
//! A set is a tree of path elements in their written form: `f:` a field, `k:` a list item by its keys, `v:` a
//! list item by its value, `i:` by its position. A node is a member of the set or only leads to members.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Map, Value};

use crate::schema::ListKind;

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Set {
    /// Whether this place itself is in the set.
    pub(super) member: bool,
    pub(super) children: BTreeMap<Box<str>, Set>,
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// A place that is itself in the set.
    pub(super) fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// Adds what is below `element`, unless that is nothing.
    pub(super) fn attach(&mut self, element: &str, child: Set) {
        if !child.is_empty() {
            self.children.insert(element.into(), child);
        }
    }

    /// What is below `element`, to be added to.
    pub(super) fn below(&mut self, element: &str) -> &mut Set {
        self.children.entry(element.into()).or_default()
    }

    pub(super) fn union(&mut self, other: Set) {
        self.member |= other.member;
        if self.children.is_empty() {
            self.children = other.children;
            return;
        }
        for (element, theirs) in other.children {
            match self.children.entry(element) {
                Entry::Occupied(mut ours) => ours.get_mut().union(theirs),
                Entry::Vacant(place) => drop(place.insert(theirs)),
            }
        }
    }

    pub(super) fn subtract(&mut self, other: &Set) {
        if other.member {
            self.member = false;
        }
        if other.children.is_empty() || self.children.is_empty() {
            return;
        }
        self.children.retain(|element, ours| {
            if let Some(theirs) = other.children.get(element) {
                ours.subtract(theirs);
            }
            !ours.is_empty()
        });
    }

    pub(super) fn intersection(&self, other: &Set) -> Set {
        let mut both = Set { member: self.member && other.member, children: BTreeMap::new() };
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                both.attach(element, ours.intersection(theirs));
            }
        }
        both
    }

    /// Takes one place out, not what is below it.
    pub(super) fn remove(&mut self, path: &[&str]) {
        let Some((element, rest)) = path.split_first() else {
            self.member = false;
            return;
        };
        if let Some(child) = self.children.get_mut(*element) {
            child.remove(rest);
            if child.is_empty() {
                self.children.remove(*element);
            }
        }
    }

    /// Takes a place and all below it out.
    pub(super) fn remove_below(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [element] => {
                self.children.remove(*element);
            }
            [element, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*element) {
                    child.remove_below(rest);
                    if child.is_empty() {
                        self.children.remove(*element);
                    }
                }
            }
        }
    }

    /// Takes all but some places and what is below them out.
    pub(super) fn keep_below(&mut self, elements: &[&str]) {
        self.children.retain(|e, _| elements.contains(&&**e));
    }

    /// The places in the set as messages show them: `.spec.containers[name="c"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths(&mut String::new(), &mut found);
        found
    }

    fn collect_paths(&self, path: &mut String, found: &mut Vec<String>) {
        if self.member {
            found.push(path.clone());
        }
        for (element, child) in &self.children {
            let length = path.len();
            push_shown(path, element);
            child.collect_paths(path, found);
            path.truncate(length);
        }
    }

    pub(super) fn encode(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".into(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            map.insert(String::from(&**element), child.encode());
        }
        Value::Object(map)
    }

    /// Reads a set; `None` for what is none.
    pub(super) fn decode(value: &Value) -> Option<Set> {
        let map = value.as_object()?;
        let mut set = Set::default();
        for (element, below) in map {
            if element == "." {
                set.member = true;
                continue;
            }
            // Elements of a form that is still to come say nothing.
            let Some(element) = canonical(element)? else { continue };
            let mut child = Set::decode(below)?;
            child.member |= child.children.is_empty();
            set.children.insert(element, child);
        }
        Some(set)
    }
}

/// An element in the form in which we write it; `Some(None)` for one of an unknown form.
fn canonical(element: &str) -> Option<Option<Box<str>>> {
    let (kind, rest) = element.split_at_checked(1)?;
    let rest = rest.strip_prefix(':')?;
    match kind {
        "f" => Some(Some(element.into())),
        "i" => rest.parse::<i64>().ok().map(|_| Some(element.into())),
        "k" | "v" => {
            let value: Value = serde_json::from_str(rest).ok()?;
            if kind == "k" && !value.is_object() {
                return None;
            }
            Some(Some(format!("{kind}:{value}").into()))
        }
        _ => Some(None),
    }
}

fn push_shown(path: &mut String, element: &str) {
    let (kind, rest) = element.split_once(':').unwrap_or(("f", element));
    match kind {
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            path.push_str(&format!("[{}]", keys.join(",")));
        }
        "v" => path.push_str(&format!("[={rest}]")),
        "i" => path.push_str(&format!("[{rest}]")),
        _ => {
            path.push('.');
            path.push_str(rest);
        }
    }
}

/// The element of a field.
pub(super) fn field_element(name: &str) -> String {
    format!("f:{name}")
}

/// The element of a list item; `None` when the item lacks what tells it apart.
pub(super) fn item_element(kind: &ListKind, item: &Value) -> Option<String> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set => {
            (!item.is_null() && !item.is_object() && !item.is_array()).then(|| format!("v:{item}"))
        }
        ListKind::Map(keys) => {
            let object = item.as_object()?;
            let present: Vec<(&str, &Value)> = keys
                .iter()
                .filter_map(|k| Some((&*k.name, object.get(&*k.name).or(k.default.as_ref())?)))
                .collect();
            if let [(name, Value::String(value))] = present.as_slice()
                && !needs_escape(value)
            {
                return Some(format!("k:{{\"{name}\":\"{value}\"}}"));
            }
            let keys: Map<String, Value> =
                present.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
            (!keys.is_empty()).then(|| format!("k:{}", Value::Object(keys)))
        }
    }
}

fn needs_escape(text: &str) -> bool {
    text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\')
}
