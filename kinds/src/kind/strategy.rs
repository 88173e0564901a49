//! The rules of built-in kinds, written on their types: [`Strategy`] is what a kind's file implements, [`Typed`]
//! lends it to the request path.

use std::{
    cell::OnceCell,
    marker::PhantomData,
    ops::{Deref, DerefMut},
};

use api::field::{ErrorType, Errors, Path};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Column, DecodeError, Facts, Findings, Part, Rules, Text};

/// The rules of a built-in kind, on its own type. Everything has a sensible default.
pub trait Strategy: Serialize + DeserializeOwned + Default + JsonSchema + Send + Sync + 'static {
    /// What is so of all objects.
    const FACTS: Facts = Facts::PLAIN;

    /// Whether `spec.selector: {}` is something else than none at all. It is told apart on reading by an empty `matchLabels`.
    const NEEDS_SELECTOR: bool = false;

    /// Keeps in the value what its type would lose on reading (missing or empty).
    fn before_reading(_value: &mut Value) {}

    /// Fields that are always there, if only as `null`, where what they are fields of is.
    const ALWAYS_THERE: &'static [&'static str] = &[];

    /// Puts into the value what else its type cannot write.
    fn after_writing(_value: &mut Value) {}

    /// Fills in defaults.
    fn fill_in(&mut self) {}

    /// See [`Rules::prepare_create`].
    fn prepare_create(_new: &mut Draft<Self>) {}

    /// See [`Rules::prepare_update`].
    fn prepare_update(_new: &mut Draft<Self>, _old: &Draft<Self>, _part: Part<'_>) {}

    /// See [`Rules::validate`].
    fn validate(&self, _errors: &mut Errors) {}

    /// See [`Rules::validate_update`]: as a new object, but for the status, of which everything is taken.
    fn validate_update(&self, _old: &Self, part: Part<'_>, errors: &mut Errors) {
        if part != Part::Status {
            self.validate(errors);
        }
    }

    /// What is allowed but unwise about a new object (there is no old one) or a changed one.
    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        Vec::new()
    }

    /// See [`Rules::columns`]. Name and age unless overridden.
    fn columns() -> Vec<Column> {
        vec![Column::name(), Column::age()]
    }

    /// See [`Rules::selectable_fields`].
    fn selectable_fields(_object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// See [`Rules::grace_period`].
    fn grace_period(_object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// See [`Rules::holds_deletion`].
    fn holds_deletion(_object: &Value) -> bool {
        false
    }

    /// See [`Rules::begin_deletion`].
    fn begin_deletion(_object: &mut Value) {}
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

/// Makes `spec.selector: {}` differ from none at all once it is read as a type.
fn keep_empty_selector(value: &mut Value) {
    if let Some(selector) = value.pointer_mut("/spec/selector").and_then(Value::as_object_mut)
        && selector.is_empty()
    {
        selector.insert("matchLabels".into(), Map::new().into());
    }
}

/// Takes away the empty selector that the type writes when there was none; see [`keep_empty_selector`].
fn drop_missing_selector(value: &mut Value) {
    let spec = value.get_mut("spec").and_then(Value::as_object_mut);
    if let Some(spec) = spec.filter(|s| s.get("selector") == Some(&Value::Object(Map::new()))) {
        spec.remove("selector");
    }
}

/// The [`Rules`] of a built-in kind.
pub struct Typed<T>(PhantomData<fn() -> T>);

impl<T: Strategy> Typed<T> {
    /// Those of the type's kind.
    pub const RULES: Self = Self(PhantomData);

    fn undecodable() -> Findings {
        let mut errors = Errors::default();
        errors.plain(ErrorType::Internal, &Path::root(), "the object cannot be read as its kind");
        Findings { errors, warnings: Vec::new() }
    }

    fn findings(errors: Errors, new: &T, old: Option<&T>) -> Findings {
        let warnings = if errors.is_empty() { new.warnings(old) } else { Vec::new() };
        Findings { errors, warnings }
    }

    fn encode(typed: &T, into: &mut Value) {
        if let Ok(value) = Self::written(typed) {
            *into = value;
        }
    }

    fn written(typed: &T) -> serde_json::Result<Value> {
        let mut value = serde_json::to_value(typed)?;
        if T::NEEDS_SELECTOR {
            drop_missing_selector(&mut value);
        }
        for pointer in T::ALWAYS_THERE {
            let (of, field) = pointer.rsplit_once('/').unwrap_or_default();
            if let Some(Value::Object(of)) = value.pointer_mut(of) {
                of.entry(field).or_insert(Value::Null);
            }
        }
        T::after_writing(&mut value);
        Ok(value)
    }
}

/// Values that come here have passed `default` and thus can be read; should one not, validation reports it.
impl<T: Strategy> Rules for Typed<T> {
    fn default(&self, mut object: Value) -> Result<Value, DecodeError> {
        if T::NEEDS_SELECTOR {
            keep_empty_selector(&mut object);
        }
        T::before_reading(&mut object);
        let mut typed = T::deserialize(object).map_err(|e| DecodeError(e.to_string()))?;
        typed.fill_in();
        Self::written(&typed).map_err(|e| DecodeError(e.to_string()))
    }

    fn prepare_create(&self, object: &mut Value) {
        let mut draft = Draft::<T>::of(object);
        // A status that the path has reset is to have what its type always writes.
        if object.get("status").is_some() {
            let _written_back: &mut T = &mut draft;
        }
        T::prepare_create(&mut draft);
        if let Some(prepared) = draft.finish() {
            Self::encode(&prepared, object);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part<'_>) {
        let (mut draft, old) = (Draft::<T>::of(new), Draft::of(old));
        T::prepare_update(&mut draft, &old, part);
        if let Some(prepared) = draft.finish().filter(|_| old.is_readable()) {
            Self::encode(&prepared, new);
        }
    }

    fn validate(&self, object: &Value) -> Findings {
        let Ok(typed) = T::deserialize(object) else { return Self::undecodable() };
        let mut errors = Errors::default();
        typed.validate(&mut errors);
        Self::findings(errors, &typed, None)
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part<'_>) -> Findings {
        let (Ok(new), Ok(old)) = (T::deserialize(new), T::deserialize(old)) else {
            return Self::undecodable();
        };
        let mut errors = Errors::default();
        new.validate_update(&old, part, &mut errors);
        Self::findings(errors, &new, Some(&old))
    }

    fn columns(&self) -> Vec<Column> {
        T::columns()
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Text, String)> {
        T::selectable_fields(object).into_iter().map(|(name, value)| (name.into(), value)).collect()
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        T::grace_period(object, requested)
    }

    fn holds_deletion(&self, object: &Value) -> bool {
        T::holds_deletion(object)
    }

    fn begin_deletion(&self, object: &mut Value) {
        T::begin_deletion(object);
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}
