//! Has requests served by the cluster's FlowSchemas and priority levels, and says of each FlowSchema whether the
//! level that it names exists (condition `Dangling`).
//!
//! Level-triggered: every change of either kind leads to a look at all of them. Upstream does this in the
//! configuration controller of `apiserver/pkg/util/flowcontrol`.

use std::sync::Arc;

use api::{kind::Part, object::ObjectExt as _, status::Status};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Left;
use crate::{
    Api,
    verbs::{Ctx, update},
    watch_cache::{Resource, Scope},
};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const SCHEMAS: &str = "/registry/flowcontrol.apiserver.k8s.io/flowschemas/";
const LEVELS: &str = "/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";

/// What is looked at.
pub const FOLLOWED: &[&str] = &[SCHEMAS, LEVELS];

/// Has requests served by all there is, and sets the conditions.
pub async fn look(api: Arc<Api>) -> Result<Left, Status> {
    let (Some(schemas), Some(levels)) = (api.cache.resource(SCHEMAS), api.cache.resource(LEVELS)) else {
        return Ok(Left::Nothing);
    };
    heed(&api, &schemas, &levels);
    sweep(&api, &schemas, &levels).await?;
    Ok(Left::Nothing)
}

/// Serves by what there is from now on.
fn heed(api: &Api, schemas: &Resource, levels: &Resource) {
    let objects = |resource: &Resource| -> Vec<Value> {
        let snapshot = resource.snapshot();
        let all = snapshot.objects.scan(&Scope::All, None);
        all.filter_map(|object| serde_json::from_slice(&object.json()).ok()).collect()
    };
    let (levels, schemas) = (objects(levels), objects(schemas));
    // Before the cluster's first objects are there, the server goes by what they will be.
    if !levels.is_empty() || !schemas.is_empty() {
        api.priority.set(&levels, &schemas);
    }
}

async fn sweep(api: &Arc<Api>, schemas: &Resource, levels: &Resource) -> Result<(), Status> {
    for schema in schemas.snapshot().objects.scan(&Scope::All, None) {
        let object: Value = serde_json::from_slice(&schema.json()).map_err(Status::internal)?;
        let level = object.str_at(&["spec", "priorityLevelConfiguration", "name"]);
        let Some(condition) = dangling(&object, levels.get(level).is_some(), Timestamp::now()) else {
            continue;
        };
        let mut ctx =
            Ctx::internal(api, (GROUP, "v1", "flowschemas"), None, Some(object.name()))?.at_status();
        ctx.query.field_manager = "api-priority-and-fairness-config-consumer-v1".into();
        let expected = update::Expected { uid: Some(object.uid().to_owned()), revision: None };
        let written = update::write(&ctx, Part::Status, expected, &mut Vec::new(), |current| {
            Ok(with_condition(current, &condition))
        })
        .await;
        match written {
            Ok(_) => {}
            // It was deleted, or made anew: the next look is about that one.
            Err(status) if matches!(status.code, 404 | 409) => {}
            Err(status) => return Err(status),
        }
    }
    Ok(())
}

/// The condition that the schema should have, if it has another.
fn dangling(schema: &Value, exists: bool, at: Timestamp) -> Option<Value> {
    let level = schema.str_at(&["spec", "priorityLevelConfiguration", "name"]);
    let (status, reason, outcome) = if exists {
        ("False", "Found", "and it exists")
    } else {
        ("True", "NotFound", "but there is no such object")
    };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {outcome}");
    let present = schema.at(&["status", "conditions"]).and_then(Value::as_array);
    let present = present.into_iter().flatten().find(|c| c["type"] == "Dangling");
    if present.is_some_and(|c| c["status"] == status && c["message"] == message.as_str()) {
        return None;
    }
    let since = match present {
        Some(present) if present["status"] == status => present["lastTransitionTime"].clone(),
        _ => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
    };
    Some(json!({
        "type": "Dangling", "status": status, "reason": reason, "message": message, "lastTransitionTime": since,
    }))
}

fn with_condition(schema: &Value, condition: &Value) -> Value {
    let mut schema = schema.clone();
    let all = schema.at(&["status", "conditions"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let others = all.into_iter().filter(|c| c["type"] != condition["type"]);
    schema["status"]["conditions"] = others.chain([condition.clone()]).collect();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_written_when_it_says_something_else() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let mut schema = json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}, "status": {
            "conditions": [{"type": "Other"}]}});
        let missing = dangling(&schema, false, at(0)).expect("it has none yet");
        assert_eq!((&missing["status"], &missing["reason"]), (&json!("True"), &json!("NotFound")));
        schema = with_condition(&schema, &missing);
        assert_eq!(schema["status"]["conditions"].as_array().map(Vec::len), Some(2));
        assert_eq!(dangling(&schema, false, at(5)), None);
        let found = dangling(&schema, true, at(5)).expect("the level is there now");
        assert_eq!(found["lastTransitionTime"], "1970-01-01T00:00:05Z");
        schema = with_condition(&schema, &found);
        assert_eq!(schema["status"]["conditions"].as_array().map(Vec::len), Some(2));
        schema["spec"]["priorityLevelConfiguration"]["name"] = json!("m");
        let renamed = dangling(&schema, true, at(9)).expect("it names another level");
        assert_eq!(renamed["lastTransitionTime"], "1970-01-01T00:00:05Z");
    }
}
