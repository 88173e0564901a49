//! IPAddress: an address that is taken, and by what.

use k8s_openapi::api::networking::v1::IPAddress;

use crate::builtin::prelude::*;

impl Strategy for IPAddress {
    const FACTS: Facts = Facts { names: NameRule::Address, ..Facts::PLAIN };

    fn validate(&self, errors: &mut Errors) {
        let at = Path::new("spec.parentRef");
        let parent = &self.spec.parent_ref;
        if *parent == Default::default() {
            return errors.required(&at, "");
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (group, namespace) = (text(&parent.group), text(&parent.namespace));
        if !group.is_empty() {
            each(errors, &at.child("group"), &group, dns_subdomain(&group));
        }
        for (field, value) in [("resource", &parent.resource), ("name", &parent.name)] {
            formed(value, path_segment, &at.child(field), errors);
        }
        each(errors, &at.child("namespace"), &namespace, path_segment(&namespace));
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
    }

    // No age: the real table has none either.
    fn columns() -> Vec<Column> {
        let parent = Column::text("ParentRef", "What the address is for.", |address| {
            let part = |field: &str| address.str_at(&["spec", "parentRef", field]);
            let mut parent = match part("group") {
                "" => part("resource").to_owned(),
                group => format!("{}.{group}", part("resource")),
            };
            for text in [part("namespace"), part("name")].into_iter().filter(|t| !t.is_empty()) {
                parent.push('/');
                parent.push_str(text);
            }
            parent.into()
        });
        vec![Column::name(), parent]
    }

    fn selectable_fields(address: &Value) -> Vec<(&'static str, String)> {
        let part = |field: &str| address.str_at(&["spec", "parentRef", field]).to_owned();
        vec![
            ("spec.parentRef.group", part("group")),
            ("spec.parentRef.resource", part("resource")),
            ("spec.parentRef.namespace", part("namespace")),
            ("spec.parentRef.name", part("name")),
        ]
    }
}

#[cfg(test)]
mod tests;
