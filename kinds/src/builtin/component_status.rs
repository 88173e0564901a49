//! ComponentStatus: whether a daemon of the control plane answers. Looked up when asked for, never kept.

use k8s_openapi::api::core::v1::ComponentStatus;

use crate::builtin::prelude::*;

impl Strategy for ComponentStatus {
    fn columns() -> Vec<Column> {
        fn says<'a>(component: &'a Value, field: &str) -> &'a str {
            let conditions = component.list_at(&["conditions"]);
            let health = conditions.iter().find(|c| c.str_at(&["type"]) == "Healthy");
            health.map_or("", |c| c.str_at(&[field]))
        }
        vec![
            Column::name(),
            Column::text("Status", "Healthy or Unhealthy.", |c| match says(c, "status") {
                "True" => "Healthy".into(),
                "False" => "Unhealthy".into(),
                _ => "Unknown".into(),
            }),
            Column::text("Message", "What the daemon says.", |c| says(c, "message").into()),
            Column::text("Error", "Why it cannot be asked.", |c| says(c, "error").into()),
        ]
    }
}
