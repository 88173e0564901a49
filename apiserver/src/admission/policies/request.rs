//! What expressions are told of an operation, and who answers what they ask about rights.

use api::status::Status;
use cel::{Authorizer, Decision, Question};
use kinds::{builtin::admission_registration::Given, kind::Kind};
use serde_json::Value;

use crate::{
    admission::{Operation, webhook},
    auth::{
        User,
        authorize::{Action, authorize},
        service_account,
    },
    resources::NAMESPACES,
};

impl Operation<'_> {
    /// What expressions see of the operation, the objects in the version `row`; parameters are not known here.
    ///
    /// # Errors
    /// 404 when its namespace is not there.
    pub(super) async fn given(&self, row: &Kind) -> Result<Given, Status> {
        let shown = |object: &Value| self.shown(row, object);
        let namespace = match &self.ctx.path.namespace {
            Some(name) if !NAMESPACES.is(&self.ctx.kind) => {
                let found = self.ctx.api.find(NAMESPACES, name).await?;
                found.ok_or_else(|| Status::not_found("namespaces", "", name))?
            }
            _ => Value::Null,
        };
        Ok(Given {
            object: self.new.as_deref().map_or(Value::Null, shown),
            old: self.old.map_or(Value::Null, shown),
            request: webhook::request(self, row),
            namespace,
            params: Value::Null,
            resource: Question {
                group: self.ctx.kind.group.to_string(),
                resource: self.ctx.kind.plural.to_string(),
                subresource: self.subresource().unwrap_or("").to_owned(),
                namespace: self.namespace().unwrap_or("").to_owned(),
                name: self.name.to_owned(),
                ..Question::default()
            },
        })
    }
}

/// Answers for the user whose request it is.
pub(super) struct Asker(pub User);

impl Authorizer for Asker {
    fn decide(&self, question: &Question) -> Decision {
        let account = question.service_account.as_ref().map(|(namespace, name)| {
            let mut groups = service_account::groups(namespace);
            groups.push("system:authenticated".into());
            User { name: format!("system:serviceaccount:{namespace}:{name}"), groups, ..User::default() }
        });
        let resource = match question.subresource.as_str() {
            "" => question.resource.clone(),
            subresource => format!("{}/{subresource}", question.resource),
        };
        let verb = question.verb.to_lowercase();
        let action = match &question.path {
            Some(path) => Action::Path { verb: &verb, path },
            None => Action::Resource {
                verb: &question.verb,
                group: &question.group,
                resource: &resource,
                namespace: &question.namespace,
                name: &question.name,
            },
        };
        let decision = authorize(account.as_ref().unwrap_or(&self.0), &action);
        Decision { allowed: decision.allowed, reason: decision.reason.into(), error: None }
    }
}
