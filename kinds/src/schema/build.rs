//! Builds [`Types`](super::Types) from JSON schemas: those of `k8s-openapi` with the list facts beside them,
//! and structural schemas of custom kinds, which carry `x-kubernetes-…` extensions.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    Field, Key, ListKind, Node, Object, Patch, Scalar, Tag, TypeRef,
    facts::{Fact, facts, key_default, last_segments, tag},
};

const REFERENCE: &str = "#/components/schemas/";

/// Collects nodes; every reference to a definition becomes one node, recursion included.
pub(super) struct Builder<'a> {
    nodes: Vec<Node>,
    named: HashMap<&'a str, TypeRef>,
    definitions: &'a Map<String, Value>,
    /// Custom kinds: the schema of `metadata`.
    metadata: Option<&'a Value>,
    /// Whether a schema around the one at hand keeps unknown fields: configurations may have them all the way down.
    loose: bool,
    /// Whether the list whose items are at hand keeps their unknown fields.
    open_items: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn builtin(definitions: &'a Map<String, Value>) -> Self {
        Self {
            nodes: Vec::new(),
            named: HashMap::new(),
            definitions,
            metadata: None,
            loose: false,
            open_items: false,
        }
    }

    pub(super) fn custom(definitions: &'a Map<String, Value>, metadata: &'a Value) -> Self {
        Self { metadata: Some(metadata), ..Self::builtin(definitions) }
    }

    pub(super) fn finish(self) -> Vec<Node> {
        self.nodes
    }

    fn push(&mut self, node: Node) -> TypeRef {
        self.nodes.push(node);
        TypeRef(u32::try_from(self.nodes.len() - 1).expect("types are far fewer than four billion"))
    }

    fn scalar(&mut self, scalar: Scalar) -> TypeRef {
        self.push(Node::Scalar(scalar))
    }

    /// The type that a schema describes.
    pub(super) fn add(&mut self, schema: &'a Value) -> TypeRef {
        match schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(REFERENCE)) {
            Some(name) => self.named(name),
            None => self.anonymous(schema, ""),
        }
    }

    /// The type of a custom kind's objects.
    pub(super) fn add_root(&mut self, schema: &'a Value) -> TypeRef {
        let root = self.anonymous(schema, "");
        self.embed(root);
        root
    }

    /// Gives an object what every Kubernetes object has.
    fn embed(&mut self, object: TypeRef) {
        let Some(metadata) = self.metadata else { return };
        let text = self.scalar(Scalar::String);
        // Inside the definition of ObjectMeta, built-in rules hold.
        let metadata = {
            let (custom, loose) = (self.metadata.take(), std::mem::take(&mut self.loose));
            let ty = self.add(metadata);
            (self.metadata, self.loose) = (custom, loose);
            ty
        };
        if matches!(self.nodes[object.0 as usize], Node::Any) {
            self.nodes[object.0 as usize] =
                Node::Object(Object { open: true, loose: true, ..Object::default() });
        }
        if let Node::Object(o) = &mut self.nodes[object.0 as usize] {
            for (name, ty) in [("apiVersion", text), ("kind", text), ("metadata", metadata)] {
                o.fields.insert(
                    name.into(),
                    Field { ty, required: false, patch: Patch::default(), tag: Tag::AsIs },
                );
            }
        }
    }

    fn named(&mut self, name: &'a str) -> TypeRef {
        if let Some(ty) = self.named.get(name) {
            return *ty;
        }
        let node = match last_segments(name, 1) {
            "Quantity" => Node::Scalar(Scalar::Quantity),
            "IntOrString" => Node::Scalar(Scalar::IntOrString),
            "Time" => Node::Scalar(Scalar::Time),
            "MicroTime" => Node::Scalar(Scalar::MicroTime),
            "RawExtension" => Node::Raw,
            "FieldsV1" | "JSON" => Node::Any,
            other if other.starts_with("JSONSchemaPropsOr") => Node::Any,
            _ => {
                // A place first, so that a type may hold itself.
                let ty = self.push(Node::Any);
                self.named.insert(name, ty);
                if let Some(schema) = self.definitions.get(name) {
                    let built = self.anonymous(schema, name);
                    self.nodes.swap(ty.0 as usize, built.0 as usize);
                }
                return ty;
            }
        };
        let ty = self.push(node);
        self.named.insert(name, ty);
        ty
    }

    fn anonymous(&mut self, schema: &'a Value, name: &'a str) -> TypeRef {
        let preserves = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        // What a list preserves is its items' unknown fields.
        let open = preserves || std::mem::take(&mut self.open_items);
        let outer = self.loose;
        self.loose |= preserves;
        let ty = self.typed(schema, name, open);
        self.loose = outer;
        ty
    }

    /// `open`: whether unknown fields are kept.
    fn typed(&mut self, schema: &'a Value, name: &'a str, open: bool) -> TypeRef {
        let text = |extension: &str| schema.get(extension).and_then(Value::as_str).unwrap_or("");
        let node = if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
            // Whether it is one of the two is for validation to say.
            Node::Any
        } else {
            match (text("type"), text("format")) {
                ("string", "byte") if self.metadata.is_none() => Node::Scalar(Scalar::Bytes),
                ("string", "date-time") if self.metadata.is_none() => Node::Scalar(Scalar::Time),
                ("string", "" | "byte") => Node::Scalar(Scalar::String),
                ("string", _) if self.metadata.is_some() => Node::Scalar(Scalar::Formatted),
                ("string", _) => Node::Scalar(Scalar::String),
                ("integer", "int32") if self.metadata.is_none() => Node::Scalar(Scalar::Int32),
                ("integer", _) => Node::Scalar(Scalar::Int64),
                ("number", _) => Node::Scalar(Scalar::Number),
                ("boolean", _) => Node::Scalar(Scalar::Boolean),
                ("array", _) => {
                    let item = match schema.get("items") {
                        Some(items) => {
                            self.open_items = open;
                            self.add(items)
                        }
                        None => self.push(Node::Any),
                    };
                    let kind = match text("x-kubernetes-list-type") {
                        "set" => ListKind::Set,
                        "map" => {
                            let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                            let names = keys.into_iter().flatten().filter_map(Value::as_str);
                            let properties = schema.pointer("/items/properties");
                            ListKind::Map(
                                names
                                    .map(|name| Key {
                                        name: name.into(),
                                        default: properties
                                            .and_then(|p| p.get(name)?.get("default"))
                                            .cloned(),
                                    })
                                    .collect(),
                            )
                        }
                        _ => ListKind::Atomic,
                    };
                    Node::List { item, kind }
                }
                ("object", _) | ("", _) => {
                    return self.object(schema, name, open);
                }
                _ => Node::Any,
            }
        };
        self.push(node)
    }

    fn object(&mut self, schema: &'a Value, name: &'a str, open: bool) -> TypeRef {
        let flag = |extension: &str| schema.get(extension) == Some(&Value::Bool(true));
        let atomic = schema.get("x-kubernetes-map-type").and_then(Value::as_str) == Some("atomic");
        let properties = schema.get("properties").and_then(Value::as_object);
        let node = match (properties, schema.get("additionalProperties")) {
            (None, Some(Value::Bool(true))) => Node::Map { value: self.push(Node::Any), atomic },
            (None, Some(values @ Value::Object(_))) => Node::Map { value: self.add(values), atomic },
            (None, _) if open => Node::Any,
            (None, _) if name.is_empty() && self.metadata.is_none() => Node::Any,
            _ => {
                let required: Vec<&str> = schema
                    .get("required")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let mut fields: std::collections::BTreeMap<Box<str>, Field> =
                    std::collections::BTreeMap::new();
                for (field, schema) in properties.into_iter().flatten() {
                    let required = required.contains(&field.as_str());
                    fields.insert(field.as_str().into(), self.field(name, field, required, schema));
                }
                let atomic = atomic || facts(name, "*").map_type == "atomic";
                let is_moment = |field: &Field| {
                    matches!(self.nodes[field.ty.0 as usize], Node::Scalar(Scalar::Time | Scalar::MicroTime))
                };
                let moments = fields.iter().filter(|(_, field)| field.required && is_moment(field));
                let moments = moments.map(|(name, _)| name.clone()).collect();
                let loose = self.loose || fields.is_empty();
                Node::Object(Object {
                    name: last_segments(name, 2).into(),
                    fields,
                    atomic,
                    open,
                    loose,
                    moments,
                })
            }
        };
        let ty = self.push(node);
        if flag("x-kubernetes-embedded-resource") {
            self.embed(ty);
        }
        ty
    }

    fn field(&mut self, parent: &str, name: &str, required: bool, schema: &'a Value) -> Field {
        let mut ty = self.add(schema);
        let fact = facts(parent, name);
        if let Node::List { item, .. } = &self.nodes[ty.0 as usize]
            && !fact.list_type.is_empty()
        {
            let item = *item;
            let kind = self.list_kind(fact, schema);
            ty = self.push(Node::List { item, kind });
        }
        if !fact.map_type.is_empty() {
            let mut node = self.nodes[ty.0 as usize].clone();
            if let Node::Map { atomic, .. } | Node::Object(Object { atomic, .. }) = &mut node {
                *atomic = fact.map_type == "atomic";
            }
            ty = self.push(node);
        }
        let strategies = || fact.patch_strategy.split(',');
        let patch = Patch {
            merge: strategies().any(|s| s == "merge"),
            replace: strategies().any(|s| s == "replace"),
            retain_keys: strategies().any(|s| s == "retainKeys"),
            merge_key: (!fact.merge_key.is_empty()).then(|| fact.merge_key.into()),
        };
        let may_be_zero = !required
            && self.metadata.is_none()
            && matches!(
                self.nodes[ty.0 as usize],
                Node::Scalar(
                    Scalar::String
                        | Scalar::Bytes
                        | Scalar::Boolean
                        | Scalar::Int32
                        | Scalar::Int64
                        | Scalar::Number
                )
            );
        let tag = tag(parent, name).unwrap_or(if may_be_zero { Tag::DropsZero } else { Tag::AsIs });
        Field { ty, required, patch, tag }
    }

    fn list_kind(&self, fact: Fact, schema: &Value) -> ListKind {
        match fact.list_type {
            "set" => ListKind::Set,
            "map" => {
                let items = schema.pointer("/items/$ref").and_then(Value::as_str).unwrap_or("");
                let key = |key: &str| Key { name: key.into(), default: self.key_default(items, key) };
                ListKind::Map(fact.keys.split(',').map(key).collect())
            }
            _ => ListKind::Atomic,
        }
    }

    /// What an item without a key is told apart by: the field's default; for one that is always there in Go, its zero.
    fn key_default(&self, items: &str, key: &str) -> Option<Value> {
        if let Some(default) = key_default(items, key) {
            return Some(default.into());
        }
        let item = self.definitions.get(items.strip_prefix(REFERENCE)?)?;
        let required = item.get("required").and_then(Value::as_array)?;
        if !required.iter().any(|name| name == key) {
            return None;
        }
        match item.get("properties")?.get(key)?.get("type")?.as_str()? {
            "string" => Some("".into()),
            "integer" => Some(0.into()),
            _ => None,
        }
    }
}
