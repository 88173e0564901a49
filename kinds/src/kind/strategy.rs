//! The rules of built-in kinds, written on their types: [`Strategy`] is what a kind's file implements, [`Typed`]
//! lends it to the request path.

use api::validation::NameRule;
use std::{
    cell::OnceCell,
    ops::{Deref, DerefMut},
};

use api::field::{ErrorType, Errors, Path};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Column, DecodeError, Dependents, Findings, Part, Rules, Text};

/// The rules of a built-in kind, on its own type. Everything but the type has a sensible default.
pub trait Strategy: Send + Sync + 'static {
    /// The kind's type.
    type Object: Serialize + DeserializeOwned + Default + JsonSchema;

    /// See [`Rules::has_generation`].
    const HAS_GENERATION: bool = false;

    /// See [`Rules::name_rule`].
    const NAME_RULE: NameRule = NameRule::Subdomain;

    /// See [`Rules::notes_grace`].
    const NOTES_GRACE: bool = true;

    /// See [`Rules::dependents`].
    const DEPENDENTS: Dependents = Dependents::Collected;

    /// See [`Rules::deletion_warning`].
    const DELETION_WARNING: Option<&'static str> = None;

    /// Whether a client may set the status when it creates an object although the kind has a `status`
    /// subresource.
    const STATUS_AT_CREATION: bool = false;

    /// See [`Rules::creates_on_update`].
    const CREATES_ON_UPDATE: bool = false;

    /// See [`Rules::updates_unconditionally`].
    const UNCONDITIONAL_UPDATE: bool = true;

    /// See [`Rules::takes_plain_finalizers`].
    fn takes_plain_finalizers(&self) -> bool {
        false
    }

    /// Keeps in the value what its type would lose on reading (missing or empty).
    fn before_reading(&self, _value: &mut Value) {}

    /// Puts into the value what its type cannot write (fields that are always there, if only as `null`).
    fn after_writing(&self, _value: &mut Value) {}

    /// Fills in defaults.
    fn default(&self, _object: &mut Self::Object) {}

    /// See [`Rules::prepare_create`].
    fn prepare_create(&self, _object: &mut Draft<Self::Object>) {}

    /// See [`Rules::prepare_update`].
    fn prepare_update(&self, _new: &mut Draft<Self::Object>, _old: &Draft<Self::Object>, _part: Part<'_>) {}

    /// See [`Rules::validate`].
    fn validate(&self, _object: &Self::Object, _errors: &mut Errors) {}

    /// See [`Rules::validate_update`]: as a new object, but for the status, of which everything is taken.
    fn validate_update(&self, new: &Self::Object, _old: &Self::Object, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            self.validate(new, errors);
        }
    }

    /// What is allowed but unwise about a new object (`old` is `None`) or a changed one.
    fn warnings(&self, _new: &Self::Object, _old: Option<&Self::Object>) -> Vec<String> {
        Vec::new()
    }

    /// See [`Rules::columns`]. Name and age unless overridden.
    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::age()]
    }

    /// See [`Rules::selectable_fields`].
    fn selectable_fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// See [`Rules::grace_period`].
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// See [`Rules::holds_deletion`].
    fn holds_deletion(&self, _object: &Value) -> bool {
        false
    }

    /// See [`Rules::begin_deletion`].
    fn begin_deletion(&self, _object: &mut Value) {}
}

/// An object that is read as its type when somebody looks at it, and written back when he changed it: many kinds
/// have nothing to prepare, and reading is what takes time.
pub struct Draft<'a, T> {
    value: &'a Value,
    typed: OnceCell<Option<T>>,
    /// What stands in for an object that cannot be read. It is never written.
    unread: T,
    changed: bool,
}

impl<'a, T: DeserializeOwned + Default> Draft<'a, T> {
    fn of(value: &'a Value) -> Self {
        Self { value, typed: OnceCell::new(), unread: T::default(), changed: false }
    }

    fn is_readable(&self) -> bool {
        self.typed.get().is_none_or(Option::is_some)
    }

    /// The object, if it was changed.
    fn finish(self) -> Option<T> {
        self.typed.into_inner().flatten().filter(|_| self.changed)
    }
}

impl<T: DeserializeOwned> Deref for Draft<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.typed.get_or_init(|| T::deserialize(self.value).ok()).as_ref().unwrap_or(&self.unread)
    }
}

