//! Types as expressions of policies see them.
//!
//! A type that contains itself is of any type where it comes again, as is what has no type of its own in CEL.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cel::{Decl, ListKind, MAX_REQUEST, Shape, escape};

use super::{Node, Scalar, TypeRef, Types};

impl Types {
    /// The declaration of a type.
    pub fn declared(&self, ty: TypeRef) -> Arc<Decl> {
        Declaring { types: self, known: HashMap::new(), open: Vec::new() }.of(ty)
    }
}

struct Declaring<'a> {
    types: &'a Types,
    known: HashMap<TypeRef, Arc<Decl>>,
    /// The types that are being declared.
    open: Vec<TypeRef>,
}

impl Declaring<'_> {
    fn of(&mut self, ty: TypeRef) -> Arc<Decl> {
        if let Some(known) = self.known.get(&ty) {
            return Arc::clone(known);
        }
        let shape = if self.open.contains(&ty) {
            Shape::Dyn
        } else {
            self.open.push(ty);
            let shape = self.shape(ty);
            self.open.pop();
            shape
        };
        let is_again = self.open.contains(&ty);
        let decl = Arc::new(Decl { shape, max_elements: MAX_REQUEST, min_size: 1 });
        if !is_again {
            self.known.insert(ty, Arc::clone(&decl));
        }
        decl
    }

    fn shape(&mut self, ty: TypeRef) -> Shape {
        let types = self.types;
        match types.node(ty) {
            Node::Any | Node::Raw => Shape::Dyn,
            Node::Object(object) if object.open => Shape::Dyn,
            Node::Object(object) => {
                let mut fields = BTreeMap::new();
                for (name, field) in &object.fields {
                    let entry = (name.to_string(), self.of(field.ty));
                    if let Some(escaped) = escape(name) {
                        fields.insert(escaped, entry.clone());
                    }
                    // Words that cannot begin an expression can follow a dot.
                    fields.entry(name.to_string()).or_insert(entry);
                }
                Shape::Object { fields }
            }
            Node::Map { value, .. } => Shape::Map { value: self.of(*value) },
            Node::List { item, .. } => Shape::List { item: self.of(*item), kind: ListKind::Atomic },
            Node::Scalar(scalar) => match scalar {
                Scalar::String | Scalar::Formatted => Shape::String,
                Scalar::Int32 | Scalar::Int64 => Shape::Int,
                Scalar::Number => Shape::Double,
                Scalar::Boolean => Shape::Bool,
                Scalar::Bytes => Shape::Bytes,
                Scalar::Time | Scalar::MicroTime => Shape::Timestamp,
                Scalar::Quantity | Scalar::IntOrString => Shape::Dyn,
            },
        }
    }
}
