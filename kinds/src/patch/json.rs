//! JSON patch: operations one after the other, with bounds on their number and on what copies may add.
//!
//! As upstream's library (`evanphx/json-patch`, version 4) reads RFC 6902, not as the RFC says: `replace` of a member
//! that is not there adds it, copying one copies null, indexes may count from the end, and what stands in front of a
//! path's first slash is not looked at.

use std::borrow::Cow;

use api::status::Status;
use serde_json::{Map, Value};

use super::{
    document::{Node, Nowhere},
    does_not_fit,
};
use crate::json::MAX_DEPTH;

/// At most so many operations, as upstream.
const MAX_OPERATIONS: usize = 10_000;
/// At most so many bytes may be added by copies: the size of the largest body.
const MAX_COPIED: usize = 3 * 1024 * 1024;

pub(super) fn apply(current: &Value, operations: Vec<Value>) -> Result<Value, Status> {
    apply_unless_tested(current, operations)?.ok_or_else(does_not_fit)
}

/// Nothing when a test fails.
pub(super) fn apply_unless_tested(current: &Value, operations: Vec<Value>) -> Result<Option<Value>, Status> {
    let operations: Vec<Operation> = operations.into_iter().map(Operation::read).collect::<Result<_, _>>()?;
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::too_large(format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut document = Document { root: Node::Closed(current.clone()), copied: 0 };
    for operation in operations {
        let is_test = operation.op == "test";
        match document.apply(operation) {
            Err(Nowhere) if is_test => return Ok(None),
            done => done.map_err(|Nowhere| does_not_fit())?,
        }
    }
    document.root.value(MAX_DEPTH).map(Some).ok_or_else(does_not_fit)
}

struct Operation {
    /// "" for one that names nothing to do.
    op: String,
    path: Option<String>,
    from: Option<String>,
    value: Option<Value>,
}

impl Operation {
    fn read(operation: Value) -> Result<Self, Status> {
        let mistake = |value: &Value, of: &str| {
            let what = super::kind_of(value);
            Status::bad_request(format!("error decoding patch: json: cannot unmarshal {what} into Go {of}"))
        };
        let mut fields = match operation {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            other => return Err(mistake(&other, "value of type handlers.jsonPatchOp")),
        };
        let mut text = |name: &str| match fields.remove(name) {
            Some(Value::String(text)) => Ok(Some(text)),
            None | Some(Value::Null) => Ok(None),
            Some(other) => Err(mistake(&other, &format!("struct field jsonPatchOp.{name} of type string"))),
        };
        let (op, path, from) = (text("op")?.unwrap_or_default(), text("path")?, text("from")?);
        Ok(Self { op, path, from, value: fields.remove("value") })
    }
}

struct Document {
    root: Node,
    /// How many bytes copies have added.
    copied: usize,
}

impl Document {
    fn apply(&mut self, operation: Operation) -> Result<(), Nowhere> {
        let Operation { op, path, from, value } = operation;
        let path = path.ok_or(Nowhere)?;
        match op.as_str() {
            "add" => self.add(&path, Node::Closed(value.unwrap_or_default())),
            "remove" => self.remove(&path).map(drop),
            "replace" => self.replace(&path, value),
            "move" => {
                let moved = self.remove(&from.ok_or(Nowhere)?)?;
                self.add(&path, moved)
            }
            "copy" => {
                let copy = self.copy(&from.ok_or(Nowhere)?)?;
                self.add(&path, Node::Closed(copy))
            }
            "test" => self.test(&path, value.as_ref()),
            _ => Err(Nowhere),
        }
    }

    /// The object or list in which a path's last name is, and that name.
    fn place<'p>(&mut self, path: &'p str) -> Result<(&mut Node, Cow<'p, str>), Nowhere> {
        let (_, path) = path.split_once('/').ok_or(Nowhere)?;
        let (parents, name) = path.rsplit_once('/').map_or((None, path), |(to, name)| (Some(to), name));
        let mut node = &mut self.root;
        for parent in parents.into_iter().flat_map(|parents| parents.split('/')) {
            node = node.get(&unescaped(parent))?.ok_or(Nowhere)?;
        }
        Ok((node, unescaped(name)))
    }

    fn add(&mut self, path: &str, value: Node) -> Result<(), Nowhere> {
        let (node, name) = self.place(path)?;
        node.add(&name, value)
    }

    fn remove(&mut self, path: &str) -> Result<Node, Nowhere> {
        let (node, name) = self.place(path)?;
        node.remove(&name)
    }

    fn replace(&mut self, path: &str, value: Option<Value>) -> Result<(), Nowhere> {
        let value = value.unwrap_or_default();
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err(Nowhere);
            }
            self.root = Node::Closed(value);
            return Ok(());
        }
        let (node, name) = self.place(path)?;
        match node.get(&name)? {
            Some(place) => *place = Node::Closed(value),
            None => node.add(&name, Node::Closed(value))?,
        }
        Ok(())
    }

    fn copy(&mut self, from: &str) -> Result<Value, Nowhere> {
        let (node, name) = self.place(from)?;
        let Some(source) = node.get(&name)? else { return Ok(Value::Null) };
        let copy = source.value(MAX_DEPTH).ok_or(Nowhere)?;
        self.copied += copy.to_string().len();
        if self.copied > MAX_COPIED { Err(Nowhere) } else { Ok(copy) }
    }

    /// Whether a place has a value. Nothing and null are the same, but only a named value equals what is there.
    fn test(&mut self, path: &str, value: Option<&Value>) -> Result<(), Nowhere> {
        let holds = if path.is_empty() {
            value.is_some_and(|value| self.root.equals(value))
        } else {
            let (node, name) = self.place(path)?;
            match node.get(&name)? {
                Some(found) if !found.is_null() => value.is_some_and(|value| found.equals(value)),
                _ => value.is_none_or(Value::is_null),
            }
        };
        if holds { Ok(()) } else { Err(Nowhere) }
    }
}

/// `a/b~c` of `a~1b~0c`.
fn unescaped(name: &str) -> Cow<'_, str> {
    if name.contains('~') { name.replace("~1", "/").replace("~0", "~").into() } else { name.into() }
}
