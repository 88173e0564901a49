//! ComponentStatus: whether a daemon of the control plane answers. Looked up when asked for, never kept.

use api::object::ObjectExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ComponentStatus;
use serde_json::Value;

use crate::kind::{Column, Strategy, cell};

/// The rules of ComponentStatuses.
pub struct ComponentStatuses;

impl Strategy for ComponentStatuses {
    type Object = ComponentStatus;

    fn columns(&self) -> Vec<Column> {
        let text = |name, words| Column::new(name, "string", words);
        vec![
            Column::name(),
            text("Status", "Healthy or Unhealthy."),
            text("Message", "What the daemon says."),
            text("Error", "Why it cannot be asked."),
        ]
    }

    fn cells(&self, component: &Value, _now: Timestamp) -> Vec<Value> {
        let conditions = component.list_at(&["conditions"]);
        let health = conditions.iter().find(|c| c.str_at(&["type"]) == "Healthy");
        let says = |field: &str| health.map_or("", |c| c.str_at(&[field]));
        let status = match says("status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        vec![cell::name(component), status.into(), says("message").into(), says("error").into()]
    }
}
