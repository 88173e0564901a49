//! Pods carry the zone and the region of the node that they are put on as labels of their own.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Operation, Step, Verb};
use crate::resources::{NODES, PODS};

const LABELS: &[&str] = &["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// The step.
pub struct PodTopologyLabels;

#[async_trait]
impl Step for PodTopologyLabels {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.verb == Verb::Create
            && PODS.is(&operation.ctx.kind)
            && matches!(operation.subresource(), None | Some("binding"))
    }

    async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let Some(new) = operation.new.as_deref_mut() else { return Ok(()) };
        let node = match new.at(&["target", "kind"]).and_then(Value::as_str) {
            Some("Node") => new.str_at(&["target", "name"]),
            _ => new.str_at(&["spec", "nodeName"]),
        };
        let Some(node) = operation.ctx.api.cached(NODES, node) else { return Ok(()) };
        let present = LABELS.iter().filter_map(|label| Some((*label, node.label(label)?)));
        for (label, value) in present {
            let labels = new.metadata_mut().entry("labels").or_insert(Value::Null);
            if !labels.is_object() {
                *labels = json!({});
            }
            labels[label] = value.into();
        }
        Ok(())
    }
}
