//! The table against the schemas of everything that it can read.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use k8s_openapi::{
    api::{authentication::v1::TokenRequest, autoscaling::v1::Scale, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use schemars::{JsonSchema as _, Schema, SchemaGenerator};

use super::super::*;
use crate::{
    builtin,
    schema::{Node, Scalar, TypeRef, Types},
};

/// What subresources and deletions take, which are no kinds of the table of kinds.
fn other_bodies() -> Types {
    type Maker = fn(&mut SchemaGenerator) -> Schema;
    let bodies: [([&str; 3], Maker); 4] = [
        (["authentication.k8s.io", "v1", "TokenRequest"], TokenRequest::json_schema),
        (["autoscaling", "v1", "Scale"], Scale::json_schema),
        (["meta.k8s.io", "v1", "DeleteOptions"], DeleteOptions::json_schema),
        (["policy", "v1", "Eviction"], Eviction::json_schema),
    ];
    Types::of(bodies.into_iter())
}

/// A comparison of messages with types, and what it has found.
struct Comparison<'a> {
    types: &'a Types,
    seen: HashSet<(usize, String)>,
    wrong: BTreeSet<String>,
    /// The messages that are read.
    reached: BTreeSet<usize>,
}

impl Comparison<'_> {
    fn compare(&mut self, index: usize, ty: TypeRef, at: &str, is_root: bool) {
        if !self.seen.insert((index, format!("{ty:?}"))) {
            return;
        }
        self.reached.insert(index);
        match (&TABLE.messages[index], self.types.node(ty)) {
            (Message::Object(_), Node::Object(object)) => {
                let mut fields = BTreeMap::new();
                self.flat(index, &mut fields);
                let mut of_schema: BTreeSet<&str> = object.fields.keys().map(AsRef::as_ref).collect();
                // What says what an object is stands in the envelope.
                let is_kind =
                    is_root || fields.contains_key("metadata") || &*object.name == "v1.DeleteOptions";
                if is_kind {
                    for name in ["apiVersion", "kind"] {
                        of_schema.remove(name);
                    }
                }
                let of_table: BTreeSet<&str> = fields.keys().copied().collect();
                for name in of_table.symmetric_difference(&of_schema) {
                    let who =
                        if of_table.contains(name) { "only the table has" } else { "only the schema has" };
                    self.wrong.insert(format!("{at}: {who} {name}"));
                }
                for (name, field) in fields {
                    if let Some(known) = object.fields.get(name) {
                        self.field(field, known.ty, &format!("{at}.{name}"));
                    }
                }
            }
            (Message::Text, Node::Scalar(Scalar::Quantity))
            | (Message::Time { micro: false }, Node::Scalar(Scalar::Time))
            | (Message::Time { micro: true }, Node::Scalar(Scalar::MicroTime))
            | (Message::Duration, Node::Scalar(Scalar::String))
            | (Message::IntOrString, Node::Scalar(Scalar::IntOrString))
            | (Message::Json, Node::Any | Node::Raw)
            | (Message::Choice(_), Node::Any | Node::List { .. }) => {
                // What the schema leaves open is read all the same.
                if let Message::Choice(fields) = &TABLE.messages[index] {
                    for field in fields.values() {
                        if let Type::Message(inner) = field.of {
                            self.reached.insert(inner);
                        }
                    }
                }
            }
            (_, node) => drop(self.wrong.insert(format!("{at}: the schema has {node:?}"))),
        }
    }

    /// A message's fields, with those that stand in it from others.
    fn flat(&mut self, index: usize, into: &mut BTreeMap<&'static str, &'static Field>) {
        self.reached.insert(index);
        let Message::Object(fields) = &TABLE.messages[index] else { return };
        for field in fields.values() {
            match (field.name, &field.of) {
                (Some(name), _) => drop(into.insert(name, field)),
                (None, Type::Message(inner)) => self.flat(*inner, into),
                (None, _) => {}
            }
        }
    }

    fn field(&mut self, field: &Field, ty: TypeRef, at: &str) {
        let ty = match (&field.shape, self.types.node(ty)) {
            (Shape::One, _) => ty,
            (Shape::List, Node::List { item, .. }) => *item,
            (Shape::Map, Node::Map { value, .. }) => *value,
            (_, node) => {
                self.wrong.insert(format!("{at}: the schema has {node:?}"));
                return;
            }
        };
        let expected = match field.of {
            Type::Message(inner) => return self.compare(inner, ty, at, false),
            Type::Text => Scalar::String,
            Type::Bytes => Scalar::Bytes,
            Type::Int32 => Scalar::Int32,
            Type::Int64 => Scalar::Int64,
            Type::Bool => Scalar::Boolean,
            Type::Double => Scalar::Number,
        };
        if *self.types.node(ty) != Node::Scalar(expected) {
            self.wrong.insert(format!("{at}: the schema has {:?}", self.types.node(ty)));
        }
    }
}

#[test]
fn the_table_is_what_the_schemas_of_all_kinds_say() {
    let mut reached = BTreeSet::new();
    let mut wrong = BTreeSet::new();
    let mut compare = |types: &Types, group: &str, version: &str, kind: &str| {
        let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let Some(root) = types.root(group, version, kind) else {
            wrong.insert(format!("{kind} has no schema"));
            return;
        };
        let Some(index) = TABLE.of_kind(&group_version, kind) else {
            wrong.insert(format!("{group_version} {kind} is not in the table"));
            return;
        };
        let mut comparison =
            Comparison { types, seen: HashSet::new(), wrong: BTreeSet::new(), reached: BTreeSet::new() };
        comparison.compare(index, root, &format!("{group_version} {kind}"), true);
        wrong.append(&mut comparison.wrong);
        reached.append(&mut comparison.reached);
    };
    for kind in builtin::all() {
        compare(Types::builtin(), &kind.group, &kind.version, &kind.kind);
    }
    let others = other_bodies();
    for (group, kind) in [
        ("authentication.k8s.io", "TokenRequest"),
        ("autoscaling", "Scale"),
        ("meta.k8s.io", "DeleteOptions"),
        ("policy", "Eviction"),
    ] {
        compare(&others, group, "v1", kind);
    }
    for (name, index) in &TABLE.by_name {
        if !reached.contains(index) {
            wrong.insert(format!("no kind has {name}"));
        }
    }
    assert_eq!(wrong, BTreeSet::new());
}
