//! The columns of `kubectl get`, and the cells below them.

use std::sync::Arc;

use api::object::ObjectExt as _;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Text, cell};

type Cell = Arc<dyn Fn(&Value, Timestamp) -> Value + Send + Sync>;

/// A column of `kubectl get`.
#[derive(Clone, Serialize)]
pub struct Column {
    /// Heading.
    pub name: Text,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// `name` for the name column, else usually "".
    pub format: Text,
    /// What it shows.
    pub description: Text,
    /// 0 is always shown, higher ones with `-o wide`.
    pub priority: i32,
    /// What it shows of an object at a time.
    #[serde(skip)]
    pub cell: Cell,
}

/// One row below the columns.
pub fn cells(columns: &[Column], object: &Value, now: Timestamp) -> Vec<Value> {
    columns.iter().map(|column| (column.cell)(object, now)).collect()
}

impl Column {
    fn new(
        name: &'static str,
        kind: &'static str,
        description: &'static str,
        cell: impl Fn(&Value, Timestamp) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            format: "".into(),
            description: description.into(),
            priority: 0,
            cell: Arc::new(cell),
        }
    }

    /// A column of texts, shown always.
    pub fn text(
        name: &'static str,
        description: &'static str,
        cell: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, "string", description, move |object, _| cell(object))
    }

    /// A column of the text at a path; nothing where there is none.
    pub fn field(name: &'static str, description: &'static str, path: &'static [&'static str]) -> Self {
        Self::text(name, description, move |object| object.str_at(path).into())
    }

    /// A column of texts that time changes.
    pub fn timed(
        name: &'static str,
        description: &'static str,
        cell: impl Fn(&Value, Timestamp) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, "string", description, cell)
    }

    /// A column of integers.
    pub fn number(
        name: &'static str,
        description: &'static str,
        cell: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, "integer", description, move |object, _| cell(object))
    }

    /// A column of truths.
    pub fn flag(
        name: &'static str,
        description: &'static str,
        cell: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, "boolean", description, move |object, _| cell(object))
    }

    /// The same, shown only with `-o wide`.
    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// The name column.
    pub fn name() -> Self {
        let name = |object: &Value| object.name().into();
        Self { format: "name".into(), ..Self::text("Name", "Name must be unique within a namespace.", name) }
    }

    /// The age column.
    pub fn age() -> Self {
        Self::timed("Age", "Time since the object was created.", cell::age)
    }

    /// The moment of creation, for kinds that show it instead of their age.
    pub fn created(description: &'static str) -> Self {
        Self::new("Created At", "date", description, |object, _| object.meta_str("creationTimestamp").into())
    }
}
