//! Why a configuration is not applied, and how that is told.

use std::fmt::Write as _;

use serde_json::Value;

use api::{
    object::{ObjectExt as _, named},
    status::{Cause, Details, Status},
};

/// Why a configuration cannot be applied.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// It changes fields that others own.
    Conflicts(Vec<Conflict>),
    /// It does not fit the type.
    Config(String),
}

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The other manager, as messages name it: `"kubectl" using apps/v1`.
    pub manager: String,
    /// The field, e.g. `.spec.replicas`.
    pub field: String,
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let conflicts = match refusal {
            Refusal::Config(text) => return Status::failure(500, "", text),
            Refusal::Conflicts(conflicts) => conflicts,
        };
        let message = match conflicts.as_slice() {
            [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field),
            many => {
                let mut text = format!("Apply failed with {} conflicts: ", many.len());
                let mut last = "";
                for conflict in many {
                    if conflict.manager != last {
                        let newline = if last.is_empty() { "" } else { "\n" };
                        let _infallible = write!(text, "{newline}conflicts with {}:", conflict.manager);
                        last = &conflict.manager;
                    }
                    let _infallible = write!(text, "\n- {}", conflict.field);
                }
                text
            }
        };
        let mut status = Status::failure(409, "Conflict", message);
        let cause = |c: Conflict| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {}", c.manager),
            field: c.field,
        };
        status.details =
            Some(Details { causes: conflicts.into_iter().map(cause).collect(), ..Details::default() });
        status
    }
}

impl Refusal {
    /// A configuration that does not fit the type of its objects, with everything that is wrong.
    pub(super) fn of_config(config: &Value, errors: &[String]) -> Self {
        let kind = named(config);
        let what = match errors {
            [one] => one.clone(),
            many => format!("errors:\n{}", many.iter().map(|e| format!("  {e}\n")).collect::<String>()),
        };
        let (namespace, name) = (config.namespace(), config.name());
        Self::Config(format!("failed to create typed patch object ({namespace}/{name}; {kind}): {what}"))
    }
}