impl<T: DeserializeOwned> DerefMut for Draft<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        let _read = &**self;
        self.changed = true;
        match self.typed.get_mut() {
            Some(Some(typed)) => typed,
            _ => &mut self.unread,
        }
    }
}

/// The [`Rules`] of a built-in kind.
pub struct Typed<S>(pub S);

impl<S: Strategy> Typed<S> {
    /// Values that come here have passed `default` and thus decode; should one not, `validate` reports it.
    fn decoded(object: &Value) -> Option<S::Object> {
        S::Object::deserialize(object).ok()
    }

    fn undecodable() -> Findings {
        let mut errors = Errors::default();
        errors.plain(ErrorType::Internal, &Path::root(), "the object cannot be read as its kind");
        Findings { errors, warnings: Vec::new() }
    }

    fn findings(&self, errors: Errors, new: &S::Object, old: Option<&S::Object>) -> Findings {
        let warnings = if errors.is_empty() { self.0.warnings(new, old) } else { Vec::new() };
        Findings { errors, warnings }
    }

    fn encode(&self, typed: &S::Object, into: &mut Value) {
        if let Ok(value) = serde_json::to_value(typed) {
            *into = value;
            self.0.after_writing(into);
        }
    }
}

impl<S: Strategy> Rules for Typed<S> {
    fn default(&self, mut object: Value) -> Result<Value, DecodeError> {
        self.0.before_reading(&mut object);
        let mut typed = S::Object::deserialize(object).map_err(|e| DecodeError(e.to_string()))?;
        self.0.default(&mut typed);
        let mut value = serde_json::to_value(&typed).map_err(|e| DecodeError(e.to_string()))?;
        self.0.after_writing(&mut value);
        Ok(value)
    }

    fn has_generation(&self) -> bool {
        S::HAS_GENERATION
    }

    fn name_rule(&self) -> NameRule {
        S::NAME_RULE
    }

    fn takes_plain_finalizers(&self) -> bool {
        self.0.takes_plain_finalizers()
    }

    fn notes_grace(&self) -> bool {
        S::NOTES_GRACE
    }

    fn status_at_creation(&self) -> bool {
        S::STATUS_AT_CREATION
    }

    fn creates_on_update(&self) -> bool {
        S::CREATES_ON_UPDATE
    }

    fn updates_unconditionally(&self) -> bool {
        S::UNCONDITIONAL_UPDATE
    }

    fn prepare_create(&self, object: &mut Value) {
        let mut draft = Draft::<S::Object>::of(object);
        // A status that the path has reset is to have what its type always writes.
        if object.get("status").is_some() {
            let _written_back: &mut S::Object = &mut draft;
        }
        self.0.prepare_create(&mut draft);
        if let Some(prepared) = draft.finish() {
            self.encode(&prepared, object);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part<'_>) {
        let (mut draft, old) = (Draft::of(new), Draft::of(old));
        self.0.prepare_update(&mut draft, &old, part);
        if let Some(prepared) = draft.finish().filter(|_| old.is_readable()) {
            self.encode(&prepared, new);
        }
    }

    fn validate(&self, object: &Value) -> Findings {
        let Some(typed) = Self::decoded(object) else { return Self::undecodable() };
        let mut errors = Errors::default();
        self.0.validate(&typed, &mut errors);
        self.findings(errors, &typed, None)
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part<'_>) -> Findings {
        let (Some(new), Some(old)) = (Self::decoded(new), Self::decoded(old)) else {
            return Self::undecodable();
        };
        let mut errors = Errors::default();
        self.0.validate_update(&new, &old, part, &mut errors);
        self.findings(errors, &new, Some(&old))
    }

    fn columns(&self) -> Vec<Column> {
        self.0.columns()
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Text, String)> {
        self.0.selectable_fields(object).into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        self.0.grace_period(object, requested)
    }

    fn holds_deletion(&self, object: &Value) -> bool {
        self.0.holds_deletion(object)
    }

    fn begin_deletion(&self, object: &mut Value) {
        self.0.begin_deletion(object);
    }

    fn dependents(&self) -> Dependents {
        S::DEPENDENTS
    }

    fn deletion_warning(&self) -> Option<&'static str> {
        S::DELETION_WARNING
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<S::Object>()
    }
}
