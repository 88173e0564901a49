//! What bounds how long pods outlive their node.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step, Verb};
use crate::resources::PODS;

/// Seconds a pod stays on a node that is not ready or not reachable, unless it says otherwise.
const TOLERATION_SECONDS: i64 = 300;

/// The step.
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Step for DefaultTolerationSeconds {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        matches!(operation.verb, Verb::Create | Verb::Update) && operation.is_of(PODS)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        if let Some(pod) = operation.new.as_deref_mut() {
            tolerations(pod);
        }
        Ok(())
    }
}

/// Adds the tolerations that a pod does not say itself.
fn tolerations(pod: &mut Value) {
    let present = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = present.clone();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covered = present.iter().any(|t| {
            let fits =
                |field: &str, wanted: &str| t.str_at(&[field]).is_empty() || t.str_at(&[field]) == wanted;
            fits("key", key) && fits("effect", "NoExecute")
        });
        if !covered {
            all.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    pod["spec"]["tolerations"] = all.into();
}
