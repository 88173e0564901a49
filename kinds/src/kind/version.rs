//! Several versions of one resource: rows of the table whose objects lie in one place of the store.
//!
//! One row's version is the stored form; every other row says how its objects become that and come back.
//! Invariant: no conversion of built-in kinds loses anything, so that an object may be read and written in any version.
//! Versions of a custom kind lose what the other's schema does not declare. Upstream converts through internal types.

use std::{borrow::Cow, sync::Arc};

use api::object::{ObjectExt as _, api_version};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::{Column, DecodeError, Findings, Kind, Part, Rules, Text};
use crate::schema::{TypeRef, Types};

/// Where the objects of a row lie when its own version is not the stored one.
#[derive(Clone)]
pub struct StoredAs {
    /// Group of the stored form.
    pub group: Text,
    /// Version of the stored form.
    pub version: Text,
    /// How objects become that form and come back.
    pub conversion: Conversion,
}

/// How two versions differ.
#[derive(Clone)]
pub enum Conversion {
    /// In `apiVersion`, and in what their schemas declare: the rules of the stored form.
    Declared(Arc<dyn Rules>),
    /// In their fields.
    Fields(Arc<dyn Convert>),
}

/// A pair of functions between a version and the stored form. Neither touches `apiVersion` and `kind`.
pub trait Convert: Send + Sync {
    /// The stored form of an object.
    fn stored_form(&self, object: &mut Value);

    /// The object that is stored so.
    fn own_form(&self, object: &mut Value);

    /// What the stored form calls a field that selectors of this version may name.
    fn selectable_field(&self, label: &str) -> Option<&'static str>;
}

impl Kind {
    /// Whether objects are stored in this row's own version.
    pub fn is_stored_form(&self) -> bool {
        self.stored_as.is_none()
    }

    /// The object as it is stored.
    pub fn stored_form(&self, mut object: Value) -> Value {
        let Some(stored) = &self.stored_as else { return object };
        match &stored.conversion {
            Conversion::Fields(convert) => convert.stored_form(&mut object),
            Conversion::Declared(rules) => rules.drop_undeclared(&mut object),
        }
        rename(&mut object, &api_version(&stored.group, &stored.version));
        object
    }

    /// A stored object in this row's version. What was stored when another version was the stored one has
    /// that one's name, and the same fields.
    pub fn own_form(&self, mut object: Value) -> Value {
        let own = self.api_version();
        if object.str_at(&["apiVersion"]) == own && !self.is_custom() {
            return object;
        }
        match self.stored_as.as_ref().map(|stored| &stored.conversion) {
            Some(Conversion::Fields(convert)) => convert.own_form(&mut object),
            // The schema may have changed since: new defaults come in, what it dropped is no longer shown.
            Some(Conversion::Declared(rules)) => {
                rules.drop_undeclared(&mut object);
                rules.fill_in(&mut object);
                self.rules.drop_undeclared(&mut object);
            }
            None => {
                self.rules.drop_undeclared(&mut object);
                self.rules.fill_in(&mut object);
            }
        }
        rename(&mut object, &own);
        object
    }

    /// What the stored form calls a field that selectors of this row may name; `None` when they may not.
    pub fn stored_field(&self, label: &str) -> Option<Text> {
        if matches!(label, "metadata.name" | "metadata.namespace") {
            return Some(label.to_owned().into());
        }
        match &self.stored_as {
            Some(StoredAs { conversion: Conversion::Fields(convert), .. }) => {
                convert.selectable_field(label).map(Text::from)
            }
            _ => {
                let known = self.rules.selectable_fields(&Value::Null);
                known.into_iter().map(|(name, _)| name).find(|name| name == label)
            }
        }
    }

    /// The type of the kind's objects, if there is one.
    pub fn object_type(&self) -> Option<(&Types, TypeRef)> {
        let types = self.types.as_deref().unwrap_or_else(|| Types::builtin());
        let root = self.root.get_or_init(|| types.root(&self.group, &self.version, &self.kind));
        root.map(|root| (types, root))
    }

    /// Writes what Go always writes of an object of the kind; see [`Types::complete`].
    pub fn complete(&self, object: &mut Value) {
        if let Some((types, root)) = self.object_type() {
            types.complete(object, root);
        }
    }
}

