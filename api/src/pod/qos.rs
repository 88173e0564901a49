//! A pod's quality of service.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;

use crate::quantity::Quantity;

/// How a node treats a pod when cpu or memory run short, from what the pod asks of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// Limits on cpu and memory everywhere, equal to the requests.
    Guaranteed,
    /// Some request or limit.
    Burstable,
    /// None.
    BestEffort,
}

impl Qos {
    /// All classes, the best first.
    pub const ALL: [Self; 3] = [Self::Guaranteed, Self::Burstable, Self::BestEffort];

    /// The word in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// A pod's class: as it was found when the pod was made, else from what it asks for.
    pub fn of(pod: &Pod) -> Self {
        let known = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
        let known = known.and_then(|word| Self::ALL.into_iter().find(|class| class.word() == word));
        known.unwrap_or_else(|| pod.spec.as_ref().map_or(Self::BestEffort, Self::from_spec))
    }

    /// The class that follows from a spec: from what it says of the pod as a whole, else from all its containers.
    pub fn from_spec(spec: &PodSpec) -> Self {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let says: Vec<Option<&ResourceRequirements>> = match &spec.resources {
            Some(whole) => vec![Some(whole)],
            None => containers.map(|container| container.resources.as_ref()).collect(),
        };
        let (mut requests, mut limits) = (Counted::default(), Counted::default());
        let mut limited = true;
        for resources in says {
            requests.add(resources.and_then(|resources| resources.requests.as_ref()));
            limited &= limits.add(resources.and_then(|resources| resources.limits.as_ref()));
        }
        match (requests.is_empty() && limits.is_empty(), limited && requests == limits) {
            (true, _) => Self::BestEffort,
            (false, true) => Self::Guaranteed,
            (false, false) => Self::Burstable,
        }
    }
}

/// Sums of cpu and memory.
#[derive(Default, PartialEq, Eq)]
struct Counted([Quantity; 2]);

impl Counted {
    /// Adds what a list says of the two, and answers whether it says something of both.
    fn add(&mut self, list: Option<&BTreeMap<String, Wire>>) -> bool {
        let amount = |name| list.and_then(|list| list.get(name)).map(Quantity::of).unwrap_or_default();
        let amounts = ["cpu", "memory"].map(amount).map(|amount| amount.max(Quantity::ZERO));
        self.0.iter_mut().zip(amounts).for_each(|(sum, amount)| *sum += amount);
        amounts.iter().all(|amount| !amount.is_zero())
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(Quantity::is_zero)
    }
}

#[cfg(test)]
mod tests;
