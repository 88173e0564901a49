//! What a pod asks of a node: cpu, memory, local storage and other counted resources.
//!
//! Init containers run one after the other before the containers, sidecars (init containers
//! that restart always) run from their start to the end; the larger sum counts, plus the
//! runtime's overhead. Requests of the pod as a whole take precedence. Upstream counterpart:
//! component-helpers' `resource.PodRequests`.

use std::collections::BTreeMap;

use api::quantity::{Amount, Quantity};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

/// Amounts of resources by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, Amount>);

impl Amounts {
    /// Reads a resource list as objects carry it.
    pub fn of(list: &BTreeMap<String, Wire>) -> Self {
        let amount = |(name, wire): (&String, &Wire)| (name.clone(), Amount::of(name, &Quantity::of(wire)));
        Self(list.iter().map(amount).collect())
    }

    /// The amount of one resource; none counts as zero.
    pub fn get(&self, name: &str) -> Amount {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// All amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Amount)> {
        self.0.iter().map(|(name, &amount)| (name.as_str(), amount))
    }

    /// Adds other amounts to these.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.set(name, self.get(name) + amount);
        }
    }

    /// Takes other amounts from these.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            self.set(name, self.get(name) - amount);
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            if amount > self.get(name) {
                self.set(name, amount);
            }
        }
    }

    fn set(&mut self, name: &str, amount: Amount) {
        match self.0.get_mut(name) {
            Some(known) => *known = amount,
            None => {
                self.0.insert(name.to_owned(), amount);
            }
        }
    }
}

/// What a pod asks of its node.
pub fn of_pod(spec: &PodSpec) -> Amounts {
    let mut total = Amounts::default();
    for container in &spec.containers {
        total.add(&of_container(container));
    }
    let mut sidecars = Amounts::default();
    let mut starting = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needed = of_container(container);
        if is_sidecar(container) {
            sidecars.add(&needed);
            starting.raise_to(&sidecars);
        } else {
            needed.add(&sidecars);
            starting.raise_to(&needed);
        }
    }
    total.add(&sidecars);
    total.raise_to(&starting);
    let whole_pod = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, amount) in whole_pod.map(Amounts::of).unwrap_or_default().iter() {
        if matches!(name, "cpu" | "memory") || name.starts_with("hugepages-") {
            total.set(name, amount);
        }
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&Amounts::of(overhead));
    }
    total
}

/// Whether an init container goes on to run beside the containers.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn of_container(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    requests.map(Amounts::of).unwrap_or_default()
}

#[cfg(test)]
mod tests;
