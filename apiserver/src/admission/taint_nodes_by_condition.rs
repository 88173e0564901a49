//! New nodes take no pods before they are ready: the controller `node_lifecycle` takes the taint off.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step};
use crate::resources::NODES;

/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// The step.
pub struct TaintNodesByCondition;

#[async_trait]
impl Step for TaintNodesByCondition {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.creates(NODES)
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        if let Some(node) = operation.new.as_deref_mut() {
            taint(node);
        }
        Ok(())
    }
}

fn taint(node: &mut Value) {
    if let Some(taints) = node["spec"]["taints"].as_array_mut() {
        let is_there = |t: &Value| t.str_at(&["key"]) == NOT_READY && t.str_at(&["effect"]) == "NoSchedule";
        if !taints.iter().any(is_there) {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
    } else {
        node["spec"]["taints"] = json!([{"key": NOT_READY, "effect": "NoSchedule"}]);
    }
}
