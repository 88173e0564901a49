//! Pods spread evenly over zones, nodes, or whatever a label tells apart.
//!
//! Pods like this one are counted once by the place they are in; the fewest in any place are
//! at hand from an ordered count of counts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use api::validation::{selects, selects_all};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::{BEST, Plugin, Prepared, Reasons, node_affinity, taints};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

struct Spread<'a> {
    needs: &'a Needs,
    /// What has to hold.
    hard: Vec<Constraint<'a>>,
    /// What had better hold.
    soft: Vec<Constraint<'a>>,
}

struct Constraint<'a> {
    wanted: &'a TopologySpreadConstraint,
    /// How many pods are in each place.
    places: HashMap<String, i64>,
    /// How many places have each number of pods.
    numbers: BTreeMap<i64, usize>,
    /// Whether the pod is itself one of those that are spread.
    itself: i64,
}

/// Counts the pods that are to be spread with this one.
pub(super) fn prepare<'a>(cluster: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    if needs.spread.is_empty() {
        return Ok(None);
    }
    let (hard, soft) = needs.spread.iter().partition(|wanted| wanted.when_unsatisfiable == "DoNotSchedule");
    let constraints = |wanted: Vec<&'a TopologySpreadConstraint>| -> Vec<Constraint<'a>> {
        wanted.into_iter().map(|wanted| Constraint::new(wanted, needs)).collect()
    };
    let (hard, soft): (Vec<_>, Vec<_>) = (constraints(hard), constraints(soft));
    let mut plugin = Spread { needs, hard, soft };
    for node in cluster.nodes() {
        for constraints in [&mut plugin.hard, &mut plugin.soft] {
            for constraint in counted(constraints, node, needs) {
                let pods = node.pods.values().filter(|pod| constraint.is_about(pod, needs)).count();
                constraint.add(node, i64::try_from(pods).unwrap_or(i64::MAX));
            }
        }
    }
    Ok(Some(Box::new(plugin)))
}

/// Those of the constraints for which a node counts; none does if it lacks the label of any.
fn counted<'c, 'a>(
    constraints: &'c mut [Constraint<'a>],
    node: &NodeView,
    needs: &Needs,
) -> impl Iterator<Item = &'c mut Constraint<'a>> {
    let counts = have_labels(constraints, node);
    let (is_wanted, is_open) = (node_affinity::wanted(node, needs), !taints::keep_away(node, needs));
    constraints.iter_mut().filter(move |constraint| counts && constraint.includes(is_wanted, is_open))
}

fn have_labels(constraints: &[Constraint<'_>], node: &NodeView) -> bool {
    constraints.iter().all(|constraint| node.labels.contains_key(&constraint.wanted.topology_key))
}

impl<'a> Constraint<'a> {
    fn new(wanted: &'a TopologySpreadConstraint, needs: &Needs) -> Self {
        let itself =
            wanted.label_selector.as_ref().is_some_and(|selector| selects(selector, Some(&needs.labels)));
        Self { wanted, places: HashMap::new(), numbers: BTreeMap::new(), itself: i64::from(itself) }
    }

    fn includes(&self, is_wanted: bool, is_open: bool) -> bool {
        let honours = |policy: &Option<String>| policy.as_deref().map(|policy| policy == "Honor");
        (is_wanted || !honours(&self.wanted.node_affinity_policy).unwrap_or(true))
            && (is_open || !honours(&self.wanted.node_taints_policy).unwrap_or(false))
    }

    fn is_about(&self, pod: &Needs, needs: &Needs) -> bool {
        let selector = self.wanted.label_selector.as_ref().filter(|selector| !selects_all(selector));
        !pod.leaving
            && pod.namespace == needs.namespace
            && selector.is_some_and(|selector| selects(selector, Some(&pod.labels)))
    }

    fn add(&mut self, node: &NodeView, by: i64) {
        let Some(place) = node.labels.get(&self.wanted.topology_key) else { return };
        let before = self.places.get(place).copied();
        if let Some(before) = before
            && let Entry::Occupied(mut places) = self.numbers.entry(before)
        {
            *places.get_mut() -= 1;
            if *places.get() == 0 {
                places.remove();
            }
        }
        let now = before.unwrap_or(0) + by;
        *self.numbers.entry(now).or_default() += 1;
        self.places.insert(place.clone(), now);
    }

    fn pods_in(&self, node: &NodeView) -> i64 {
        let place = node.labels.get(&self.wanted.topology_key);
        place.and_then(|place| self.places.get(place)).copied().unwrap_or(0)
    }

    /// The fewest pods that are in any place; none as long as there are fewer places than there should be.
    fn fewest(&self) -> i64 {
        let enough = usize::try_from(self.wanted.min_domains.unwrap_or(1)).unwrap_or(1);
        let fewest = self.numbers.first_key_value().map_or(i64::from(i32::MAX), |(number, _)| *number);
        if self.places.len() < enough { 0 } else { fewest }
    }
}

impl Plugin for Spread<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        for constraint in &self.hard {
            if !node.labels.contains_key(&constraint.wanted.topology_key) {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Reasons::for_good(reason));
            }
            let skew = constraint.pods_in(node) + constraint.itself - constraint.fewest();
            if skew > i64::from(constraint.wanted.max_skew) {
                return Err(Reasons::for_now("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "numbers of pods are small"
    )]
    fn score(&self, nodes: &[&NodeView]) -> Option<Vec<i64>> {
        let mut scores: Vec<Option<f64>> =
            nodes.iter().map(|node| have_labels(&self.soft, node).then_some(0.0)).collect();
        for constraint in &self.soft {
            // Few places weigh less each, so that zones do not drown nodes.
            let places: HashSet<&String> = nodes
                .iter()
                .zip(&scores)
                .filter(|(_, score)| score.is_some())
                .filter_map(|(node, _)| node.labels.get(&constraint.wanted.topology_key))
                .collect();
            let weight = ((places.len() + 2) as f64).ln();
            for (node, score) in nodes.iter().zip(&mut scores) {
                if let Some(score) = score {
                    *score +=
                        constraint.pods_in(node) as f64 * weight + f64::from(constraint.wanted.max_skew - 1);
                }
            }
        }
        let scores: Vec<Option<i64>> =
            scores.into_iter().map(|score| score.map(|score| score.round() as i64)).collect();
        let least = scores.iter().flatten().copied().min().filter(|_| !self.soft.is_empty())?;
        let most = scores.iter().flatten().copied().max()?;
        let score = |score: &Option<i64>| match score {
            None => 0,
            Some(_) if most == 0 => BEST,
            Some(score) => BEST * (most + least - score) / most,
        };
        Some(scores.iter().map(score).collect())
    }

    fn count(&mut self, pod: &Needs, node: &NodeView, by: i64) {
        let needs = self.needs;
        for constraints in [&mut self.hard, &mut self.soft] {
            for constraint in counted(constraints, node, needs) {
                if constraint.is_about(pod, needs) {
                    constraint.add(node, by);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
