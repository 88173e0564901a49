//! Where a load balancer is reached: what statuses of Services and Ingresses say alike.

use crate::builtin::prelude::*;

/// The address of an entry.
pub fn address(text: Option<&String>, at: &Path, errors: &mut Errors) {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        each(errors, &at.child("ip"), text, ip(text));
    }
}

/// The name of an entry.
pub fn hostname(text: Option<&String>, at: &Path, errors: &mut Errors) {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return };
    let at = at.child("hostname");
    each(errors, &at, text, dns_subdomain(text));
    if loose_ip(text).is_some() {
        errors.invalid(&at, text, "must be a DNS name, not an IP address");
    }
}