/// Orders versions as Kubernetes does: v2 before v1 before v1beta2 before v1alpha1.
pub fn stability(version: &str) -> (u8, u32, u32) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u32 = rest[..end].parse().ok()?;
        let rank =
            |name: &str, rank: u8| rest[end..].strip_prefix(name).map(|n| (rank, n.parse().unwrap_or(0)));
        let (rank, minor) =
            if end == rest.len() { (3, 0) } else { rank("beta", 2).or_else(|| rank("alpha", 1))? };
        Some((rank, major, minor))
    };
    parse().unwrap_or((0, 0, 0))
}

fn rename(object: &mut Value, api_version: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), api_version.into());
    }
}

/// The type of an object, and the versions it can be seen in.
#[derive(Clone, Copy)]
pub struct Versions<'a> {
    /// The types of the version at hand.
    pub types: &'a Types,
    /// The object's type among them.
    pub root: TypeRef,
    /// The version at hand.
    pub own: &'a str,
    /// All rows of the resource.
    pub rows: &'a [Arc<Kind>],
}

impl<'a> Versions<'a> {
    fn row(&self, api_version: &str) -> Option<&'a Kind> {
        self.rows.iter().map(AsRef::as_ref).find(|kind| kind.api_version() == api_version)
    }

    /// The type in another version; `None` when that is not served.
    pub fn object_type(&self, api_version: &str) -> Option<(&'a Types, TypeRef)> {
        if api_version == self.own {
            return Some((self.types, self.root));
        }
        self.row(api_version)?.object_type()
    }

    /// An object of one version in another; `None` when one of them is not served.
    pub fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        if from == to {
            return Some(Cow::Borrowed(object));
        }
        let (from, to) = (self.row(from)?, self.row(to)?);
        Some(Cow::Owned(to.own_form(from.stored_form(object.clone()))))
    }
}

/// The rules of a version whose fields differ from the stored form: objects are read as the version's own
/// type, and everything else is left to the rules of the stored form.
pub struct Converted {
    /// Reads, defaults and describes the version's own type.
    pub own: Arc<dyn Rules>,
    /// The version's `apiVersion`.
    pub own_version: String,
    /// The rules of the stored form.
    pub hub: Arc<dyn Rules>,
    /// The stored form's `apiVersion`.
    pub hub_version: String,
    /// What lies between the two.
    pub convert: Arc<dyn Convert>,
}

impl Converted {
    fn hub(&self, object: &Value) -> Value {
        let mut object = object.clone();
        self.convert.stored_form(&mut object);
        rename(&mut object, &self.hub_version);
        object
    }

    fn back(&self, mut object: Value) -> Value {
        self.convert.own_form(&mut object);
        rename(&mut object, &self.own_version);
        object
    }
}

impl Rules for Converted {
    fn default(&self, object: Value) -> Result<Value, DecodeError> {
        let object = self.own.default(object)?;
        Ok(self.back(self.hub.default(self.hub(&object))?))
    }

    fn prepare_create(&self, object: &mut Value) {
        let mut stored = self.hub(object);
        self.hub.prepare_create(&mut stored);
        *object = self.back(stored);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, part: Part<'_>) {
        let mut stored = self.hub(new);
        self.hub.prepare_update(&mut stored, &self.hub(old), part);
        *new = self.back(stored);
    }

    fn validate(&self, object: &Value) -> Findings {
        self.hub.validate(&self.hub(object))
    }

    fn validate_update(&self, new: &Value, old: &Value, part: Part<'_>) -> Findings {
        self.hub.validate_update(&self.hub(new), &self.hub(old), part)
    }

    fn columns(&self) -> Vec<Column> {
        self.hub.columns()
    }

    fn printed<'a>(&self, object: &'a Value) -> Cow<'a, Value> {
        Cow::Owned(self.hub(object))
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Text, String)> {
        self.hub.selectable_fields(&self.hub(object))
    }

    fn grace_period(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        self.hub.grace_period(&self.hub(object), requested)
    }

    fn holds_deletion(&self, object: &Value) -> bool {
        self.hub.holds_deletion(&self.hub(object))
    }

    fn begin_deletion(&self, object: &mut Value) {
        let mut stored = self.hub(object);
        self.hub.begin_deletion(&mut stored);
        *object = self.back(stored);
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        self.own.schema(generator)
    }
}
