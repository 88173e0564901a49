//! What a kind is: one row of the table that the whole API server is driven by.
//!
//! A built-in kind implements [`Strategy`] on its `k8s-openapi` type, in one file below [`crate::builtin`];
//! [`Typed`] turns that into the type-erased [`Rules`] which the request path uses. A custom kind brings
//! its own [`Rules`], made from its schema.

pub mod cell;
mod column;
mod rules;
mod strategy;
pub mod version;

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

use api::object::api_version;
use jiff::Timestamp;
use serde_json::Value;

use crate::schema::{TypeRef, Types};
pub use column::{Column, cells};
pub use rules::{DecodeError, Dependents, Facts, Findings, Part, Rules};
pub use strategy::{Draft, Strategy, Typed};
use version::StoredAs;

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
    /// Whether objects are never kept: they are answered when they come (reviews), or made when somebody asks for them
    /// (component statuses).
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
    /// What is so of all objects.
    pub facts: Facts,
    /// Defaulting, validation, printing.
    pub rules: Arc<dyn Rules>,
    /// What every request to the kind is told when it is deprecated.
    pub deprecation: Option<Text>,
    /// The objects' type in that tree, once somebody asked for it.
    pub root: OnceLock<Option<TypeRef>>,
    /// The columns of its tables, likewise.
    pub columns: OnceLock<Vec<Column>>,
}

/// Every verb of an ordinary resource, in discovery's order.
pub const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// A subresource as discovery describes it.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// `status`, `scale`, `log`, …
    pub name: Text,
    /// Group, version and kind of what it carries; `None` when that is the parent's own kind.
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
        api_version(&self.group, &self.version)
    }

    /// Whether a definition made this row, whose schema may change while there are objects.
    pub fn is_custom(&self) -> bool {
        self.types.is_some()
    }

    /// Whether it is served unless somebody says otherwise: as upstream's are, versions that may change yet are not.
    pub fn is_on_by_default(&self) -> bool {
        self.is_custom() || version::stability(&self.version).0 == 3
    }

    /// The prefix of the keys of this kind's objects in the store. Rows of one resource have the same.
    pub fn storage_prefix(&self) -> String {
        let group = self.stored_as.as_ref().map_or(&self.group, |stored| &stored.group);
        storage_prefix(group, &self.plural)
    }

    /// The subresource called `name`.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// The columns of the printed table.
    pub fn columns(&self) -> &[Column] {
        self.columns.get_or_init(|| self.rules.columns())
    }

    /// One row of the printed table.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let object = self.rules.printed(object);
        cells(self.columns(), &object, now)
    }

    /// Whether status is written through its own subresource.
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }
}

/// The prefix of the keys of a resource's objects in the store, with a trailing slash.
pub fn storage_prefix(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("/registry/{plural}/") } else { format!("/registry/{group}/{plural}/") }
}
