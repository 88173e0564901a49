//! RuntimeClass: which way a node runs a pod's containers.

use k8s_openapi::api::node::v1::RuntimeClass;

use crate::builtin::pod::{
    validation::{resources::container_resource, tolerations},
    warnings::deprecated_label,
};
use crate::builtin::prelude::*;

impl Strategy for RuntimeClass {
    const FACTS: Facts = Facts {
        updates_unconditionally: false,
        creates_on_update: true,
        takes_plain_finalizers: true,
        ..Facts::PLAIN
    };

    fn fill_in(&mut self) {
        if let Some(overhead) = &mut self.overhead {
            canonical_list(&mut overhead.pod_fixed);
        }
    }

    fn validate(&self, errors: &mut Errors) {
        formed(&self.handler, dns_label, &Path::new("handler"), errors);
        for (name, wire) in self.overhead.iter().filter_map(|o| o.pod_fixed.as_ref()).flatten() {
            container_resource(name, wire, &Path::new("overhead.podFixed").key(name), errors);
        }
        if let Some(scheduling) = &self.scheduling {
            let at = Path::new("scheduling");
            label_map(scheduling.node_selector.as_ref(), &at.child("nodeSelector"), errors);
            let list = scheduling.tolerations.as_deref().unwrap_or_default();
            tolerations(list, &at.child("tolerations"), errors);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        immutable(&self.handler, &old.handler, &Path::new("handler"), errors);
    }

    fn warnings(&self, _old: Option<&Self>) -> Vec<String> {
        let labels = self.scheduling.iter().flat_map(|on| on.node_selector.iter().flatten());
        let why = labels.filter_map(|(label, _)| deprecated_label(label));
        why.map(|why| format!("scheduling.nodeSelector: {why}")).collect()
    }

    fn columns() -> Vec<Column> {
        let handler =
            Column::field("Handler", "The name by which the node's runtime knows it.", &["handler"]);
        vec![Column::name(), handler, Column::age()]
    }
}

#[cfg(test)]
mod tests;
