//! ControllerRevision: a snapshot of a controller's template, kept for going back.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

use crate::{
    kind::{Column, Strategy, cell},
    kinds::cells::{int, list},
    object::ObjectExt,
};

/// The rules of ControllerRevisions.
pub struct ControllerRevisions;

impl Strategy for ControllerRevisions {
    type Object = ControllerRevision;

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Controller", "string", "The object that the revision belongs to."),
            Column::new("Revision", "string", "The number of the revision."),
            Column::age(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let controller = list(object, &["metadata", "ownerReferences"])
            .iter()
            .find(|r| r.at(&["controller"]) == Some(&Value::Bool(true)))
            .map_or_else(
                || "<none>".to_owned(),
                |r| {
                    let kind = r.str_at(&["kind"]).to_lowercase();
                    let name = r.str_at(&["name"]);
                    match r.str_at(&["apiVersion"]).split_once('/') {
                        Some((group, _)) => format!("{kind}.{group}/{name}"),
                        None => format!("{kind}/{name}"),
                    }
                },
            );
        vec![cell::name(object), controller.into(), int(object, &["revision"]).into(), cell::age(object, now)]
    }
}
