//! Field paths and field errors: what is wrong with an object, where, in Kubernetes' words.
//!
//! Counterpart of upstream's `k8s.io/apimachinery/pkg/util/validation/field`. The text of an error is
//! `path: Kind: value: detail`; clients show it and tests compare it. What is kept of errors is bounded in number and
//! length, so that no request is answered with much more than it said; the others are counted.

mod shown;

use std::fmt;

pub use shown::{Shown, cut};

use serde::Serialize;

use crate::{Message, message};

/// How long a path may become, in bytes. What lies below a longer one is not told apart.
const MAX_PATH: usize = 2048;
/// How much of a value an error shows, in bytes.
const MAX_VALUE: usize = 2048;
/// How long what an error says may be, in bytes: some show two objects' differences.
const MAX_BODY: usize = 16 * 1024;
/// How many errors about one object are kept.
const MAX_ERRORS: usize = 256;
/// How long the errors that are kept may be together, in bytes.
const MAX_TEXT: usize = 64 * 1024;

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
        if self.0.is_empty() {
            Self(cut(name, MAX_PATH))
        } else {
            self.below(format_args!(".{}", Part(name)))
        }
    }

    /// The path of list item `i`.
    pub fn index(&self, i: usize) -> Self {
        self.below(format_args!("[{i}]"))
    }

    /// The items of a list here, each with its path.
    pub fn items<T>(&self, list: impl IntoIterator<Item = T>) -> impl Iterator<Item = (Self, T)> {
        list.into_iter().enumerate().map(|(i, item)| (self.index(i), item))
    }

    /// The path of map entry `key`.
    pub fn key(&self, key: &str) -> Self {
        self.below(format_args!("[{}]", Part(key)))
    }

    fn below(&self, part: fmt::Arguments<'_>) -> Self {
        if self.0.len() > MAX_PATH { self.clone() } else { Self(format!("{}{part}", self.0)) }
    }
}

/// A name in a path, of which a beginning is enough.
struct Part<'a>(&'a str);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= MAX_PATH { f.write_str(self.0) } else { f.write_str(&cut(self.0, MAX_PATH)) }
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

impl FieldError {
    fn length(&self) -> usize {
        self.field.len() + self.body.len()
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Upstream prints the path of the root as "[]" only where it says so itself.
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// Renders a value as upstream's `field.Error` does: strings quoted as Go's `%q`, composites as JSON, the
/// fields of a struct in their order. Of a long one the beginning.
fn quoted(value: impl Serialize) -> String {
    let mut shown = Shown::new(MAX_VALUE);
    // It ends early where it is full.
    let _full = serde_json::to_writer(&mut shown, &value);
    shown.into()
}

/// The errors found so far; rules push into it in the order upstream checks.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Errors {
    kept: Vec<FieldError>,
    /// The length of those that are kept.
    length: usize,
    /// How many more there were.
    more: usize,
}

impl Errors {
    /// True when nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// How many errors were found.
    pub fn len(&self) -> usize {
        self.kept.len() + self.more
    }

    /// How many of them are not kept.
    pub fn more(&self) -> usize {
        self.more
    }

    /// All errors as one, as upstream joins them; `None` if there are none.
    pub fn aggregate(&self) -> Option<Message> {
        let texts: Vec<String> = self.kept.iter().map(ToString::to_string).collect();
        match texts.as_slice() {
            [] => None,
            [one] => Some(one.as_str().into()),
            several => Some(message!("[{}]", several.join(", "))),
        }
    }

    /// Those that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.kept.iter()
    }

    /// Adds what else was found.
    pub fn extend(&mut self, others: Self) {
        others.kept.into_iter().for_each(|error| self.add(error));
        self.more += others.more;
    }

    /// Takes away all but the first `count`; answers those that were kept.
    pub fn split_off(&mut self, count: usize) -> Vec<FieldError> {
        let rest = if count < self.kept.len() { self.kept.split_off(count) } else { Vec::new() };
        self.length = self.kept.iter().map(FieldError::length).sum();
        self.more = count.saturating_sub(self.kept.len());
        rest
    }

    /// Finds the same so many times.
    pub fn times(&mut self, times: usize, mut find: impl FnMut(&mut Self)) {
        for done in 0..times {
            if !self.has_room() {
                self.more += times - done;
                return;
            }
            find(self);
        }
    }

