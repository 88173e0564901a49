//! What the request path asks of a kind, whatever the type of its objects. Counterpart of upstream's
//! `rest.*Strategy`.

use api::field::Errors;
use api::validation::NameRule;
use std::borrow::Cow;

use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::{Column, Text};

/// Which part of an object a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The object itself: everything but status.
    Main,
    /// The `status` subresource.
    Status,
    /// Another subresource that writes the object (`ephemeralcontainers`, `resize`, `finalize`, `approval`).
    Other(&'a str),
}

impl Part<'_> {
    /// Whether the write is about the status and nothing else.
    pub fn is_of_status(self) -> bool {
        matches!(self, Self::Status | Self::Other("approval"))
    }
}

/// A value that could not be read as the kind it should be. The text is what follows
/// `… cannot be handled as a <Kind>: `.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// What validation finds in an object.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong with it.
    pub errors: Errors,
    /// What is allowed but unwise: `Warning` headers. None are looked for where something is wrong.
    pub warnings: Vec<String>,
}

/// What becomes of an object's dependents when the one who deletes it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dependents {
    /// The garbage collector deletes them afterwards.
    Collected,
    /// They stay.
    Orphaned,
    /// Nothing can depend on the kind, whatever the one who deletes it says.
    None,
}

/// What is so of all objects of a kind, whatever is in them.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Whether `metadata.generation` counts changes of the spec.
    pub has_generation: bool,
    /// Which names are allowed.
    pub names: NameRule,
    /// Whether finalizers may have names that are neither Kubernetes' own nor qualified by a domain.
    pub takes_plain_finalizers: bool,
    /// Whether the beginning of a deletion is noted with its grace period and a new generation.
    pub notes_grace: bool,
    /// Whether a client may set the status at creation although the kind has a `status` subresource.
    pub status_at_creation: bool,
    /// Whether an update of what is not there creates it.
    pub creates_on_update: bool,
    /// Whether an update need not say which state of the object it is of.
    pub updates_unconditionally: bool,
    /// What becomes of dependents by default.
    pub dependents: Dependents,
    /// What a deletion that says nothing of dependents is warned of.
    pub deletion_warning: Option<&'static str>,
}

impl Facts {
    /// What is so of most kinds.
    pub const PLAIN: Self = Self {
        has_generation: false,
        names: NameRule::Subdomain,
        takes_plain_finalizers: false,
        notes_grace: true,
        status_at_creation: false,
        creates_on_update: false,
        updates_unconditionally: true,
        dependents: Dependents::Collected,
        deletion_warning: None,
    };
}

/// The rules of a kind's objects, whatever their type. Objects go in and out as JSON values.
pub trait Rules: Send + Sync {
    /// Reads the value as the kind and fills in the defaults.
    fn default(&self, object: Value) -> Result<Value, DecodeError>;

    /// Drops what a custom kind's schema does not declare.
    fn drop_undeclared(&self, _object: &mut Value) {}

    /// Puts in the defaults of a custom kind's schema.
    fn fill_in(&self, _object: &mut Value) {}

    /// Resets what a client may not set at creation (beyond status, which the path itself resets).
    fn prepare_create(&self, _object: &mut Value) {}

    /// Carries over what an update may not touch (beyond what the path itself carries over).
    fn prepare_update(&self, _new: &mut Value, _old: &Value, _part: Part<'_>) {}

    /// What is to be said about a new object (metadata is checked by the path).
    fn validate(&self, object: &Value) -> Findings;

    /// What is to be said about a changed object.
    fn validate_update(&self, new: &Value, old: &Value, part: Part<'_>) -> Findings;

    /// The columns of the printed table.
    fn columns(&self) -> Vec<Column>;

    /// The object as the columns read it.
    fn printed<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        Cow::Borrowed(object)
    }

    /// The values of the fields that field selectors may name, besides `metadata.name` and
    /// `metadata.namespace`: always the same names in the same order. The cache reads no more of an object for this than
    /// what lies at most three objects deep (or as deep as the longest of the names says; lists do not count), and nothing
    /// of its metadata.
    fn selectable_fields(&self, object: &Value) -> Vec<(Text, String)>;

    /// The grace period in seconds of a deletion: `None` when the kind is deleted at once.
    /// `requested` is what the client asked for.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether something besides `metadata.finalizers` keeps an object whose deletion has begun
    /// (`spec.finalizers` of a namespace).
    fn holds_deletion(&self, _object: &Value) -> bool {
        false
    }

    /// What else changes when the deletion begins (a namespace's phase).
    fn begin_deletion(&self, _object: &mut Value) {}

    /// The OpenAPI schema: for a type that has a name, a reference to it in the generator's definitions.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;
}
