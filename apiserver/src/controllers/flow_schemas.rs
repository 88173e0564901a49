//! Has requests served by the cluster's FlowSchemas and priority levels, and says of each FlowSchema whether the
//! level that it names exists (condition `Dangling`).
//!
//! Level-triggered: every change of either kind leads to a look at all of them. Upstream does this in the
//! configuration controller of `apiserver/pkg/util/flowcontrol`.

use std::sync::Arc;

use api::{conditions, kind::Part, object::ObjectExt as _, status::Status};
use serde_json::Value;

use super::Left;
use crate::{
    Api,
    verbs::{Ctx, now, update},
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
        let exists = levels.get(level).is_some();
        let now = now();
        if told(&object, exists, &now) == object {
            continue;
        }
        let mut ctx =
            Ctx::internal(api, (GROUP, "v1", "flowschemas"), None, Some(object.name()))?.at_status();
        ctx.query.field_manager = "api-priority-and-fairness-config-consumer-v1".into();
        let expected = update::Expected { uid: Some(object.uid().to_owned()), revision: None };
        let written = update::write(&ctx, Part::Status, expected, &mut Vec::new(), |current| {
            Ok(told(current, exists, &now))
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

/// The schema with its condition.
fn told(schema: &Value, exists: bool, now: &str) -> Value {
    let level = schema.str_at(&["spec", "priorityLevelConfiguration", "name"]);
    let (reason, outcome) =
        if exists { ("Found", "and it exists") } else { ("NotFound", "but there is no such object") };
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {outcome}");
    let mut schema = schema.clone();
    conditions::set_in(&mut schema, conditions::told("Dangling", !exists, reason, &message, now));
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_is_written_when_it_says_something_else() {
        let schema = json!({"spec": {"priorityLevelConfiguration": {"name": "l"}}, "status": {
            "conditions": [{"type": "Other"}]}});
        let missing = told(&schema, false, "0");
        let condition = &missing["status"]["conditions"][1];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("NotFound")));
        assert_eq!(told(&missing, false, "5"), missing);
        let mut found = told(&missing, true, "5");
        assert_eq!(found["status"]["conditions"][1]["lastTransitionTime"], "5");
        assert_eq!(found["status"]["conditions"].as_array().map(Vec::len), Some(2));
        found["spec"]["priorityLevelConfiguration"]["name"] = json!("m");
        let renamed = told(&found, true, "9");
        assert_ne!(renamed, found);
        assert_eq!(renamed["status"]["conditions"][1]["lastTransitionTime"], "5");
    }
}
