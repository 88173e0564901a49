//! The tree of types behind every kind: which fields an object has, of what type, and how lists merge.
//!
//! Built once from the OpenAPI schemas of all kinds and the list facts, it answers what typed Go structs
//! answer upstream: unknown fields, wrong types, merge keys, list map keys. Custom kinds build their own from
//! their structural schema. Nodes are in one vector and refer to each other by index, since types recurse.

mod build;
mod conform;
mod declare;
mod facts;

use std::collections::BTreeMap;

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;

pub use facts::{Fact, facts, tag};

use api::field::cut;

/// A type in a [`Types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeRef(u32);

/// All types of a set of kinds.
#[derive(Debug, Default)]
pub struct Types {
    nodes: Vec<Node>,
    /// Sorted by group, version, kind.
    roots: Vec<([Box<str>; 3], TypeRef)>,
    /// Of each node, whether something in it is for [`Self::complete`].
    incomplete: Vec<bool>,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Any JSON.
    Any,
    /// Any JSON, owned as a whole.
    Raw,
    /// A single value.
    Scalar(Scalar),
    /// Named fields.
    Object(Object),
    /// Any names, values of one type.
    Map {
        /// Type of the values.
        value: TypeRef,
        /// Whether the map is owned and replaced as a whole.
        atomic: bool,
    },
    /// A list.
    List {
        /// Type of the items.
        item: TypeRef,
        /// How items are told apart.
        kind: ListKind,
    },
}

/// Types of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// A number without a fraction, of 32 bits.
    Int32,
    /// A number without a fraction, of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Base64.
    Bytes,
    /// A moment, in whole seconds.
    Time,
    /// A moment, in microseconds.
    MicroTime,
    /// A quantity, e.g. `500m`.
    Quantity,
    /// A number or a text, e.g. a port or a percentage.
    IntOrString,
    /// Text in a form that the schema of a custom kind names.
    Formatted,
}

/// A type with named fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object {
    /// The Go type's name, e.g. `v1.PodSpec`; "" for the types of custom kinds.
    pub name: Box<str>,
    /// The fields.
    pub fields: BTreeMap<Box<str>, Field>,
    /// Whether the object is owned and replaced as a whole.
    pub atomic: bool,
    /// Whether other fields are kept.
    pub open: bool,
    /// The moments among the fields that must be there; other values have a zero of their type in Rust, too.
    pub moments: Box<[Box<str>]>,
    /// Whether a configuration to apply may have other fields, even if they are dropped then.
    pub loose: bool,
}

/// A field of an [`Object`].
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The type of its value.
    pub ty: TypeRef,
    /// Whether it must be there.
    pub required: bool,
    /// How strategic merge patch treats it.
    pub patch: Patch,
    /// How Go writes it.
    pub tag: Tag,
}

/// How Go's encoder writes a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tag {
    /// When it is there.
    #[default]
    AsIs,
    /// Unless it is zero.
    DropsZero,
    /// When it is there, a list also when it is empty.
    KeptEmpty,
    /// Always, as null when it is not there.
    Null,
    /// Unless it is an empty text, although it must be there.
    OmittedEmpty,
}

/// What strategic merge patch does with a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Patch {
    /// Lists: items are merged instead of the list being replaced.
    pub merge: bool,
    /// Objects: the patch's value replaces the object.
    pub replace: bool,
    /// The patch may say which keys stay.
    pub retain_keys: bool,
    /// The field by which items of a merged list are told apart; `None` for lists of scalars.
    pub merge_key: Option<Box<str>>,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq)]
pub enum ListKind {
    /// Not at all: the list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By the values of their key fields.
    Map(Box<[Key]>),
}

/// A key field of a list map.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The field.
    pub name: Box<str>,
    /// What an item without the field is taken to have.
    pub default: Option<Value>,
}

