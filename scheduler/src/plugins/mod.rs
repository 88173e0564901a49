//! Where a pod fits and where best: one table of what is asked; each is a file and a line.
//!
//! A plugin looks at the whole cluster once for a pod, then says of each node whether the pod
//! fits there and how well. All pure. Upstream counterpart: the scheduler's
//! `framework/plugins`, whose order, weights and words these are. What upstream weighs besides
//! (free amounts, images that are there) would not let plain pods take turns.

mod counts;
mod inter_pod_affinity;
mod node_affinity;
mod node_ports;
mod node_resources;
mod taints;
mod topology_spread;
mod volumes;

use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;

/// The filters, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// The node is cordoned.
    Unschedulable,
    /// The node has a taint that the pod does not tolerate, or is not ready.
    Taints,
    /// The pod wants a node with other labels.
    NodeAffinity,
    /// A port that the pod wants is taken.
    Ports,
    /// There is not enough left of something.
    Resources,
    /// A claim of the pod is for one pod alone, and has one.
    ClaimInUse,
    /// A claim of the pod is not there, not bound, or bound elsewhere.
    Volumes,
    /// Pods like it would be spread too unevenly.
    Spread,
    /// Pods that it wants near are far, or the other way round.
    PodAffinity,
}

/// What is against a pod whichever the node, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(pub String);

/// A plugin that has looked at a cluster for a pod. It may have nothing to say, or something against all nodes alike.
type Prepared<'a> = Result<Option<Box<dyn Plugin + 'a>>, Reason>;

type Prepare = for<'a> fn(&'a Cluster, &'a Needs) -> Prepared<'a>;

/// What is asked, in this order, and how much its scores weigh.
const TABLE: [(Filter, i64, Prepare); 9] = [
    (Filter::Unschedulable, 0, taints::cordon),
    (Filter::Taints, 3, taints::prepare),
    (Filter::NodeAffinity, 2, node_affinity::prepare),
    (Filter::Ports, 0, node_ports::prepare),
    (Filter::Resources, 0, node_resources::prepare),
    (Filter::ClaimInUse, 0, volumes::in_use),
    (Filter::Volumes, 0, volumes::prepare),
    (Filter::Spread, 2, topology_spread::prepare),
    (Filter::PodAffinity, 2, inter_pod_affinity::prepare),
];

/// What the best node has.
const BEST: i64 = 100;

/// What has been learnt of a cluster for one pod.
trait Plugin {
    /// Whether the pod fits on a node.
    fn filter(&self, node: &NodeView) -> Result<(), Reasons>;

    /// How good each of the nodes is, from 0 to [`BEST`]; nothing where it is all the same.
    fn score(&self, _nodes: &[&NodeView]) -> Option<Vec<i64>> {
        None
    }

    /// Takes in that one more pod is on a node, or one less.
    fn count(&mut self, _pod: &Needs, _node: &NodeView, _by: i64) {}
}

/// What one filter has to say against a node.
struct Reasons {
    reasons: Vec<String>,
    for_good: bool,
}

impl Reasons {
    fn for_good(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], for_good: true }
    }

    fn for_now(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], for_good: false }
    }
}

/// Why a node cannot take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which filter said no.
    pub filter: Filter,
    /// The reasons in upstream's words.
    pub reasons: Vec<String>,
    /// Whether the node could not take the pod even with all other pods gone.
    pub for_good: bool,
}

/// Why no node can take a pod, whichever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which filter said no.
    pub filter: Filter,
    /// The reason in upstream's words.
    pub reason: String,
}

/// All plugins that have something to say about a pod in a cluster.
pub struct Plugins<'a>(Vec<(Filter, i64, Box<dyn Plugin + 'a>)>);

impl<'a> Plugins<'a> {
    /// Looks at the cluster.
    pub fn prepare(cluster: &'a Cluster, needs: &'a Needs) -> Result<Self, Refusal> {
        let mut plugins = Vec::with_capacity(TABLE.len());
        for (filter, weight, prepare) in TABLE {
            let plugin = prepare(cluster, needs).map_err(|Reason(reason)| Refusal { filter, reason })?;
            plugins.extend(plugin.map(|plugin| (filter, weight, plugin)));
        }
        Ok(Self(plugins))
    }

    /// Asks all filters about one node, until one says no.
    pub fn check(&self, node: &NodeView) -> Result<(), Rejection> {
        for (filter, _, plugin) in &self.0 {
            plugin.filter(node).map_err(|Reasons { reasons, for_good }| Rejection {
                filter: *filter,
                reasons,
                for_good,
            })?;
        }
        Ok(())
    }

    /// How good each of the nodes is.
    pub fn score(&self, nodes: &[&NodeView]) -> Vec<i64> {
        let mut totals = vec![0; nodes.len()];
        for (_, weight, plugin) in self.0.iter().filter(|(_, weight, _)| *weight > 0) {
            let scores = plugin.score(nodes);
            totals
                .iter_mut()
                .zip(scores.iter().flatten())
                .for_each(|(total, score)| *total += weight * score);
        }
        totals
    }

    /// Takes in that one more pod is on a node, or one less.
    pub fn count(&mut self, pod: &Needs, node: &NodeView, by: i64) {
        self.0.iter_mut().for_each(|(_, _, plugin)| plugin.count(pod, node, by));
    }
}

/// Brings scores to [`BEST`] for the highest; nothing where all have none.
fn up_to_best(mut scores: Vec<i64>) -> Option<Vec<i64>> {
    let most = scores.iter().copied().max().filter(|most| *most > 0)?;
    scores.iter_mut().for_each(|score| *score = *score * BEST / most);
    Some(scores)
}

#[cfg(test)]
mod tests;
