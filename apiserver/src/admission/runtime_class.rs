//! What a RuntimeClass adds to the pods that name it: what its runtime costs, and where it is.
//!
//! Counterpart of upstream's admission plugin RuntimeClass.

use api::{object::ObjectExt as _, status::Status};
use serde_json::{Value, json};

use crate::verbs::{Ctx, loaded, store_failed};

const CLASSES: &str = "/registry/node.k8s.io/runtimeclasses/";

/// Completes a new pod.
///
/// # Errors
/// 403 for a class that does not exist, and for what contradicts it.
pub async fn apply(ctx: &Ctx, pod: &mut Value) -> Result<(), Status> {
    let name = pod.str_at(&["spec", "runtimeClassName"]).to_owned();
    let class = if name.is_empty() { None } else { Some(find(ctx, &name).await?) };
    let class = match class {
        Some(None) => Err(format!("pod rejected: RuntimeClass {name:?} not found")),
        other => Ok(other.flatten()),
    };
    let outcome = class.and_then(|class| merge(class.as_ref(), pod));
    outcome.map_err(|why| Status::forbidden("pods", "", pod.name(), why))
}

async fn find(ctx: &Ctx, name: &str) -> Result<Option<Value>, Status> {
    if let Some(class) = ctx.api.cached(CLASSES, name) {
        return serde_json::from_slice(&class.json()).map(Some).map_err(Status::internal);
    }
    // The cache may lag behind the creation of the class.
    let stored = ctx.api.store.get(&format!("{CLASSES}{name}")).await.map_err(store_failed)?;
    stored.map(|found| loaded(&found.value, found.revision)).transpose()
}

/// Adds a class's part to a pod, or says what contradicts it.
fn merge(class: Option<&Value>, pod: &mut Value) -> Result<(), String> {
    let given = pod.at(&["spec", "overhead"]).filter(|o| !o.is_null()).cloned();
    match (class.and_then(|c| c.at(&["overhead", "podFixed"])), given) {
        (Some(cost), Some(given)) if *cost != given => {
            return Err("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead".into());
        }
        (Some(cost), _) => pod["spec"]["overhead"] = cost.clone(),
        (None, Some(given)) if given.as_object().is_some_and(|o| !o.is_empty()) => {
            return Err(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead".into()
            );
        }
        (None, _) => {}
    }
    let Some(scheduling) = class.and_then(|c| c.get("scheduling")) else { return Ok(()) };
    for (key, value) in scheduling.get("nodeSelector").and_then(Value::as_object).into_iter().flatten() {
        let selector = &mut pod["spec"]["nodeSelector"];
        if let Some(given) = selector.get(key).filter(|given| *given != value) {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            let (wanted, given) = (text(value), text(given));
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {given}"
            ));
        }
        selector[key] = value.clone();
    }
    let more = scheduling.get("tolerations").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    for toleration in more {
        if !all.contains(&toleration) {
            all.push(toleration);
        }
    }
    if !all.is_empty() {
        pod["spec"]["tolerations"] = json!(all);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_adds_its_cost_and_its_place() {
        let class = json!({"overhead": {"podFixed": {"cpu": "1m"}}, "scheduling": {
            "nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]}});
        let mut pod = json!({"spec": {"nodeSelector": {"c": "d"}, "tolerations": [{"key": "k"}]}});
        assert_eq!(merge(Some(&class), &mut pod), Ok(()));
        assert_eq!(
            pod["spec"],
            json!({"overhead": {"cpu": "1m"}, "nodeSelector": {"a": "b", "c": "d"}, "tolerations": [{"key": "k"}]})
        );
        for (class, spec, why) in [
            (Some(&class), json!({"overhead": {"cpu": "2m"}}), "Overhead doesn't match"),
            (
                Some(&class),
                json!({"nodeSelector": {"a": "x"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[a] = b",
            ),
            (None, json!({"overhead": {"cpu": "2m"}}), "without corresponding RuntimeClass"),
        ] {
            let said = merge(class, &mut json!({ "spec": spec }));
            assert!(said.as_ref().is_err_and(|e| e.contains(why)), "{said:?}");
        }
    }
}