impl Types {
    /// The types of kinds, by their groups, versions, names and schemas.
    pub(crate) fn of<'a, S>(kinds: impl Iterator<Item = ([&'a str; 3], S)>) -> Self
    where
        S: FnOnce(&mut SchemaGenerator) -> Schema,
    {
        let mut generator = schema_generator();
        let schemas: Vec<_> =
            kinds.map(|(names, schema)| (names.map(Into::into), schema(&mut generator).to_value())).collect();
        let definitions = generator.take_definitions(false);
        let mut builder = build::Builder::builtin(&definitions);
        let mut roots: Vec<_> = schemas
            .iter()
            .map(|(names, schema)| (<[Box<str>; 3]>::clone(names), builder.add(schema)))
            .collect();
        roots.sort_by(|a, b| a.0.cmp(&b.0));
        let nodes = builder.finish();
        Self { incomplete: incomplete(&nodes), nodes, roots }
    }

    /// The types of one custom kind, by the structural schema of its version. The object's own
    /// `apiVersion`, `kind` and `metadata` are those of every object.
    pub fn custom(group: &str, version: &str, kind: &str, schema: &Value) -> Self {
        let mut generator = schema_generator();
        let metadata = generator
            .subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>()
            .to_value();
        let definitions = generator.take_definitions(false);
        let mut builder = build::Builder::custom(&definitions, &metadata);
        let root = builder.add_root(schema);
        let roots = vec![([group.into(), version.into(), kind.into()], root)];
        Self { nodes: builder.finish(), roots, incomplete: Vec::new() }
    }

    /// The type of a kind's objects.
    pub fn root(&self, group: &str, version: &str, kind: &str) -> Option<TypeRef> {
        let wanted = [group, version, kind];
        self.roots
            .binary_search_by(|(gvk, _)| gvk.each_ref().map(AsRef::as_ref).cmp(&wanted))
            .ok()
            .map(|i| self.roots[i].1)
    }

    /// What a type is.
    pub fn node(&self, ty: TypeRef) -> &Node {
        &self.nodes[ty.0 as usize]
    }

    /// Writes what Go writes of an object that has become what it is: null where nothing is, and no text where it is empty.
    pub fn complete(&self, value: &mut Value, ty: TypeRef) {
        if !self.incomplete.get(ty.0 as usize).is_some_and(|has| *has) {
            return;
        }
        match (self.node(ty), value) {
            (Node::Object(object), Value::Object(map)) => {
                for (name, field) in &object.fields {
                    match (field.tag, map.get_mut(&**name)) {
                        (Tag::Null, None) => drop(map.insert(name.to_string(), Value::Null)),
                        (Tag::OmittedEmpty, Some(Value::String(text))) if text.is_empty() => {
                            map.remove(&**name);
                        }
                        (_, Some(member)) => self.complete(member, field.ty),
                        _ => {}
                    }
                }
            }
            (Node::Map { value: ty, .. }, Value::Object(map)) => {
                map.values_mut().for_each(|value| self.complete(value, *ty));
            }
            (Node::List { item, .. }, Value::Array(items)) => {
                items.iter_mut().for_each(|value| self.complete(value, *item));
            }
            _ => {}
        }
    }

    /// Drops the fields that the types do not have.
    pub fn prune(&self, value: &mut Value, ty: TypeRef) {
        match (self.node(ty), value) {
            (Node::Object(object), Value::Object(map)) => {
                map.retain(|name, _| object.open || object.fields.contains_key(name.as_str()));
                for (name, value) in map {
                    if let Some(field) = object.fields.get(name.as_str()) {
                        self.prune(value, field.ty);
                    }
                }
            }
            (Node::Map { value: ty, .. }, Value::Object(map)) => {
                map.values_mut().for_each(|value| self.prune(value, *ty));
            }
            (Node::List { item, .. }, Value::Array(items)) => {
                items.iter_mut().for_each(|value| self.prune(value, *item));
            }
            _ => {}
        }
    }

    /// The type of the member `name` of an object or map type; `None` when nothing is known of it.
    pub fn member(&self, ty: TypeRef, name: &str) -> Option<TypeRef> {
        match self.node(ty) {
            Node::Object(o) => o.fields.get(name).map(|f| f.ty),
            Node::Map { value, .. } => Some(*value),
            _ => None,
        }
    }

    /// The paths of the fields that the type does not have, in the object's order: the first [`MAX_UNKNOWN`].
    pub fn unknown_fields(&self, value: &Value, root: TypeRef) -> Vec<String> {
        let mut found = Vec::new();
        self.find_unknown(value, root, &mut String::new(), &mut found);
        found
    }

    fn find_unknown(&self, value: &Value, ty: TypeRef, path: &mut String, found: &mut Vec<String>) {
        let length = path.len();
        match (value, self.node(ty)) {
            (Value::Object(map), Node::Object(object)) => {
                for (name, member) in map {
                    push_name(path, name);
                    match object.fields.get(name.as_str()) {
                        Some(field) => self.find_unknown(member, field.ty, path, found),
                        None if !object.open && found.len() < MAX_UNKNOWN => found.push(cut(path, MAX_SHOWN)),
                        None => {}
                    }
                    path.truncate(length);
                }
            }
            (Value::Object(map), Node::Map { value, .. }) => {
                for (name, member) in map {
                    push_name(path, name);
                    self.find_unknown(member, *value, path, found);
                    path.truncate(length);
                }
            }
            (Value::Array(items), Node::List { item, .. }) => {
                for (i, member) in items.iter().enumerate() {
                    push_index(path, i);
                    self.find_unknown(member, *item, path, found);
                    path.truncate(length);
                }
            }
            _ => {}
        }
    }
}

/// Of each node, whether it or something in it has a field that is written although it is not there, or the other way round.
fn incomplete(nodes: &[Node]) -> Vec<bool> {
    let mut found = vec![false; nodes.len()];
    loop {
        let of = |ty: &TypeRef| found[ty.0 as usize];
        let next: Vec<bool> = nodes
            .iter()
            .map(|node| match node {
                Node::Object(object) => object
                    .fields
                    .values()
                    .any(|field| matches!(field.tag, Tag::Null | Tag::OmittedEmpty) || of(&field.ty)),
                Node::Map { value, .. } => of(value),
                Node::List { item, .. } => of(item),
                Node::Any | Node::Raw | Node::Scalar(_) => false,
            })
            .collect();
        if next == found {
            return found;
        }
        found = next;
    }
}

/// So many unknown fields are told of, and so much is shown of the path of each.
pub const MAX_UNKNOWN: usize = 100;
const MAX_SHOWN: usize = 1024;

/// Appends `.name` (or `name` at the start).
pub(crate) fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Appends `[i]`.
pub(crate) fn push_index(path: &mut String, i: usize) {
    use std::fmt::Write;
    let _infallible = write!(path, "[{i}]");
}

/// A generator whose references are those of OpenAPI v3.
pub(crate) fn schema_generator() -> SchemaGenerator {
    SchemaSettings::draft07()
        .with(|s| {
            s.definitions_path = "/components/schemas".into();
            s.meta_schema = None;
        })
        .into_generator()
}

#[cfg(test)]
pub(crate) mod tests;
