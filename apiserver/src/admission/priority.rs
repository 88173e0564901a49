//! The priority of pods follows from their class: the one they name, else the default one, else none. At most one
//! class is the default.

use api::{object::ObjectExt as _, status::Status};
use kinds::builtin::priority_class;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{context::Ctx, resources::PRIORITY_CLASSES, watch_cache::Scope};

const DEFAULT_POLICY: &str = "PreemptLowerPriority";

/// Fills in a new pod's priority.
///
/// # Errors
/// 403 for a class that does not exist, and for numbers that are not the class's.
pub async fn apply(ctx: &Ctx, pod: &mut Value) -> Result<(), Status> {
    let forbidden = |why: String| Status::forbidden("pods", "", pod.name(), why);
    let named = pod.str_at(&["spec", "priorityClassName"]);
    let class = if named.is_empty() {
        default_class(ctx, None)?
    } else {
        let why = format!("no PriorityClass with name {named} was found");
        Some(ctx.api.find(PRIORITY_CLASSES, named).await?.ok_or_else(|| forbidden(why))?)
    };
    let none = json!({"value": 0, "preemptionPolicy": DEFAULT_POLICY});
    let chosen = class.as_ref().unwrap_or(&none);
    let value = chosen.get("value").and_then(Value::as_i64).unwrap_or(0);
    let given = pod.at(&["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != value) {
        return Err(forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        )));
    }
    let policy = match chosen.str_at(&["preemptionPolicy"]) {
        "" => DEFAULT_POLICY,
        policy => policy,
    };
    let given = pod.str_at(&["spec", "preemptionPolicy"]);
    if !given.is_empty() && given != policy {
        return Err(forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        )));
    }
    let spec = &mut pod["spec"];
    if let Some(class) = &class {
        spec["priorityClassName"] = json!(class.name());
    }
    spec["priority"] = json!(value);
    spec["preemptionPolicy"] = json!(policy);
    Ok(())
}

/// Refuses the deletion of the system's own classes.
///
/// # Errors
/// 403.
pub fn delete(ctx: &Ctx, name: &str) -> Result<(), Status> {
    if PRIORITY_CLASSES.is(&ctx.kind) && priority_class::is_system(name) {
        let why = "this is a system priority class and cannot be deleted";
        return Err(Status::forbidden(PRIORITY_CLASSES.plural, PRIORITY_CLASSES.group, name, why));
    }
    Ok(())
}

/// Refuses a second default class.
///
/// # Errors
/// 403.
pub fn check_class(ctx: &Ctx, class: &Value) -> Result<(), Status> {
    if !PRIORITY_CLASSES.is(&ctx.kind) || class["globalDefault"] != json!(true) {
        return Ok(());
    }
    let Some(other) = default_class(ctx, Some(class.name()))? else { return Ok(()) };
    let why =
        format!("PriorityClass {} is already marked as default. Only one default can exist", other.name());
    Err(Status::forbidden(&ctx.kind.plural, &ctx.kind.group, class.name(), why))
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
fn default_class(ctx: &Ctx, but: Option<&str>) -> Result<Option<Value>, Status> {
    let mut found = None;
    for class in ctx.api.objects(PRIORITY_CLASSES).scan(&Scope::All, None) {
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
