//! RuntimeClass: which way a node runs a pod's containers.

use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::{dns_label, each, immutable, label_map},
};
use k8s_openapi::api::node::v1::RuntimeClass;

use crate::{
    builtin::{
        defaults::canonical_list,
        pod::validation::{resources::container_resource, tolerations},
    },
    kind::{Column, Part, Strategy},
};

/// The rules of RuntimeClasses.
pub struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    type Object = RuntimeClass;

    const UNCONDITIONAL_UPDATE: bool = false;
    const CREATES_ON_UPDATE: bool = true;

    fn takes_plain_finalizers(&self) -> bool {
        true
    }

    fn default(&self, class: &mut RuntimeClass) {
        if let Some(overhead) = &mut class.overhead {
            canonical_list(&mut overhead.pod_fixed);
        }
    }

    fn validate(&self, class: &RuntimeClass, errors: &mut Errors) {
        each(errors, &Path::new("handler"), &class.handler, dns_label(&class.handler));
        for (name, wire) in class.overhead.iter().filter_map(|o| o.pod_fixed.as_ref()).flatten() {
            container_resource(name, wire, &Path::new("overhead.podFixed").key(name), errors);
        }
        if let Some(scheduling) = &class.scheduling {
            let at = Path::new("scheduling");
            label_map(scheduling.node_selector.as_ref(), &at.child("nodeSelector"), errors);
            let list = scheduling.tolerations.as_deref().unwrap_or_default();
            tolerations(list, &at.child("tolerations"), errors);
        }
    }

    fn validate_update(&self, new: &RuntimeClass, old: &RuntimeClass, _part: Part<'_>, errors: &mut Errors) {
        immutable(&new.handler, &old.handler, &Path::new("handler"), errors);
    }

    fn columns(&self) -> Vec<Column> {
        let handler = Column::text("Handler", "The name by which the node's runtime knows it.", |class| {
            class.str_at(&["handler"]).into()
        });
        vec![Column::name(), handler, Column::age()]
    }
}

#[cfg(test)]
mod tests;
