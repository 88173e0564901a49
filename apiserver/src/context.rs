//! What a verb is given: one request to a resource, identified, and what it needs of the server.

use std::sync::Arc;

use api::status::Status;
use http::{Response, StatusCode};
use kinds::kind::{Kind, version::Versions};
use serde_json::Value;

use crate::{
    Api,
    audit::Trail,
    auth::{User, authorize::Action},
    forms,
    http::metrics::Running,
    publish::table,
    query::Query,
    registry::Table,
    request::{ResourcePath, Verb},
    resources::BuiltIn,
    response::{self, Accept, Body, Form, Warnings},
    store::Revision,
    watch_cache::{CachedObject, Resource, Scope},
};

/// One request to a resource, parsed and identified.
#[derive(Clone)]
pub struct Ctx {
    /// The server.
    pub api: Arc<Api>,
    /// The caller.
    pub user: User,
    /// The kind the path names.
    pub kind: Arc<Kind>,
    /// All versions of it, this one included.
    pub versions: Arc<[Arc<Kind>]>,
    /// Its objects in memory.
    pub resource: Arc<Resource>,
    /// The path.
    pub path: ResourcePath,
    /// The parameters.
    pub query: Query,
    /// The wanted representation.
    pub accept: Accept,
    /// The media type of the body.
    pub media: String,
    /// `User-Agent`, the default field manager's source.
    pub user_agent: String,
    /// What the caller is warned of.
    pub warnings: Warnings,
    /// What is told of it in the audit log.
    pub trail: Trail,
}

impl Ctx {
    /// Lets the caller do what he has not asked for by the method alone.
    ///
    /// # Errors
    /// 403.
    pub fn permit(&self, verb: &str) -> Result<(), Status> {
        self.api.authorizer.permit(&self.user, &Action::on(&self.path, verb, None, None))
    }

