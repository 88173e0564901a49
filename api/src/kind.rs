//! What a kind is: one row of the table that the whole API server is driven by, and the rules of its objects.
//!
//! A built-in kind implements [`Strategy`] on its `k8s-openapi` type, in one file below [`crate::kinds`];
//! [`Typed`] turns that into the type-erased [`Rules`] which the request path uses. A custom kind brings
//! its own [`Rules`], made from its schema. Counterpart of upstream's `rest.*Strategy`.

use std::{
    borrow::Cow,
    cell::OnceCell,
    ops::{Deref, DerefMut},
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    field::{ErrorType, Errors, Path},
    schema::{TypeRef, Types},
    version::{self, StoredAs},
};

/// Text that is static for built-in kinds and owned for custom ones.
pub type Text = Cow<'static, str>;

/// One kind: names, scope, subresources and rules.
pub struct Kind {
    /// API group, "" for the core group.
    pub group: Text,
    /// Version within the group, e.g. `v1`.
    pub version: Text,
    /// CamelCase name, e.g. `ConfigMap`.
    pub kind: Text,
    /// Resource name in paths, e.g. `configmaps`.
    pub plural: Text,
    /// Singular name, e.g. `configmap`.
    pub singular: Text,
    /// Short names, e.g. `cm`.
    pub short_names: Vec<Text>,
    /// Categories such as `all`.
    pub categories: Vec<Text>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// What may be done with the resource itself, as discovery lists it.
    pub verbs: &'static [&'static str],
    /// The subresources, as discovery lists them.
    pub subresources: Vec<Subresource>,
    /// Whether objects are answered as they come (reviews) or made when asked for, and never kept.
    pub transient: bool,
    /// Whether a deletion answers with the object's last state instead of a `Status`.
    pub returns_deleted: bool,
    /// The fields of `metadata` that a write of the status leaves as they are.
    pub status_leaves: &'static [&'static str],
    /// Where the `scale` subresource finds its numbers.
    pub scale: Option<ScalePaths>,
    /// Where the objects lie when another row of the same resource holds the stored form.
    pub stored_as: Option<StoredAs>,
    /// The types of a custom kind; those of all built-in kinds are in one tree.
    pub types: Option<Arc<Types>>,
    /// Defaulting, validation, printing.
    pub rules: Arc<dyn Rules>,
    /// What every request to the kind is told when it is deprecated.
    pub deprecation: Option<Text>,
    /// Which of the types is the objects', once somebody asked.
    pub root: OnceLock<Option<TypeRef>>,
}

/// Every verb of an ordinary resource, in discovery's order.
pub const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A subresource as discovery describes it.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// `status`, `scale`, `log`, …
    pub name: Text,
    /// Group of the subresource's kind; `None` when it is the parent's own kind.
    pub gvk: Option<(&'static str, &'static str, &'static str)>,
    /// Verbs it answers to.
    pub verbs: &'static [&'static str],
}

/// JSON paths (as key lists) behind the `scale` subresource.
#[derive(Debug, Clone)]
pub struct ScalePaths {
    /// `.spec.replicas`
    pub spec_replicas: Vec<String>,
    /// `.status.replicas`
    pub status_replicas: Vec<String>,
    /// A label selector: an object (`.spec.selector`) or a string; `None` when the kind has none.
    pub selector: Option<Vec<String>>,
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        version::api_version(&self.group, &self.version)
    }

    /// Whether a definition made this row, whose schema may change while there are objects.
    pub fn is_custom(&self) -> bool {
        self.types.is_some()
    }

    /// The prefix of the keys of this kind's objects in the store, with a trailing slash. Rows of one resource
    /// have the same.
    pub fn storage_prefix(&self) -> String {
        let group = self.stored_as.as_ref().map_or(&self.group, |stored| &stored.group);
        if group.is_empty() {
            format!("/registry/{}/", self.plural)
        } else {
            format!("/registry/{group}/{}/", self.plural)
        }
    }

    /// The subresource called `name`.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether status is written through its own subresource.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

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

/// Which names objects of a kind may bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain (most kinds).
    Subdomain,
    /// RFC 1123 label (namespaces, services).
    Label,
    /// RFC 1035 label.
    Label1035,
    /// Anything that can stand in a path (RBAC).
    PathSegment,
}

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

/// The rules of a kind's objects, whatever their type. Objects go in and out as JSON values.
pub trait Rules: Send + Sync {
    /// Reads the value as the kind and fills in the defaults.
    fn default(&self, object: Value) -> Result<Value, DecodeError>;

    /// Whether `metadata.generation` counts changes of the spec.
    fn has_generation(&self) -> bool;

    /// Which names are allowed.
    fn name_rule(&self) -> NameRule;

    /// Whether finalizers may have names that are neither Kubernetes' own nor qualified by a domain.
    fn takes_plain_finalizers(&self) -> bool {
        false
    }

    /// Whether a client may set the status at creation although the kind has a `status` subresource.
    fn status_at_creation(&self) -> bool {
        false
    }

    /// Whether an update of what is not there creates it.
    fn creates_on_update(&self) -> bool {
        false
    }

    /// Resets what a client may not set at creation (beyond status, which the path itself resets).
    fn prepare_create(&self, object: &mut Value);

    /// Carries over what an update may not touch (beyond what the path itself carries over).
    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part<'_>);

