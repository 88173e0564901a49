//! The columns of `kubectl get`.

use serde::Serialize;

use super::Text;

/// A column of `kubectl get`.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
}

impl Column {
    /// A column shown always.
    pub fn new(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            format: "".into(),
            description: description.into(),
            priority: 0,
        }
    }

    /// The same, shown only with `-o wide`.
    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    /// The name column.
    pub fn name() -> Self {
        let mut column = Self::new("Name", "string", "Name must be unique within a namespace.");
        column.format = "name".into();
        column
    }

    /// The age column.
    pub fn age() -> Self {
        Self::new("Age", "string", "Time since the object was created.")
    }
}