    /// A request of the server itself, as the system's own user.
    ///
    /// # Errors
    /// When the resource is not served.
    pub fn internal(
        api: &Arc<Api>,
        resource: BuiltIn,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Self, Status> {
        let table = api.table();
        Self::internal_to(api, &table, resource.row(&table)?, namespace, name)
    }

    /// The same, to any kind of the table.
    ///
    /// # Errors
    /// When it is not served any more.
    pub fn internal_to(
        api: &Arc<Api>,
        table: &Table,
        kind: &Arc<Kind>,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Self, Status> {
        Ok(Self {
            api: api.clone(),
            user: User {
                name: "system:apiserver".into(),
                groups: vec![machinery::pki::MASTERS.into(), "system:authenticated".into()],
                ..User::default()
            },
            kind: kind.clone(),
            versions: table.versions(kind),
            resource: api.cache.resource(&kind.storage_prefix()).ok_or_else(Status::no_such_resource)?,
            path: ResourcePath {
                group: kind.group.to_string(),
                version: kind.version.to_string(),
                resource: kind.plural.to_string(),
                namespace: namespace.map(str::to_owned),
                name: name.map(str::to_owned),
                ..ResourcePath::default()
            },
            query: Query::default(),
            accept: Accept::default(),
            media: "application/json".into(),
            user_agent: "apiserver".into(),
            warnings: Warnings::default(),
            trail: Trail::default(),
        })
    }

    /// Counts the request as one that lasts, and is told of as one, for as long as what is returned is kept.
    pub fn running(&self, verb: Verb) -> Running {
        self.api.metrics.long_running(verb, &self.path, self.trail.clone())
    }

    /// The same request, to the object's status.
    #[must_use]
    pub fn at_status(mut self) -> Self {
        self.path.subresource = Some("status".into());
        self
    }

    /// The object's name in the path; only called for requests whose path has one.
    pub fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or("")
    }

    /// The store key of the object `name` in the request's namespace.
    pub fn key(&self, name: &str) -> String {
        self.kind.storage_prefix() + &self.cache_key(name)
    }

    /// The same, below the kind's prefix.
    pub fn cache_key(&self, name: &str) -> String {
        match &self.path.namespace {
            Some(ns) => format!("{ns}/{name}"),
            None => name.to_owned(),
        }
    }

    /// The same request for an object in another namespace: the parts of a collection.
    #[must_use]
    pub fn in_namespace(&self, namespace: Option<String>) -> Self {
        let mut other = self.clone();
        other.path.namespace = namespace;
        other
    }

    /// The same request, to another resource.
    ///
    /// # Errors
    /// 404 when that is not served.
    pub fn of(self, resource: BuiltIn) -> Result<Self, Status> {
        let other = Self::internal(&self.api, resource, None, None)?;
        Ok(Self { kind: other.kind, versions: other.versions, resource: other.resource, ..self })
    }

    /// What a list or watch at this path is about.
    pub fn scope(&self) -> Scope {
        // Who selects one name follows one object, however many there are beside it.
        let named = || self.query.fields.required_value("metadata.name");
        match (&self.path.namespace, self.path.name.as_deref().or_else(named)) {
            (None, Some(_)) if self.kind.namespaced => Scope::All,
            (_, Some(name)) => Scope::Object(self.cache_key(name)),
            (Some(namespace), None) => Scope::Namespace(namespace.clone()),
            (None, None) => Scope::All,
        }
    }

    /// The types of the request's objects, in this and in the other versions.
    pub fn versions<'a>(&'a self, own: &'a str) -> Option<Versions<'a>> {
        let (types, root) = self.kind.object_type()?;
        Some(Versions { types, root, own, rows: &self.versions })
    }

    /// The bytes that are stored for an object: its stored form, without its resource version, which the
    /// store keeps.
    pub fn stored(&self, object: &Value) -> Result<Vec<u8>, Status> {
        forms::stored(&self.kind, object)
    }

    /// Reads stored bytes back, in the request's version.
    pub fn loaded(&self, bytes: &[u8], revision: Revision) -> Result<Value, Status> {
        Ok(self.kind.own_form(forms::loaded(bytes, revision)?))
    }

    /// A cached object in the request's version.
    pub fn value(&self, object: &CachedObject) -> Result<Value, Status> {
        forms::shown_value(&self.kind, object)
    }

    /// 404 for the object in the path.
    pub fn not_found(&self) -> Status {
        Status::not_found(&self.kind.plural, &self.kind.group, self.name())
    }

    /// 409 for an object of this kind that others write.
    pub fn modified(&self, name: &str) -> Status {
        Status::modified(&self.kind.plural, &self.kind.group, name)
    }

    /// 422 for an object of this kind.
    pub fn invalid(&self, name: &str, errors: &api::field::Errors) -> Status {
        Status::invalid(&self.kind.kind, &self.kind.group, name, errors)
    }

    /// The name under which the caller's changes are recorded in `managedFields`.
    pub fn field_manager(&self) -> &str {
        if !self.query.field_manager.is_empty() {
            return &self.query.field_manager;
        }
        let agent = self.user_agent.split('/').next().unwrap_or("");
        if agent.is_empty() { "unknown" } else { agent }
    }

    /// The answer that carries one object, in the representation the caller wants.
    pub fn answer(&self, code: StatusCode, object: &Value) -> Response<Body> {
        let shaped;
        let object = match self.accept.form {
            Form::Object => object,
            Form::Metadata => {
                shaped = table::partial(self.accept.api_version, object);
                &shaped
            }
            Form::Table => {
                let (version, include) = (self.accept.api_version, self.query.include_object.as_deref());
                let cells = self.kind.cells(object, machinery::clock::now());
                shaped = table::of_one(version, self.kind.columns(), cells, object, include);
                &shaped
            }
        };
        if self.accept.yaml {
            return response::yaml(code, object);
        }
        response::json(code, object)
    }
}
