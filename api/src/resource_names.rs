//! What the names of resources say, in requests, limits and quotas.

use crate::{
    field::{Errors, Path},
    validation::{each, qualified_name},
};

/// Resources that quotas know by name and that are amounts.
const AMOUNTS: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// Resources that quotas know by name and that come in whole numbers.
pub const COUNTS: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whether quotas know a resource by this name.
pub fn is_known(resource: &str) -> bool {
    AMOUNTS.contains(&resource)
        || COUNTS.contains(&resource)
        || is_huge_page(resource)
        || resource.starts_with("requests.hugepages-")
}

/// Whether the name is one of huge pages.
pub fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the name is Kubernetes' own: without a domain, or with one of `kubernetes.io`.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the name is that of a resource somebody else brought.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether more may be promised than there is.
pub fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// The name of a resource, anywhere.
pub fn resource_name(name: &str, at: &Path, errors: &mut Errors) {
    let wrong = qualified_name(name);
    if wrong.is_empty() {
        let known = name == "storage" || is_known(name);
        if !name.contains('/') && !known {
            errors.invalid(at, name, "must be a standard resource type or fully qualified");
        }
    } else {
        each(errors, at, name, wrong);
    }
}
