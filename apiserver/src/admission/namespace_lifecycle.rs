//! Objects are only made in namespaces that exist and are not on their way out; some namespaces stay.

use api::{
    object::ObjectExt as _,
    status::{Cause, Status},
};
use async_trait::async_trait;

use super::{Operation, Step, Verb};
use crate::resources::{LOCAL_SUBJECT_ACCESS_REVIEWS, NAMESPACES};

/// Namespaces that nobody may delete.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// The step.
pub struct NamespaceLifecycle;

#[async_trait]
impl Step for NamespaceLifecycle {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        match operation.verb {
            // Who asks what somebody may do there is not told whether the namespace is.
            Verb::Create => {
                operation.ctx.path.namespace.is_some() && !operation.is_of(LOCAL_SUBJECT_ACCESS_REVIEWS)
            }
            Verb::Delete => operation.is_of(NAMESPACES),
            Verb::Update | Verb::Connect => false,
        }
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        match operation.old {
            Some(namespace) if IMMORTAL.contains(&namespace.name()) => {
                Err(operation.forbidden("this namespace may not be deleted"))
            }
            Some(_) => Ok(()),
            None => create(operation).await,
        }
    }
}

/// Refuses creation in a namespace that is missing or terminating.
async fn create(operation: &Operation<'_>) -> Result<(), Status> {
    let ctx = operation.ctx;
    let Some(name) = ctx.path.namespace.as_deref() else { return Ok(()) };
    // Each creation comes by here: the cache knows the phase without decoding the namespace.
    let terminating = match ctx.api.cached(NAMESPACES, name) {
        Some(namespace) => namespace.field("status.phase") == Some("Terminating"),
        None => {
            let namespace = ctx.api.stored(NAMESPACES, name).await?;
            namespace.ok_or_else(|| Status::not_found("namespaces", "", name))?.is_deleting()
        }
    };
    if !terminating {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut status = operation.forbidden(why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {name} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    Err(status)
}
