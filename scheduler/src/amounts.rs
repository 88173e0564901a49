//! Amounts of cpu, memory, local storage and other counted resources: asked for, used, to be had.

use std::collections::BTreeMap;

use api::pod::requests_held;
use api::quantity::{Amount, Quantity};
use k8s_openapi::api::core::v1::Pod;
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

    /// What a pod holds of its node, or will.
    pub fn held_by(pod: &Pod) -> Self {
        let amount = |(name, quantity): (&str, _)| (name.to_owned(), Amount::of(name, &quantity));
        Self(requests_held(pod).into_iter().map(amount).collect())
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

    fn set(&mut self, name: &str, amount: Amount) {
        match self.0.get_mut(name) {
            Some(known) => *known = amount,
            None => {
                self.0.insert(name.to_owned(), amount);
            }
        }
    }
}
