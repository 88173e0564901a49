//! The priority of pods follows from their class: the one they name, else the default one, else none. At most one
//! class is the default, and the system's own stay.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use kinds::builtin::priority_class;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Operation, Step, Verb};
use crate::{
    Api,
    resources::{PODS, PRIORITY_CLASSES},
    watch_cache::Scope,
};

const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// The step.
pub struct Priority;

#[async_trait]
impl Step for Priority {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        match operation.verb {
            Verb::Create | Verb::Update => operation.is_of(PODS) || operation.is_of(PRIORITY_CLASSES),
            Verb::Delete => operation.is_of(PRIORITY_CLASSES),
            Verb::Connect => false,
        }
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        if operation.is_of(PRIORITY_CLASSES) {
            return Ok(());
        }
        match (operation.old, operation.new.as_deref_mut()) {
            (Some(old), Some(pod)) => {
                keep(pod, old);
                Ok(())
            }
            _ => apply(operation).await,
        }
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        if !operation.is_of(PRIORITY_CLASSES) {
            return Ok(());
        }
        match (operation.old, operation.new.as_deref()) {
            (Some(class), None) if priority_class::of_system(class.name()).is_some() => {
                Err(operation.forbidden("this is a system priority class and cannot be deleted"))
            }
            (_, Some(class)) if class["globalDefault"] == json!(true) => {
                let Some(other) = default_class(&operation.ctx.api, Some(class.name()))? else {
                    return Ok(());
                };
                Err(operation.forbidden(format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    other.name()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// A client that leaves the computed fields out does not mean to change them.
fn keep(new: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if new["spec"].get(field).is_none()
            && let Some(value) = old["spec"].get(field)
        {
            new["spec"][field] = value.clone();
        }
    }
}

/// Fills in a new pod's priority. Refuses a class that does not exist, and numbers that are not the class's.
async fn apply(operation: &mut Operation<'_>) -> Result<(), Status> {
    let (api, Some(pod)) = (&operation.ctx.api, operation.new.as_deref()) else { return Ok(()) };
    let named = pod.str_at(&["spec", "priorityClassName"]);
    let class = if named.is_empty() {
        default_class(api, None)?
    } else {
        let Some(class) = api.find(PRIORITY_CLASSES, named).await? else {
            return Err(operation.forbidden(format!("no PriorityClass with name {named} was found")));
        };
        Some(class)
    };
    let none = json!({"value": 0, "preemptionPolicy": DEFAULT_POLICY});
    let chosen = class.as_ref().unwrap_or(&none);
    let value = chosen.get("value").and_then(Value::as_i64).unwrap_or(0);
    let given = pod.at(&["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != value) {
        return Err(operation.forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        )));
    }
    let policy = match chosen.str_at(&["preemptionPolicy"]) {
        "" => DEFAULT_POLICY,
        policy => policy,
    };
    let given = pod.str_at(&["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        return Err(operation.forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        )));
    }
    let Some(pod) = operation.new.as_deref_mut() else { return Ok(()) };
    let spec = &mut pod["spec"];
    if let Some(class) = &class {
        spec["priorityClassName"] = json!(class.name());
    }
    spec["priority"] = json!(value);
    spec["preemptionPolicy"] = json!(policy);
    Ok(())
}

/// What decides between classes. Every new pod without a class asks all of them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rank {
    #[serde(default)]
    global_default: bool,
    value: i64,
}

/// The default class with the least value, one of them left out.
fn default_class(api: &Api, but: Option<&str>) -> Result<Option<Value>, Status> {
    let mut found = None;
    for class in api.objects(PRIORITY_CLASSES).scan(&Scope::All, None) {
        if but == Some(class.name()) {
            continue;
        }
        let rank: Rank = serde_json::from_slice(&class.json()).map_err(Status::internal)?;
        if rank.global_default && found.as_ref().is_none_or(|(least, _)| rank.value < *least) {
            found = Some((rank.value, class.json()));
        }
    }
    found.map(|(_, json)| serde_json::from_slice(&json).map_err(Status::internal)).transpose()
}
