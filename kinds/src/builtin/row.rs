//! How a row of the table of built-in kinds is written.

use std::sync::{Arc, OnceLock};

use api::object::api_version;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope, Resource};

use crate::kind::{
    ALL_VERBS, Kind, ScalePaths, Strategy, Subresource, Typed,
    version::{Conversion, Convert, Converted, StoredAs},
};

pub(super) const STATUS_VERBS: &[&str] = &["get", "patch", "update"];
pub(super) const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Whether the objects of a scope live in namespaces.
pub trait Scope {
    /// Says so.
    const IS_NAMESPACED: bool;
}

impl Scope for ClusterResourceScope {
    const IS_NAMESPACED: bool = false;
}

impl Scope for NamespaceResourceScope {
    const IS_NAMESPACED: bool = true;
}

/// The kind of a type, with every verb and no subresources.
pub(super) fn kind<T: Strategy + Resource<Scope: Scope>>() -> Kind {
    Kind {
        group: T::GROUP.into(),
        version: T::VERSION.into(),
        kind: T::KIND.into(),
        plural: T::URL_PATH_SEGMENT.into(),
        singular: T::KIND.to_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: T::Scope::IS_NAMESPACED,
        verbs: ALL_VERBS,
        subresources: Vec::new(),
        transient: false,
        returns_deleted: false,
        status_leaves: &[],
        scale: None,
        stored_as: None,
        types: None,
        facts: T::FACTS,
        rules: Arc::new(Typed::<T>::RULES),
        deprecation: None,
        root: OnceLock::new(),
        columns: OnceLock::new(),
    }
}

impl Kind {
    /// Stores the objects as another version, with the rules of `Hub`; the row's own strategy only reads and
    /// defaults its type.
    pub(super) fn stored_as<Hub: Strategy>(
        mut self,
        (group, version): (&'static str, &'static str),
        convert: impl Convert + 'static,
    ) -> Self {
        let convert: Arc<dyn Convert> = Arc::new(convert);
        self.facts = Hub::FACTS;
        self.rules = Arc::new(Converted {
            own_version: self.api_version(),
            own: self.rules,
            hub_version: api_version(group, version),
            hub: Arc::new(Typed::<Hub>::RULES),
            convert: convert.clone(),
        });
        let conversion = Conversion::Fields(convert);
        self.stored_as = Some(StoredAs { group: group.into(), version: version.into(), conversion });
        self
    }

    pub(super) fn short(mut self, names: &[&'static str]) -> Self {
        self.short_names = names.iter().map(|n| (*n).into()).collect();
        self
    }

    pub(super) fn categories(mut self, names: &[&'static str]) -> Self {
        self.categories = names.iter().map(|n| (*n).into()).collect();
        self
    }

    pub(super) fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    /// Never kept: only these verbs are served.
    pub(super) fn transient(mut self, verbs: &'static [&'static str]) -> Self {
        self.transient = true;
        self.verbs(verbs)
    }

    /// Deprecated: every request is told so.
    pub(super) fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecation = Some(warning.into());
        self
    }

    pub(super) fn returns_deleted(mut self) -> Self {
        self.returns_deleted = true;
        self
    }

    /// A subresource that carries the kind itself.
    pub(super) fn sub(mut self, name: &'static str, verbs: &'static [&'static str]) -> Self {
        self.subresources.push(Subresource { name: name.into(), gvk: None, verbs });
        self
    }

    /// A subresource that carries another kind.
    pub(super) fn sub_of(
        mut self,
        name: &'static str,
        gvk: (&'static str, &'static str, &'static str),
        verbs: &'static [&'static str],
    ) -> Self {
        self.subresources.push(Subresource { name: name.into(), gvk: Some(gvk), verbs });
        self
    }

    pub(super) fn status(self) -> Self {
        self.sub("status", STATUS_VERBS)
    }

    /// `status`, through which some fields of the metadata cannot be written.
    pub(super) fn status_without(mut self, fields: &'static [&'static str]) -> Self {
        self.status_leaves = fields;
        self.status()
    }

    /// `scale`, on `spec.replicas`, `status.replicas` and `spec.selector`.
    pub(super) fn scale(mut self) -> Self {
        let path = |part: &str, field: &str| vec![part.to_owned(), field.to_owned()];
        self.scale = Some(ScalePaths {
            spec_replicas: path("spec", "replicas"),
            status_replicas: path("status", "replicas"),
            selector: Some(path("spec", "selector")),
        });
        self.sub_of("scale", ("autoscaling", "v1", "Scale"), STATUS_VERBS)
    }
}
