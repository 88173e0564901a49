//! What a pod's status may say: addresses, and that what has ended for good has ended.
//!
//! Upstream also refuses init containers that run again. The kubelet runs them again in a new sandbox, which is taken
//! here. It also tells of a container's end before it runs again with another image. Counterpart of
//! `ValidatePodStatusUpdate` upstream.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodStatus};
use serde::Serialize;

use crate::builtin::prelude::*;

/// What is wrong with a new status.
pub fn status_update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let none = PodStatus::default();
    let (status, was) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    // Upstream says "metadata" here.
    let conditions_at = Path::new("metadata.conditions");
    for (i, condition) in status.conditions.iter().flatten().enumerate() {
        let at = conditions_at.index(i).child("Type");
        each(errors, &at, &condition.type_, qualified_name(&condition.type_));
    }
    let at = Path::new("status");
    if let Some(name) = status.nominated_node_name.as_ref().filter(|name| !name.is_empty())
        && status.nominated_node_name != was.nominated_node_name
    {
        each(errors, &at.child("nominatedNodeName"), name, dns_subdomain(name));
    }
    if status.qos_class != was.qos_class {
        errors.invalid(&at.child("qosClass"), &status.qos_class, "field is immutable");
    }
    still_ended(status, was, old, errors);
    addresses(status, errors);
}

/// Containers that have ended and may not begin again. What has rules of its own about its restarts may.
fn still_ended(status: &PodStatus, was: &PodStatus, pod: &Pod, errors: &mut Errors) {
    let Some(spec) = &pod.spec else { return };
    let ended = |status: &ContainerStatus| {
        status.state.as_ref().and_then(|state| state.terminated.as_ref()).map(|end| end.exit_code)
    };
    let live = |now: &Option<Vec<ContainerStatus>>| -> HashSet<(String, String)> {
        let live = now.iter().flatten().filter(|now| ended(now).is_none());
        live.map(|now| (now.name.clone(), now.image.clone())).collect()
    };
    let (live_main, live_debugging) =
        (live(&status.container_statuses), live(&status.ephemeral_container_statuses));
    let begins_again = |old: &ContainerStatus, live: &HashSet<(String, String)>| {
        live.contains(&(old.name.clone(), old.image.clone()))
    };
    // The first of several of one name.
    let containers: HashMap<&str, &Container> =
        spec.containers.iter().rev().map(|c| (c.name.as_str(), c)).collect();
    let may_restart = |container: Option<&Container>, exit_code: i32| {
        if container.is_some_and(|c| c.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty())) {
            return true;
        }
        let own = container.and_then(|container| container.restart_policy.as_deref());
        match own.or(spec.restart_policy.as_deref()) {
            Some("Never") => false,
            Some("OnFailure") => exit_code != 0,
            _ => true,
        }
    };
    let main = was.container_statuses.iter().flatten().enumerate();
    let main = main.filter(|(_, old)| {
        let container = containers.get(old.name.as_str()).copied();
        ended(old).is_some_and(|code| !may_restart(container, code)) && begins_again(old, &live_main)
    });
    // The kubelet starts these once.
    let debugging = was.ephemeral_container_statuses.iter().flatten().enumerate();
    let debugging = debugging.filter(|(_, old)| ended(old).is_some() && begins_again(old, &live_debugging));
    let main = main.map(|(i, _)| ("status.containerStatuses", i));
    for (list, i) in main.chain(debugging.map(|(i, _)| ("status.ephemeralContainerStatuses", i))) {
        let at = Path::new(list).index(i).child("state");
        errors.forbidden(&at, "may not be transitioned to non-terminated state");
    }
}

/// An address as upstream shows one that is wrong.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "IP")]
    ip: &'a str,
}

/// The addresses of the pod and of its node.
fn addresses(status: &PodStatus, errors: &mut Errors) {
    let pod: Vec<&str> = status.pod_ips.iter().flatten().map(|pod| pod.ip.as_str()).collect();
    let at = Path::new("status.podIPs");
    each_address(&pod, &at, errors);
    of_different_families(&pod, &at, errors);
    no_doubles(&pod, &at, errors);
    let host: Vec<&str> = status.host_ips.iter().flatten().map(|host| host.ip.as_str()).collect();
    let at = Path::new("status.hostIPs");
    if let Some(first) = host.first()
        && Some(*first) != status.host_ip.as_deref()
    {
        errors.invalid(&at.index(0).child("ip"), first, "must be equal to `hostIP`");
    }
    each_address(&host, &at, errors);
    no_doubles(&host, &at, errors);
    of_different_families(&host, &at, errors);
}

fn each_address(list: &[&str], at: &Path, errors: &mut Errors) {
    for (i, address) in list.iter().enumerate() {
        each(errors, &at.index(i), address, ip(address));
    }
}

fn no_doubles(list: &[&str], at: &Path, errors: &mut Errors) {
    let mut seen = HashSet::new();
    for (i, address) in list.iter().enumerate().filter(|(_, address)| !seen.insert(**address)) {
        errors.duplicate(&at.index(i), Shown { ip: address });
    }
}

fn of_different_families(list: &[&str], at: &Path, errors: &mut Errors) {
    let is_pair = |list: &[&str]| matches!(list, [a, b] if a.contains(':') != b.contains(':'));
    if list.len() > 1 && !is_pair(list) {
        let shown: Vec<Shown<'_>> = list.iter().map(|ip| Shown { ip }).collect();
        errors.invalid(at, shown, "may specify no more than one IP for each IP family");
    }
}

#[cfg(test)]
mod tests;
