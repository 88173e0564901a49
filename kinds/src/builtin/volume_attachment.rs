//! VolumeAttachment: a volume that is to be attached to a node.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{dns_subdomain, each, immutable, qualified_name},
};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use serde_json::Value;

use crate::kind::{Column, Draft, Part, Strategy};

/// The rules of attachments.
pub struct VolumeAttachments;

impl Strategy for VolumeAttachments {
    type Object = VolumeAttachment;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(&self, attachment: &mut VolumeAttachment) {
        attachment.status.get_or_insert_default();
    }

    fn prepare_create(&self, attachment: &mut Draft<VolumeAttachment>) {
        attachment.status = Some(Default::default());
    }

    fn validate(&self, attachment: &VolumeAttachment, errors: &mut Errors) {
        let at = Path::new("spec");
        let spec = &attachment.spec;
        if spec.attacher.is_empty() {
            errors.required(&at.child("attacher"), "");
        } else {
            let wrong = qualified_name(&spec.attacher.to_lowercase());
            each(errors, &at.child("attacher"), &spec.attacher, wrong);
        }
        let source_at = at.child("source");
        match (&spec.source.persistent_volume_name, &spec.source.inline_volume_spec) {
            (None, None) => {
                errors.required(
                    &source_at,
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                );
            }
            (Some(_), Some(_)) => {
                errors.forbidden(
                    &source_at,
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                );
            }
            (Some(name), None) => {
                if name.is_empty() {
                    errors.required(
                        &source_at.child("persistentVolumeName"),
                        "must specify non empty persistentVolumeName",
                    );
                } else {
                    each(errors, &source_at.child("persistentVolumeName"), name, dns_subdomain(name));
                }
            }
            (None, Some(_)) => {}
        }
        each(errors, &at.child("nodeName"), &spec.node_name, dns_subdomain(&spec.node_name));
    }

    fn validate_update(
        &self,
        new: &VolumeAttachment,
        old: &VolumeAttachment,
        _part: Part<'_>,
        errors: &mut Errors,
    ) {
        self.validate(new, errors);
        immutable(&new.spec, &old.spec, &Path::new("spec"), errors);
    }

    fn columns(&self) -> Vec<Column> {
        let text = |name, words, path: &'static [&'static str]| {
            Column::text(name, words, move |attachment| attachment.str_at(path).into())
        };
        let mut attacher = text("Attacher", "What attaches the volume.", &["spec", "attacher"]);
        attacher.format = "name".into();
        vec![
            Column::name(),
            attacher,
            text("PV", "The volume.", &["spec", "source", "persistentVolumeName"]),
            text("Node", "The node.", &["spec", "nodeName"]),
            Column::flag("Attached", "Whether the volume is attached.", |attachment| {
                attachment.at(&["status", "attached"]).cloned().unwrap_or(Value::Bool(false))
            }),
            Column::age(),
        ]
    }
}

#[cfg(test)]
mod tests;
