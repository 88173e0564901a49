//! What a pod asks of its node and what it may use.
//!
//! Init containers run one after the other before the containers, sidecars from their start to the end: of each
//! resource the larger sum counts. What a pod says as a whole goes before that, and what its runtime takes comes on
//! top. Upstream: `PodRequests` and `PodLimits` of component-helpers' `resource`.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use super::is_sidecar;
use crate::quantity::Quantity;

/// Amounts of resources by name.
pub type Resources<'a> = BTreeMap<&'a str, Quantity>;

type List = BTreeMap<String, Wire>;

/// Whether pods can ask for a resource as a whole.
pub fn is_resource_of_whole_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// What a pod with this spec asks of its node.
pub fn requests(spec: &PodSpec) -> Resources<'_> {
    let whole = read(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    with_overhead(spec, with_whole(requests_of_containers(spec), whole))
}

/// What a pod holds of its node: what it asks for, and what it still has or was promised while its resources are being
/// changed in place. A change that its node can never allow does not count.
pub fn requests_held(pod: &Pod) -> Resources<'_> {
    let Some(spec) = &pod.spec else { return Resources::new() };
    let Some(status) = &pod.status else { return requests(spec) };
    let infeasible = is_resize_infeasible(status);
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let statuses: HashMap<&str, &ContainerStatus> =
        statuses.map(|status| (status.name.as_str(), status)).collect();
    let of_containers = together(spec, |container, lasts| {
        let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let status = statuses.get(container.name.as_str()).filter(|_| lasts);
        match status.and_then(|status| Some((status, status.resources.as_ref()?))) {
            Some((status, has)) => held(
                asked.filter(|_| !infeasible),
                has.requests.as_ref(),
                status.allocated_resources.as_ref(),
            ),
            None => read(asked),
        }
    });
    let asked = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let mut whole = read(asked);
    if let Some(has) = &status.resources {
        let asked = asked.filter(|_| !infeasible);
        let held = held(asked, has.requests.as_ref(), status.allocated_resources.as_ref());
        whole.iter_mut().for_each(|(name, amount)| *amount = held.get(name).copied().unwrap_or_default());
    }
    with_overhead(spec, with_whole(of_containers, whole))
}

/// What a pod may use; a resource that is not there is not limited, one that is may still not be limited everywhere.
pub fn limits(spec: &PodSpec) -> Resources<'_> {
    let whole = read(spec.resources.as_ref().and_then(|resources| resources.limits.as_ref()));
    let mut limits = with_whole(limits_of_containers(spec), whole);
    for (name, taken) in read(spec.overhead.as_ref()) {
        if let Some(limit) = limits.get_mut(name).filter(|limit| !limit.is_zero()) {
            *limit += taken;
        }
    }
    limits
}

/// The limit of one resource that holds for the pod altogether: none when neither the pod as a whole nor every container
/// has one.
pub fn bound(spec: &PodSpec, resource: &str) -> Option<Quantity> {
    let of =
        |list: Option<&List>| list.and_then(|list| list.get(resource)).map(Quantity::of).unwrap_or_default();
    let own = |container: &Container| of(container.resources.as_ref().and_then(|own| own.limits.as_ref()));
    let whole = of(spec.resources.as_ref().and_then(|resources| resources.limits.as_ref()));
    let mut sidecars = Quantity::ZERO;
    let starting = spec.init_containers.iter().flatten().all(|container| {
        let now = sidecars + own(container);
        if is_sidecar(container) {
            sidecars = now;
        }
        !now.is_zero()
    });
    let everywhere = starting && spec.containers.iter().all(|container| !own(container).is_zero());
    let limit = limits(spec).get(resource).copied()?;
    (!whole.is_zero() || everywhere).then_some(limit)
}

/// What the containers of a pod ask for together.
pub fn requests_of_containers(spec: &PodSpec) -> Resources<'_> {
    together(spec, |container, _| {
        read(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    })
}

/// What the containers of a pod may use together.
pub fn limits_of_containers(spec: &PodSpec) -> Resources<'_> {
    together(spec, |container, _| {
        read(container.resources.as_ref().and_then(|resources| resources.limits.as_ref()))
    })
}

/// Amounts of containers put together; `of` is told whether the container lasts.
fn together<'a>(spec: &'a PodSpec, of: impl Fn(&'a Container, bool) -> Resources<'a>) -> Resources<'a> {
    let mut total = Resources::new();
    for container in &spec.containers {
        add(&mut total, &of(container, true));
    }
    let mut sidecars = Resources::new();
    let mut starting = Resources::new();
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            add(&mut sidecars, &of(container, true));
            continue;
        }
        // What only the sidecars ask for now they still ask for beside the containers.
        let own = of(container, false);
        let now =
            own.into_iter().map(|(name, own)| (name, own + sidecars.get(name).copied().unwrap_or_default()));
        raise(&mut starting, now.collect());
    }
    add(&mut total, &sidecars);
    raise(&mut total, starting);
    total
}

fn with_whole<'a>(mut resources: Resources<'a>, whole: Resources<'a>) -> Resources<'a> {
    resources.extend(whole.into_iter().filter(|(name, _)| is_resource_of_whole_pods(name)));
    resources
}

fn with_overhead<'a>(spec: &'a PodSpec, mut resources: Resources<'a>) -> Resources<'a> {
    add(&mut resources, &read(spec.overhead.as_ref()));
    resources
}

/// The most of what is asked for, had and promised.
fn held<'a>(asked: Option<&'a List>, has: Option<&'a List>, promised: Option<&'a List>) -> Resources<'a> {
    let mut held = read(asked);
    raise(&mut held, read(has));
    raise(&mut held, read(promised));
    held
}

fn is_resize_infeasible(status: &PodStatus) -> bool {
    let pending = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodResizePending");
    pending.is_some_and(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

fn read(list: Option<&List>) -> Resources<'_> {
    list.into_iter().flatten().map(|(name, wire)| (name.as_str(), Quantity::of(wire))).collect()
}

fn add<'a>(sum: &mut Resources<'a>, more: &Resources<'a>) {
    for (name, amount) in more {
        *sum.entry(name).or_default() += *amount;
    }
}

fn raise<'a>(most: &mut Resources<'a>, to: Resources<'a>) {
    for (name, amount) in to {
        let known = most.entry(name).or_insert(amount);
        *known = amount.max(*known);
    }
}

#[cfg(test)]
mod tests;
