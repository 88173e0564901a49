//! VolumeAttachment: a volume that is to be attached to a node.

use k8s_openapi::api::storage::v1::VolumeAttachment;

use crate::builtin::{pod::validation::csi_driver, prelude::*};

impl Strategy for VolumeAttachment {
    const FACTS: Facts = Facts { updates_unconditionally: false, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        self.status.get_or_insert_default();
    }

    fn prepare_create(attachment: &mut Draft<Self>) {
        attachment.status = Some(Default::default());
    }

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec");
        let spec = &self.spec;
        csi_driver(&spec.attacher, &at.child("attacher"), errors);
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
                }
            }
            (None, Some(_)) => {}
        }
        each(errors, &at.child("nodeName"), &spec.node_name, dns_subdomain(&spec.node_name));
        if let Some(name) = &spec.source.persistent_volume_name {
            each(errors, &source_at.child("persistentVolumeName"), name, dns_subdomain(name));
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
    }

    fn columns() -> Vec<Column> {
        let mut attacher = Column::field("Attacher", "What attaches the volume.", &["spec", "attacher"]);
        attacher.format = "name".into();
        vec![
            Column::name(),
            attacher,
            Column::field("PV", "The volume.", &["spec", "source", "persistentVolumeName"]),
            Column::field("Node", "The node.", &["spec", "nodeName"]),
            Column::flag("Attached", "Whether the volume is attached.", |attachment| {
                attachment.at(&["status", "attached"]).cloned().unwrap_or(Value::Bool(false))
            }),
            Column::age(),
        ]
    }
}

#[cfg(test)]
mod tests;
