//! Address families of a service: what its addresses, families and policy say together.
//!
//! A cluster has one family, IPv4. Counterpart of `initIPFamilyFields`, `normalizeClusterIPs` and
//! `patchAllocatedValues` in upstream's `pkg/registry/core/service/storage`.

use api::field::{Errors, Path};
use k8s_openapi::api::core::v1::ServiceSpec;

use super::{is_external_name, validation};

/// The family that addresses of services are of.
const FAMILY: &str = "IPv4";

const SINGLE: &str = "SingleStack";
const PREFER: &str = "PreferDualStack";
const REQUIRE: &str = "RequireDualStack";

/// A new service that names its address in one field names it in both. A list alone is refused later.
pub fn pair(spec: &mut ServiceSpec) {
    if let (Some(ip), true) = (&spec.cluster_ip, addresses(spec).is_empty()) {
        spec.cluster_ips = Some(vec![ip.clone()]);
    }
}

/// A change that leaves out the addresses keeps them, and one that changes one of the two fields changes both.
pub fn pair_again(new: &mut ServiceSpec, old: &ServiceSpec) {
    if !is_external_name(new) && !is_external_name(old) {
        if new.cluster_ip.is_none() {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        if addresses(new).is_empty() {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
    }
    let same = addresses(new) == addresses(old);
    if addresses(new).is_empty() && new.cluster_ip == old.cluster_ip {
        new.cluster_ips.clone_from(&old.cluster_ips);
    }
    if new.cluster_ip != old.cluster_ip && same {
        new.cluster_ips = new.cluster_ip.clone().map(|ip| vec![ip]);
    }
}

/// Fills in policy and families. What cannot be has errors.
pub fn settle(new: &mut ServiceSpec, old: Option<&ServiceSpec>, errors: &mut Errors) {
    if is_external_name(new) || old.is_some_and(|old| still_prefers_both(new, old)) {
        return;
    }
    let without_selector =
        new.cluster_ip.as_deref() == Some("None") && new.selector.as_ref().is_none_or(|s| s.is_empty());
    if new.ip_family_policy.is_none() {
        // Who writes the endpoints of a headless service himself may write them of any family.
        let policy = if without_selector { REQUIRE } else { SINGLE };
        let before = old.and_then(|old| old.ip_family_policy.clone());
        new.ip_family_policy = Some(before.unwrap_or_else(|| policy.to_owned()));
    }
    validation::addresses(new, &Path::new("spec"), errors);
    if !errors.is_empty() {
        return;
    }
    let policy = new.ip_family_policy.clone().unwrap_or_default();
    if let Some(old) = old {
        reduced(new, old, &policy, errors);
    }
    let policy_at = Path::new("spec.ipFamilyPolicy");
    if policy == SINGLE {
        for (what, count) in [("cluster IPs", addresses(new).len()), ("IP families", families(new).len())] {
            if count == 2 {
                let words = format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                );
                errors.invalid(&policy_at, &policy, words);
            }
        }
    }
    let given = new.cluster_ips.clone().unwrap_or_default();
    for (i, ip) in given.iter().enumerate().take_while(|(_, ip)| *ip != "None").skip(families(new).len()) {
        let family = family_of(ip);
        if family == FAMILY {
            new.ip_families.get_or_insert_default().push(family.to_owned());
        } else {
            let words = format!("{family} is not configured on this cluster");
            errors.invalid(&Path::new("spec.clusterIPs").index(i), &given, words);
        }
    }
    if !errors.is_empty() {
        return;
    }
    if without_selector {
        let families = new.ip_families.get_or_insert_default();
        if families.is_empty() {
            families.push(FAMILY.to_owned());
        }
        if families.len() < 2 && policy != SINGLE {
            families.push(if families[0] == "IPv4" { "IPv6" } else { "IPv4" }.to_owned());
        }
        return;
    }
    if policy == REQUIRE {
        errors.invalid(&policy_at, &policy, "this cluster is not configured for dual-stack services");
    }
    for (i, family) in families(new).iter().enumerate().filter(|(_, family)| *family != FAMILY) {
        errors.invalid(&Path::new("spec.ipFamilies").index(i), family, "not configured on this cluster");
    }
    if errors.is_empty() && families(new).is_empty() {
        new.ip_families = Some(vec![FAMILY.to_owned()]);
    }
}

/// A change to one family gives up what else there was; without saying so, nothing may go.
fn reduced(new: &mut ServiceSpec, old: &ServiceSpec, policy: &str, errors: &mut Errors) {
    if policy == SINGLE {
        let same = [(&mut new.cluster_ips, &old.cluster_ips), (&mut new.ip_families, &old.ip_families)];
        for (new, _) in same.into_iter().filter(|(new, old)| **new == **old) {
            new.iter_mut().for_each(|list| list.truncate(1));
        }
        return;
    }
    for (what, now, before) in [
        ("cluster IP", addresses(new).len(), addresses(old).len()),
        ("IP family", families(new).len(), families(old).len()),
    ] {
        if now != 0 && now < before {
            let words = format!("must be 'SingleStack' to release the secondary {what}");
            errors.invalid(&Path::new("spec.ipFamilyPolicy"), policy, words);
        }
    }
}

/// Whether both would rather have two families, and nothing of that changes: then it is left as it is.
fn still_prefers_both(new: &ServiceSpec, old: &ServiceSpec) -> bool {
    let prefers = |spec: &ServiceSpec| spec.ip_family_policy.as_deref() == Some(PREFER);
    new.type_ == old.type_
        && matches!(new.type_.as_deref(), Some("ClusterIP" | "NodePort" | "LoadBalancer"))
        && prefers(new)
        && (prefers(old) || old.ip_family_policy.is_none())
        && addresses(new) == addresses(old)
        && families(new) == families(old)
}

fn addresses(spec: &ServiceSpec) -> &[String] {
    spec.cluster_ips.as_deref().unwrap_or_default()
}

fn families(spec: &ServiceSpec) -> &[String] {
    spec.ip_families.as_deref().unwrap_or_default()
}

fn family_of(ip: &str) -> &'static str {
    if ip.contains(':') { "IPv6" } else { "IPv4" }
}

#[cfg(test)]
mod tests;
