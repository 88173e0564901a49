//! IPAddress: an address that is taken, and by what.

use api::validation::NameRule;
use api::{
    field::{Errors, Path},
    object::ObjectExt,
    validation::immutable,
};
use k8s_openapi::api::networking::v1::IPAddress;
use serde_json::Value;

use crate::kind::{Column, Part, Strategy};

/// The rules of addresses.
pub struct IpAddresses;

impl Strategy for IpAddresses {
    type Object = IPAddress;

    const NAME_RULE: NameRule = NameRule::Address;

    fn validate(&self, address: &IPAddress, errors: &mut Errors) {
        let at = Path::new("spec.parentRef");
        let parent = &address.spec.parent_ref;
        if parent.resource.is_empty() && parent.name.is_empty() {
            return errors.required(&at, "");
        }
        for (field, value) in [("resource", &parent.resource), ("name", &parent.name)] {
            if value.is_empty() {
                errors.required(&at.child(field), "");
            }
        }
    }

    fn validate_update(&self, new: &IPAddress, old: &IPAddress, _part: Part<'_>, errors: &mut Errors) {
        immutable(&new.spec, &old.spec, &Path::new("spec"), errors);
    }

    // No age: the real table has none either.
    fn columns(&self) -> Vec<Column> {
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

    fn selectable_fields(&self, address: &Value) -> Vec<(&'static str, String)> {
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
