//! What webhooks and expressions are told of an operation, and who answers what expressions ask about rights.

use std::sync::Arc;

use api::{account_token, status::Status};
use cel::{Decision, Question};
use kinds::{builtin::admission_registration::Given, kind::Kind};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{Operation, Verb};

use crate::{
    auth::{
        User,
        authorize::{Action, Authorizer},
        service_account,
    },
    resources::NAMESPACES,
};

impl Operation<'_> {
    /// What expressions see of the operation, the objects in the version `row`; its namespace and parameters are not known
    /// here.
    pub(super) fn given(&self, row: &Kind) -> Given {
        let shown = |object: &Value| self.shown(row, object);
        Given {
            object: self.new.as_deref().map_or(Value::Null, shown),
            old: self.old.map_or(Value::Null, shown),
            request: request(self, row),
            resource: Question {
                group: self.ctx.kind.group.to_string(),
                resource: self.ctx.kind.plural.to_string(),
                subresource: self.subresource().unwrap_or("").to_owned(),
                namespace: self.namespace().unwrap_or("").to_owned(),
                name: self.name.to_owned(),
                ..Question::default()
            },
            ..Given::default()
        }
    }

    /// The namespace that the object is in; null for one without.
    ///
    /// # Errors
    /// 404 when it is not there.
    pub(super) async fn namespace_object(&self) -> Result<Value, Status> {
        match &self.ctx.path.namespace {
            Some(name) if !NAMESPACES.is(&self.ctx.kind) => {
                let found = self.ctx.api.find(NAMESPACES, name).await?;
                found.ok_or_else(|| Status::not_found("namespaces", "", name))
            }
            _ => Ok(Value::Null),
        }
    }
}

/// Evaluates expressions where they hold nobody up: they may take a second. Not in the lanes of `http::apart`: a large
/// write that holds one of those would wait for another.
pub(super) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
    spawn_blocking(work).await.map_err(Status::internal)
}

/// An AdmissionRequest without its uid and objects, as a webhook is told that is about `row`, a version of the operation's
/// resource.
pub(super) fn request(operation: &Operation<'_>, row: &Kind) -> Value {
    let own = &operation.ctx.kind;
    let kind = |row: &Kind| {
        let (group, version, kind) = operation.gvk(row);
        json!({"group": group, "version": version, "kind": kind})
    };
    let resource = |row: &Kind| json!({"group": row.group, "version": row.version, "resource": row.plural});
    let mut request = json!({
        "kind": kind(row),
        "resource": resource(row),
        "requestKind": kind(own),
        "requestResource": resource(own),
        "operation": operation.verb.as_str(),
        "userInfo": operation.ctx.user.fields(),
        "dryRun": operation.dry_run,
        "options": options(operation),
    });
    for (field, value) in [
        ("subResource", operation.subresource()),
        ("requestSubResource", operation.subresource()),
        ("name", Some(operation.object_name()).filter(|name| !name.is_empty())),
        ("namespace", operation.namespace()),
    ] {
        if let Some(value) = value {
            request[field] = value.into();
        }
    }
    request
}

/// The options of the request, as an object.
fn options(operation: &Operation<'_>) -> Value {
    let kind = match operation.verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Delete => "DeleteOptions",
        Verb::Connect => return Value::Null,
    };
    let query = &operation.ctx.query;
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    let mut put = |field: &str, value: Value| {
        if !value.is_null() {
            options[field] = value;
        }
    };
    if operation.dry_run {
        put("dryRun", json!(["All"]));
    }
    match operation.options {
        Some(said) => {
            put("gracePeriodSeconds", json!(said.grace_period_seconds));
            put("propagationPolicy", json!(said.propagation_policy));
            put("orphanDependents", json!(said.orphan_dependents));
            let wanted = said.preconditions.as_ref();
            let (uid, version) = wanted.map(|w| (&w.uid, &w.resource_version)).unzip();
            let said = [("uid", uid.cloned().flatten()), ("resourceVersion", version.cloned().flatten())];
            let said = said.into_iter().filter_map(|(field, value)| Some((field.to_owned(), json!(value?))));
            let said: serde_json::Map<String, Value> = said.collect();
            put("preconditions", if said.is_empty() { Value::Null } else { Value::Object(said) });
        }
        None => {
            put("fieldManager", json!(Some(&query.field_manager).filter(|manager| !manager.is_empty())));
            put("fieldValidation", json!(query.all.get("fieldValidation")));
        }
    }
    options
}

/// Answers for the user whose request it is.
pub(super) struct Asker {
    user: User,
    authorizer: Arc<Authorizer>,
}

impl Asker {
    /// One for the user of an operation.
    pub fn of(operation: &Operation<'_>) -> Self {
        Self { user: operation.ctx.user.clone(), authorizer: operation.ctx.api.authorizer.clone() }
    }
}

impl cel::Authorizer for Asker {
    fn decide(&self, question: &Question) -> Decision {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let mut groups = service_account::groups(namespace);
            groups.push("system:authenticated".into());
            User { name: account_token::subject(namespace, name), groups, ..User::default() }
        });
        let verb = question.verb.to_lowercase();
        let action = match &question.path {
            Some(path) => Action::Path { verb: &verb, path },
            None => Action::Resource {
                verb: &question.verb,
                group: &question.group,
                resource: &question.resource,
                subresource: &question.subresource,
                namespace: &question.namespace,
                name: &question.name,
                fields: None,
            },
        };
        let decision = self.authorizer.authorize(account.as_ref().unwrap_or(&self.user), &action);
        Decision { allowed: decision.allowed, reason: decision.reason, error: None }
    }
}
