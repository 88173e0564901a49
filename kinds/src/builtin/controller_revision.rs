//! ControllerRevision: a snapshot of a controller's template, kept for going back.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{immutable, not_negative},
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::Value;

use crate::{
    builtin::cells::int,
    kind::{Column, Part, Strategy, cell},
};

/// The rules of ControllerRevisions.
pub struct ControllerRevisions;

impl Strategy for ControllerRevisions {
    type Object = ControllerRevision;

    fn validate(&self, revision: &ControllerRevision, errors: &mut Errors) {
        if revision.data.is_none() {
            errors.required(&Path::new("data"), "data is mandatory");
        }
        not_negative(Some(revision.revision), &Path::new("revision"), errors);
    }

    fn validate_update(
        &self,
        new: &ControllerRevision,
        old: &ControllerRevision,
        _part: Part<'_>,
        errors: &mut Errors,
    ) {
        self.validate(new, errors);
        immutable(&new.data, &old.data, &Path::new("data"), errors);
    }

    fn columns(&self) -> Vec<Column> {
        vec![
            Column::name(),
            Column::new("Controller", "string", "The object that the revision belongs to."),
            Column::new("Revision", "string", "The number of the revision."),
            Column::age(),
        ]
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let controller = object
            .list_at(&["metadata", "ownerReferences"])
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
