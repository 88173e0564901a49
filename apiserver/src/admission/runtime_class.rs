//! What a RuntimeClass adds to the pods that name it: what its runtime costs, and where it is.

use api::{Message, message, object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step};
use crate::resources::{PODS, RUNTIME_CLASSES};

/// The step.
pub struct RuntimeClass;

#[async_trait]
impl Step for RuntimeClass {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.creates(PODS)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let Some(pod) = operation.new.as_deref_mut() else { return Ok(()) };
        let name = pod.str_at(&["spec", "runtimeClassName"]).to_owned();
        let class = match name.as_str() {
            "" => None,
            name => operation.ctx.api.find(RUNTIME_CLASSES, name).await?,
        };
        let outcome = if class.is_none() && !name.is_empty() {
            Err(message!("pod rejected: RuntimeClass {name:?} not found"))
        } else {
            merge(class.as_ref(), pod)
        };
        outcome.map_err(|why| operation.forbidden(why))
    }
}

/// Adds a class's part to a pod, or says what contradicts it.
fn merge(class: Option<&Value>, pod: &mut Value) -> Result<(), Message> {
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
            return Err(message!(
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
mod tests;
