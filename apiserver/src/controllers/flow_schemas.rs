//! Has requests served by the cluster's FlowSchemas and priority levels, and says of each FlowSchema whether the
//! level that it names exists (condition `Dangling`).
//!
//! Level-triggered: every change of either kind leads to a look at all of them. Upstream does this in the
//! configuration controller of `apiserver/pkg/util/flowcontrol`.

use std::sync::Arc;

use api::{conditions, object::ObjectExt as _, status::Status};
use serde_json::Value;

use super::{Left, statuses::tell};
use crate::{
    Api,
    resources::{BuiltIn, FLOW_SCHEMAS, PRIORITY_LEVELS},
    stamp::now,
    watch_cache::Scope,
};

/// What is looked at.
pub const FOLLOWED: [BuiltIn; 2] = [FLOW_SCHEMAS, PRIORITY_LEVELS];

/// Has requests served by all there is, and sets the conditions.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    let schemas = api.values(FLOW_SCHEMAS, &Scope::All)?;
    let levels = api.values(PRIORITY_LEVELS, &Scope::All)?;
    // Before the cluster's first objects are there, the server goes by what they will be.
    if !levels.is_empty() || !schemas.is_empty() {
        api.priority.set(&levels, &schemas);
    }
    let now = now();
    let manager = "api-priority-and-fairness-config-consumer-v1";
    tell(&api, FLOW_SCHEMAS, manager, |schema| {
        let exists = levels.iter().any(|level| level.name() == level_of(schema));
        told(schema, exists, &now)
    })
    .await?;
    Ok(Left::Nothing)
}

/// The level that a schema names.
fn level_of(schema: &Value) -> &str {
    schema.str_at(&["spec", "priorityLevelConfiguration", "name"])
}

/// The schema with its condition.
fn told(schema: &Value, exists: bool, now: &str) -> Value {
    let level = level_of(schema);
    let (reason, outcome) =
        if exists { ("Found", "and it exists") } else { ("NotFound", "but there is no such object") };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {outcome}");
    let mut schema = schema.clone();
    conditions::set_in(&mut schema, conditions::told("Dangling", !exists, reason, &message, now));
    schema
}

#[cfg(test)]
mod tests;
