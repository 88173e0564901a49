//! Field paths and field errors: what is wrong with an object, where, in Kubernetes' words.
//!
//! Counterpart of upstream's `k8s.io/apimachinery/pkg/util/validation/field`. The text of an error is
//! `path: Kind: value: detail`; clients show it and tests compare it.

use std::fmt;

use serde::Serialize;

/// A place in an object, e.g. `spec.containers[0].name`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The path of the whole object.
    pub fn root() -> Self {
        Self::default()
    }

    /// A path that starts with `name` (which may hold dots, as in `metadata.name`).
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The path of the field `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The path of list item `i`.
    pub fn index(&self, i: usize) -> Self {
        Self(format!("{}[{i}]", self.0))
    }

    /// The path of map entry `key`.
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of mistake a [`FieldError`] reports; the names are the API's cause reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// The value is malformed or breaks a rule.
    Invalid,
    /// A value is missing.
    Required,
    /// The value is none of those that are allowed.
    NotSupported,
    /// The value must be unique and is not.
    Duplicate,
    /// The field may not be set or changed here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// What the value refers to does not exist.
    NotFound,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// The server failed while it checked.
    Internal,
}

impl ErrorType {
    /// The cause reason in `status.details.causes`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Invalid => "FieldValueInvalid",
            Self::Required => "FieldValueRequired",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::Required => "Required value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing that is wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of mistake it is.
    pub kind: ErrorType,
    /// Where it is.
    pub field: String,
    /// The text after the path, e.g. `Invalid value: "x": must be …`.
    pub body: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Upstream prints the path of the root as "[]" only where it says so itself.
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// Renders a value as upstream's `field.Error` does: strings quoted as Go's `%q`, composites as JSON, the
/// fields of a struct in their order.
fn quoted(value: impl Serialize) -> String {
    serde_json::to_string(&value).unwrap_or_default()
}

/// The errors found so far; rules push into it in the order upstream checks.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// True when nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An error whose text is ready, with its kind's words in front.
    pub fn push(&mut self, kind: ErrorType, at: &Path, body: String) {
        self.0.push(FieldError { kind, field: at.to_string(), body });
    }

    /// `Invalid value: <value>: <detail>`.
    pub fn invalid(&mut self, at: &Path, value: impl Serialize, detail: impl fmt::Display) {
        self.push(ErrorType::Invalid, at, format!("Invalid value: {}: {detail}", quoted(value)));
    }

    /// `Required value[: detail]`.
    pub fn required(&mut self, at: &Path, detail: &str) {
        self.plain(ErrorType::Required, at, detail);
    }

    /// `Forbidden[: detail]`.
    pub fn forbidden(&mut self, at: &Path, detail: &str) {
        self.plain(ErrorType::Forbidden, at, detail);
    }

    /// An error that shows no value.
    pub fn plain(&mut self, kind: ErrorType, at: &Path, detail: &str) {
        let words = kind.words();
        self.push(kind, at, if detail.is_empty() { words.to_owned() } else { format!("{words}: {detail}") });
    }

    /// `Unsupported value: <value>: supported values: "A", "B"`, the allowed ones in the order given.
    pub fn not_supported(&mut self, at: &Path, value: impl Serialize, allowed: &[&str]) {
        let allowed = allowed.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(", ");
        let detail =
            if allowed.is_empty() { String::new() } else { format!(": supported values: {allowed}") };
        self.push(ErrorType::NotSupported, at, format!("Unsupported value: {}{detail}", quoted(value)));
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(&mut self, at: &Path, value: impl Serialize) {
        self.push(ErrorType::Duplicate, at, format!("Duplicate value: {}", quoted(value)));
    }

    /// `Not found: <value>`.
    pub fn not_found(&mut self, at: &Path, value: impl Serialize) {
        self.push(ErrorType::NotFound, at, format!("Not found: {}", quoted(value)));
    }

    /// `Too long: may not be more than <max> bytes`.
    pub fn too_long(&mut self, at: &Path, max: usize) {
        self.push(ErrorType::TooLong, at, format!("Too long: may not be more than {max} bytes"));
    }

    /// `Too many: <actual>: must have at most <max> items`.
    pub fn too_many(&mut self, at: &Path, actual: usize, max: usize) {
        self.push(ErrorType::TooMany, at, format!("Too many: {actual}: must have at most {max} items"));
    }
}
