//! What a service's status may say. Counterpart of `ValidateLoadBalancerStatus` upstream.

use api::field::{Errors, Path};
use k8s_openapi::api::core::v1::Service;

use crate::builtin::load_balancer;

/// Where the load balancer is reached.
pub fn validate(service: &Service, errors: &mut Errors) {
    const MODES: &[&str] = &["Proxy", "VIP"];
    let at = Path::new("status.loadBalancer.ingress");
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = status.and_then(|status| status.ingress.as_deref()).unwrap_or_default();
    let type_ = service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
    if type_ != Some("LoadBalancer") && !entries.is_empty() {
        return errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (i, entry) in entries.iter().enumerate() {
        let at = at.index(i);
        load_balancer::address(entry.ip.as_ref(), &at, errors);
        let has_address = entry.ip.as_ref().is_some_and(|ip| !ip.is_empty());
        let mode_at = at.child("ipMode");
        match entry.ip_mode.as_deref() {
            None if has_address => errors.required(&mode_at, "must be specified when `ip` is set"),
            Some(_) if !has_address => {
                errors.forbidden(&mode_at, "may not be specified when `ip` is not set");
            }
            Some(mode) if !MODES.contains(&mode) => errors.not_supported(&mode_at, mode, MODES),
            _ => {}
        }
        load_balancer::hostname(entry.hostname.as_ref(), &at, errors);
    }
}

#[cfg(test)]
mod tests;
