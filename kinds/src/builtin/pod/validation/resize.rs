//! What an update through `resize` may do: change cpu and memory of containers that can run on.
//!
//! Counterpart of upstream's `ValidatePodResize`.

use std::collections::BTreeMap;

use api::{
    field::{Errors, Path},
    pod::{Qos, is_sidecar},
};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as Wire,
};

use super::update::{is_mirror, refuse};

type Amounts = Option<BTreeMap<String, Wire>>;

/// What is wrong with a change of a pod's resources.
pub fn resize_update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let at = Path::new("spec");
    let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return };
    if is_mirror(old) {
        return refuse("static pods cannot be resized", errors);
    }
    if old_spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return refuse("windows pods cannot be resized", errors);
    }
    if Qos::from_spec(new_spec) != Qos::of(old) {
        let class = new.status.as_ref().and_then(|status| status.qos_class.as_deref()).unwrap_or_default();
        errors.invalid(&at, class, "Pod QOS Class may not change as a result of resizing");
    }
    if !runs_where_resizes_are_known(old) {
        errors.forbidden(&at, "Pod running on node without support for resize");
    }
    if !same_containers(new_spec, old_spec, &at, errors) {
        return;
    }
    let none = ResourceRequirements::default();
    let of = |resources: &Option<ResourceRequirements>| resources.clone().unwrap_or_else(|| none.clone());
    let (whole, whole_was) = (of(&new_spec.resources), of(&old_spec.resources));
    nothing_removed(&whole, &whole_was, &at.child("resources"), errors);
    let pairs = |now: &[Container], was: &[Container]| -> Vec<_> {
        now.iter().cloned().zip(was.iter().cloned()).enumerate().collect()
    };
    let inits = |list: &Option<Vec<Container>>| list.clone().unwrap_or_default();
    let inits = pairs(&inits(&new_spec.init_containers), &inits(&old_spec.init_containers));
    let containers = pairs(&new_spec.containers, &old_spec.containers);
    for (i, (now, was)) in inits.iter().filter(|(_, (_, was))| is_sidecar(was)) {
        let at = at.child("initContainers").index(*i).child("resources");
        nothing_removed(&of(&now.resources), &of(&was.resources), &at, errors);
    }
    for (i, (now, was)) in &containers {
        let at = at.child("containers").index(*i).child("resources");
        nothing_removed(&of(&now.resources), &of(&was.resources), &at, errors);
    }
    let same = |(now, was): &(Container, Container)| {
        let rest = Container {
            resources: Some(without_change(&of(&now.resources), &of(&was.resources))),
            ..now.clone()
        };
        rest == Container { resources: Some(of(&was.resources)), ..was.clone() }
    };
    for _ in containers.iter().filter(|(_, pair)| !same(pair)) {
        errors.forbidden(&at, "only cpu and memory resources are mutable");
    }
    for (_, pair) in &inits {
        if !is_sidecar(&pair.1) && pair.0 != pair.1 {
            errors.forbidden(&at, "resources for non-sidecar init containers are immutable");
        } else if is_sidecar(&pair.1) && !same(pair) {
            errors.forbidden(&at, "only cpu and memory resources for sidecar containers are mutable");
        }
    }
    if errors.is_empty() && without_change(&whole, &whole_was) != whole_was {
        errors.forbidden(&at, "only cpu and memory resources are mutable");
    }
}

/// Whether the containers are those that there were, one by one.
fn same_containers(new: &PodSpec, old: &PodSpec, at: &Path, errors: &mut Errors) -> bool {
    let before = errors.len();
    let inits = |spec: &'_ PodSpec| spec.init_containers.clone().unwrap_or_default();
    for (field, now, was) in
        [("containers", &new.containers, &old.containers), ("initContainers", &inits(new), &inits(old))]
    {
        let at = at.child(field);
        if now.len() != was.len() {
            errors.forbidden(&at, format!("{field} may not be added or removed on resize"));
            continue;
        }
        for (i, _) in now.iter().zip(was).enumerate().filter(|(_, (now, was))| now.name != was.name) {
            let why = format!("{field} may not be renamed or reordered on resize");
            errors.forbidden(&at.index(i).child("name"), &why);
        }
    }
    errors.len() == before
}

/// Whether the node's kubelet tells what its containers have, which those that cannot resize do not.
fn runs_where_resizes_are_known(pod: &Pod) -> bool {
    let statuses =
        pod.status.as_ref().and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let is_running = |state: &k8s_openapi::api::core::v1::ContainerState| state.running.is_some();
    let running = statuses.iter().find(|status| status.state.as_ref().is_some_and(is_running));
    running.is_none_or(|status| status.resources.is_some())
}

fn nothing_removed(new: &ResourceRequirements, old: &ResourceRequirements, at: &Path, errors: &mut Errors) {
    let removes = |new: &Amounts, old: &Amounts| {
        let stays = |name| new.as_ref().is_some_and(|new| new.contains_key(name));
        !old.iter().flat_map(BTreeMap::keys).all(stays)
    };
    if removes(&new.requests, &old.requests) {
        errors.forbidden(&at.child("requests"), "resource requests cannot be removed");
    }
    if removes(&new.limits, &old.limits) {
        errors.forbidden(&at.child("limits"), "resource limits cannot be removed");
    }
}

/// The new resources with cpu and memory as they were: equal to the old ones unless something else changed.
fn without_change(new: &ResourceRequirements, old: &ResourceRequirements) -> ResourceRequirements {
    let kept = |new: &Amounts, old: &Amounts| -> Amounts {
        let mut amounts = new.clone().unwrap_or_default();
        for name in ["cpu", "memory"] {
            match old.as_ref().and_then(|old| old.get(name)) {
                Some(amount) => amounts.insert(name.to_owned(), amount.clone()),
                None => amounts.remove(name),
            };
        }
        // None and an empty map ask for the same.
        if amounts.is_empty() { old.clone().filter(BTreeMap::is_empty) } else { Some(amounts) }
    };
    ResourceRequirements {
        requests: kept(&new.requests, &old.requests),
        limits: kept(&new.limits, &old.limits),
        claims: new.claims.clone(),
    }
}

#[cfg(test)]
mod tests;
