//! ControllerRevision: a snapshot of a controller's template, kept for going back.

use k8s_openapi::api::apps::v1::ControllerRevision;

use crate::builtin::prelude::*;

impl Strategy for ControllerRevision {
    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("data");
        match self.data.as_ref().map(|data| &data.0) {
            None | Some(Value::Null) => errors.required(&at, "data is mandatory"),
            Some(data) if !data.is_object() => errors.required(&at, "data must be a valid JSON object"),
            Some(_) => {}
        }
        not_negative(Some(self.revision), &Path::new("revision"), errors);
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        not_negative(Some(self.revision), &Path::new("revision"), errors);
        immutable(&self.data, &old.data, &Path::new("data"), errors);
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::text("Controller", "The object that the revision belongs to.", |revision| {
                let mut owners = revision.list_at(&["metadata", "ownerReferences"]).iter();
                let Some(owner) = owners.find(|r| r.at(&["controller"]) == Some(&Value::Bool(true))) else {
                    return "<none>".into();
                };
                let (kind, name) = (owner.str_at(&["kind"]).to_lowercase(), owner.str_at(&["name"]));
                match owner.str_at(&["apiVersion"]).split_once('/') {
                    Some((group, _)) => format!("{kind}.{group}/{name}").into(),
                    None => format!("{kind}/{name}").into(),
                }
            }),
            Column::text("Revision", "The number of the revision.", |r| int(r, &["revision"]).into()),
            Column::age(),
        ]
    }
}
