//! RuntimeClass: which way a node runs a pod's containers.

use std::collections::BTreeSet;

use k8s_openapi::api::{core::v1::Toleration, node::v1::RuntimeClass};
use serde::Serialize;

use crate::builtin::pod::{
    validation::{resources::container_resource, tolerations},
    warnings::deprecated_label,
};
use crate::builtin::prelude::*;

/// A toleration as upstream shows one that comes again.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    key: &'a str,
    operator: &'a str,
    value: &'a str,
    effect: &'a str,
    toleration_seconds: Option<i64>,
}

impl<'a> From<&'a Toleration> for Shown<'a> {
    fn from(one: &'a Toleration) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self {
            key: text(&one.key),
            operator: text(&one.operator),
            value: text(&one.value),
            effect: text(&one.effect),
            toleration_seconds: one.toleration_seconds,
        }
    }
}

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
            let at = at.child("tolerations");
            tolerations(list, &at, errors);
            let mut seen = BTreeSet::new();
            for (at, one) in at.items(list) {
                let shown = Shown::from(one);
                if !seen.insert((shown.key, shown.operator, shown.value, shown.effect)) {
                    errors.duplicate(&at, shown);
                }
            }
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