    /// Sorts them by their texts.
    pub fn sort(&mut self) {
        self.kept.sort_by_cached_key(ToString::to_string);
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn has_room(&self) -> bool {
        self.kept.len() < MAX_ERRORS && self.length < MAX_TEXT
    }

    /// An error that is ready.
    pub fn add(&mut self, error: FieldError) {
        if self.has_room() {
            self.length += error.length();
            self.kept.push(error);
        } else {
            self.more += 1;
        }
    }

    /// An error whose text is ready, with its kind's words in front.
    pub fn push(&mut self, kind: ErrorType, at: &Path, body: impl fmt::Display) {
        if self.has_room() {
            let mut shown = Shown::new(MAX_BODY);
            let _full = fmt::write(&mut shown, format_args!("{body}"));
            self.add(FieldError { kind, field: at.to_string(), body: shown.into() });
        } else {
            self.more += 1;
        }
    }

    /// `Invalid value: <value>: <detail>`.
    pub fn invalid(&mut self, at: &Path, value: impl Serialize, detail: impl fmt::Display) {
        let detail = Lazy(|| {
            let detail = detail.to_string();
            if detail.is_empty() { detail } else { format!(": {detail}") }
        });
        self.about_value(ErrorType::Invalid, at, value, format_args!("{detail}"));
    }

    /// An error that shows the value and says more.
    fn about_value(&mut self, kind: ErrorType, at: &Path, value: impl Serialize, more: fmt::Arguments<'_>) {
        let value = Lazy(|| quoted(&value));
        self.push(kind, at, format_args!("{}: {value}{more}", kind.words()));
    }

    /// `Required value[: detail]`.
    pub fn required(&mut self, at: &Path, detail: impl fmt::Display) {
        self.plain(ErrorType::Required, at, detail);
    }

    /// `Forbidden[: detail]`.
    pub fn forbidden(&mut self, at: &Path, detail: impl fmt::Display) {
        self.plain(ErrorType::Forbidden, at, detail);
    }

    /// An error that shows no value.
    pub fn plain(&mut self, kind: ErrorType, at: &Path, detail: impl fmt::Display) {
        let detail = Lazy(|| {
            let detail = detail.to_string();
            if detail.is_empty() { detail } else { format!(": {detail}") }
        });
        self.push(kind, at, format_args!("{}{detail}", kind.words()));
    }

    /// `Unsupported value: <value>: supported values: "A", "B"`, the allowed ones in the order given.
    pub fn not_supported(&mut self, at: &Path, value: impl Serialize, allowed: &[&str]) {
        self.not_supported_of(at, value, || allowed.iter().map(ToString::to_string).collect());
    }

    /// The same with allowed values that are made when they are shown.
    pub fn not_supported_of(&mut self, at: &Path, value: impl Serialize, allowed: impl Fn() -> Vec<String>) {
        let allowed = Lazy(|| {
            let allowed = allowed().iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(", ");
            if allowed.is_empty() { allowed } else { format!(": supported values: {allowed}") }
        });
        self.about_value(ErrorType::NotSupported, at, value, format_args!("{allowed}"));
    }

    /// `Duplicate value: <value>: <why>`.
    pub fn duplicate_because(&mut self, at: &Path, value: impl Serialize, why: &str) {
        self.about_value(ErrorType::Duplicate, at, value, format_args!(": {why}"));
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(&mut self, at: &Path, value: impl Serialize) {
        self.about_value(ErrorType::Duplicate, at, value, format_args!(""));
    }

    /// `Not found: <value>`.
    pub fn not_found(&mut self, at: &Path, value: impl Serialize) {
        self.about_value(ErrorType::NotFound, at, value, format_args!(""));
    }

    /// `Too long: may not be more than <max> bytes`.
    pub fn too_long(&mut self, at: &Path, max: usize) {
        self.push(ErrorType::TooLong, at, format_args!("Too long: may not be more than {max} bytes"));
    }

    /// `Too many: <actual>: must have at most <max> items`, of one: `item`.
    pub fn too_many(&mut self, at: &Path, actual: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        self.push(
            ErrorType::TooMany,
            at,
            format_args!("Too many: {actual}: must have at most {max} {items}"),
        );
    }
}

/// A text that is made when it is shown.
struct Lazy<F>(F);

impl<F: Fn() -> String> fmt::Display for Lazy<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)())
    }
}

impl IntoIterator for Errors {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a FieldError;
    type IntoIter = std::slice::Iter<'a, FieldError>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.iter()
    }
}

#[cfg(test)]
mod tests;