    /// What is to be said about a new object (metadata is checked by the path).
    fn validate(&self, object: &Value) -> Findings;

    /// What is to be said about a changed object.
    fn validate_update(&self, new: &Value, old: &Value, part: Part<'_>) -> Findings;

    /// The columns of the printed table.
    fn columns(&self) -> Vec<Column>;

    /// One row of the printed table; as many cells as there are columns.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// The values of the fields that field selectors may name, besides `metadata.name` and
    /// `metadata.namespace`. Always the same names in the same order. The object is cut: without its metadata, and
    /// without what lies more than three objects deep, or as deep as the longest of the names says; lists do not count.
    fn selectable_fields(&self, object: &Value) -> Vec<(Text, String)>;

    /// The grace period in seconds of a deletion: `None` when the kind is deleted at once.
    /// `requested` is what the client asked for.
    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64>;

    /// Whether something besides `metadata.finalizers` keeps an object whose deletion has begun
    /// (`spec.finalizers` of a namespace).
    fn holds_deletion(&self, object: &Value) -> bool;

    /// What else changes when the deletion begins (a namespace's phase).
    fn begin_deletion(&self, object: &mut Value);

    /// The OpenAPI schema: for a type that has a name, a reference to it in the generator's definitions.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;
}

/// The rules of a built-in kind, on its own type. Everything but the type has a sensible default.
pub trait Strategy: Send + Sync + 'static {
    /// The kind's type.
    type Object: Serialize + DeserializeOwned + Default + JsonSchema;

    /// See [`Rules::has_generation`].
    const HAS_GENERATION: bool = false;

    /// See [`Rules::name_rule`].
    const NAME_RULE: NameRule = NameRule::Subdomain;

    /// See [`Rules::takes_plain_finalizers`].
    const PLAIN_FINALIZERS: bool = false;

    /// Whether a client may set the status when it creates an object although the kind has a `status`
    /// subresource.
    const STATUS_AT_CREATION: bool = false;

    /// See [`Rules::creates_on_update`].
    const CREATES_ON_UPDATE: bool = false;

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

    /// See [`Rules::validate_update`]; calls `validate` unless overridden.
    fn validate_update(&self, new: &Self::Object, _old: &Self::Object, _part: Part<'_>, errors: &mut Errors) {
        self.validate(new, errors);
    }

    /// What is allowed but unwise about a new object (`old` is `None`) or a changed one.
    fn warnings(&self, _new: &Self::Object, _old: Option<&Self::Object>) -> Vec<String> {
        Vec::new()
    }

    /// See [`Rules::columns`]. Name and age unless overridden.
    fn columns(&self) -> Vec<Column> {
        vec![Column::name(), Column::age()]
    }

    /// See [`Rules::cells`]: by default name and age.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![cell::name(object), cell::age(object, now)]
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

/// Cells that many kinds share.
pub mod cell {
    use jiff::Timestamp;
    use serde_json::Value;

    use crate::object::ObjectExt;

    /// The object's name.
    pub fn name(object: &Value) -> Value {
        object.name().into()
    }

    /// Time since `metadata.creationTimestamp`, e.g. `5m10s`; `<unknown>` without one.
    pub fn age(object: &Value, now: Timestamp) -> Value {
        since(object.meta_str("creationTimestamp"), now)
    }

    /// Time since an RFC 3339 time stamp in kubectl's short form; `<unknown>` for anything else.
    pub fn since(stamp: &str, now: Timestamp) -> Value {
        match stamp.parse::<Timestamp>() {
            Ok(t) => human_duration(now.as_second() - t.as_second()).into(),
            Err(_) => "<unknown>".into(),
        }
    }

    /// A duration in seconds with at most two units, as upstream's `duration.HumanDuration` prints it.
    pub fn human_duration(seconds: i64) -> String {
        const MINUTE: i64 = 60;
        const HOUR: i64 = 60 * MINUTE;
        const DAY: i64 = 24 * HOUR;
        const YEAR: i64 = 365 * DAY;
        let two = |big: i64, big_unit: char, small: i64, small_unit: char| {
            if small == 0 {
                format!("{big}{big_unit}")
            } else {
                format!("{big}{big_unit}{small}{small_unit}")
            }
        };
        match seconds {
            ..-1 => "<invalid>".into(),
            -1..0 => "0s".into(),
            s if s < 2 * MINUTE => format!("{s}s"),
            s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
            s if s < 3 * HOUR => format!("{}m", s / MINUTE),
            s if s < 8 * HOUR => two(s / HOUR, 'h', s / MINUTE % 60, 'm'),
            s if s < 2 * DAY => format!("{}h", s / HOUR),
            s if s < 8 * DAY => two(s / DAY, 'd', s / HOUR % 24, 'h'),
            s if s < 2 * YEAR => format!("{}d", s / DAY),
            s if s < 8 * YEAR => two(s / YEAR, 'y', s / DAY % 365, 'd'),
            s => format!("{}y", s / YEAR),
        }
    }
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
        S::PLAIN_FINALIZERS
    }

    fn status_at_creation(&self) -> bool {
        S::STATUS_AT_CREATION
    }

    fn creates_on_update(&self) -> bool {
        S::CREATES_ON_UPDATE
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

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.0.cells(object, now)
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

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<S::Object>()
    }
}
