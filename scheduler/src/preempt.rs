//! Room for an important pod where less important ones run: on which node, and who has to go.
//!
//! Pure. On each node that could take the pod without some of its pods, as few and as
//! unimportant ones as possible go, and those that a disruption budget holds last. Upstream
//! counterpart: `framework/preemption` and the plugin `defaultpreemption`.

use std::cmp::Reverse;
use std::sync::Arc;

use api::validation::{selects, selects_all};

use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;
use crate::place::{Unfit, check};
use crate::plugins::Plugins;

/// On how many nodes victims are sought: of many nodes a tenth, of few all.
const ENOUGH: usize = 100;

/// Pods that go so that another can come.
#[derive(Debug, Clone, PartialEq)]
pub struct Preemption {
    /// The node that the pod will get.
    pub node: String,
    /// Who has to go, the most important first.
    pub victims: Vec<Arc<Needs>>,
}

/// Why nobody is pushed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hopeless {
    /// The pod may not do so, or not again already.
    NotEligible(&'static str),
    /// It would not help; a reason or more for each node.
    NoHelp(Vec<Vec<String>>),
}

impl Hopeless {
    /// Whether those whom the pod pushed out before are still going.
    pub fn waits(&self) -> bool {
        *self == Self::NotEligible(WAITS)
    }
}

const WAITS: &str = "not eligible due to a terminating pod on the nominated node.";

/// Chooses who has to go for a pod that fits nowhere.
pub fn preempt(cluster: &Cluster, needs: &Needs, unfit: &Unfit) -> Result<Preemption, Hopeless> {
    if needs.never_preempts {
        return Err(Hopeless::NotEligible("not eligible due to preemptionPolicy=Never."));
    }
    if waits_for_victims(cluster, needs, unfit) {
        return Err(Hopeless::NotEligible(WAITS));
    }
    let not_helpful = || vec!["Preemption is not helpful for scheduling".to_owned()];
    let Ok(mut plugins) = Plugins::prepare(cluster, needs) else {
        return Err(Hopeless::NoHelp(vec![not_helpful(); unfit.nodes]));
    };
    let enough = ENOUGH.max(unfit.nodes / 10);
    let (mut candidates, mut reasons) = (Vec::new(), Vec::new());
    for (name, rejection) in &unfit.rejections {
        let node = cluster.node(name).filter(|_| !rejection.for_good && candidates.len() < enough);
        match node.map(|node| victims(&mut plugins, cluster, needs, node)) {
            Some(Ok(victims)) => candidates.push((name, victims)),
            Some(Err(why)) => reasons.push(why),
            None => reasons.push(not_helpful()),
        }
    }
    let best = candidates.into_iter().min_by_key(|(_, victims)| victims.cost());
    best.map(|(node, victims)| Preemption { node: node.clone(), victims: victims.pods })
        .ok_or(Hopeless::NoHelp(reasons))
}

/// Whether those who go for the pod's sake are still on the node that it will get.
fn waits_for_victims(cluster: &Cluster, needs: &Needs, unfit: &Unfit) -> bool {
    let Some(node) = cluster.nominated_node(&needs.uid).and_then(|name| cluster.node(name)) else {
        return false;
    };
    let is_lost = unfit.rejections.iter().any(|(name, why)| *name == node.name && why.for_good);
    !is_lost && node.pods.values().any(|pod| pod.preempted && pod.priority < needs.priority)
}

/// Who has to go on one node.
#[derive(Debug, PartialEq)]
struct Victims {
    pods: Vec<Arc<Needs>>,
    /// How many of them a budget would keep.
    violations: usize,
}

impl Victims {
    /// The less the better: budgets, then the most important victim, all of them, how many, who ran the longest.
    fn cost(&self) -> (usize, Option<i32>, i64, usize, impl Ord + use<>) {
        let first = self.pods.first();
        let most = first.map(|pod| pod.priority);
        // Some priorities are negative: one victim more must never make the sum less.
        let sum = self.pods.iter().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
        let important = self.pods.iter().filter(|pod| Some(pod.priority) == most);
        let earliest = important.map(|pod| running_since(pod)).min();
        (self.violations, most, sum, self.pods.len(), Reverse(earliest))
    }
}

/// Who has to go on a node so that the pod fits there, or why it would not fit even then.
fn victims(
    plugins: &mut Plugins<'_>,
    cluster: &Cluster,
    needs: &Needs,
    node: &NodeView,
) -> Result<Victims, Vec<String>> {
    let lesser = node.pods.values().filter(|pod| pod.priority < needs.priority);
    let mut lesser: Vec<Arc<Needs>> = lesser.cloned().collect();
    if lesser.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".to_owned()]);
    }
    lesser.sort_by_key(importance);
    let mut emptier = node.clone();
    for pod in &lesser {
        emptier.remove(&pod.uid);
        plugins.count(pod, node, -1);
    }
    if let Err(rejection) = check(plugins, cluster, needs, &emptier) {
        lesser.iter().for_each(|pod| plugins.count(pod, node, 1));
        return Err(rejection.reasons);
    }
    let (held, free) = by_budget(cluster, lesser);
    let mut found = Victims { pods: Vec::new(), violations: 0 };
    let held_count = held.len();
    for (i, pod) in held.into_iter().chain(free).enumerate() {
        emptier.add(&pod.uid, &pod);
        plugins.count(&pod, node, 1);
        if check(plugins, cluster, needs, &emptier).is_err() {
            emptier.remove(&pod.uid);
            plugins.count(&pod, node, -1);
            found.violations += usize::from(i < held_count);
            found.pods.push(pod);
        }
    }
    found.pods.iter().for_each(|pod| plugins.count(pod, node, 1));
    found.pods.sort_by_key(importance);
    Ok(found)
}

/// The most important first: by priority, then who has run longer.
fn importance(pod: &Arc<Needs>) -> (Reverse<i32>, jiff::Timestamp) {
    (Reverse(pod.priority), running_since(pod))
}

/// A pod that has not started has run the shortest.
fn running_since(pod: &Needs) -> jiff::Timestamp {
    pod.since.unwrap_or(jiff::Timestamp::MAX)
}

/// Those of the pods whose going would break a disruption budget, and the others.
fn by_budget(cluster: &Cluster, pods: Vec<Arc<Needs>>) -> (Vec<Arc<Needs>>, Vec<Arc<Needs>>) {
    let mut left: Vec<_> = cluster
        .budgets
        .values()
        .map(|budget| {
            (budget, budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or(0))
        })
        .collect();
    pods.into_iter().partition(|pod| {
        let mut breaks = false;
        for (budget, left) in &mut left {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let selector = selector.filter(|selector| !selects_all(selector));
            let counted = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
            if budget.metadata.namespace.as_ref() == Some(&pod.namespace)
                && selector.is_some_and(|selector| selects(selector, Some(&pod.labels)))
                && !counted.is_some_and(|counted| counted.contains_key(&pod.name))
            {
                *left -= 1;
                breaks |= *left < 0;
            }
        }
        breaks
    })
}

#[cfg(test)]
mod tests;
