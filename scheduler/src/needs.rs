//! A pod as the scheduler sees it: who it is, and all that its own place and that of others depend on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api::pod::{self, HostPort};
use api::validation::selects;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    NodeSelector, Pod, PodAffinityTerm, PodSpec, PreferredSchedulingTerm, Toleration,
    TopologySpreadConstraint, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::amounts::Amounts;

/// Labels of a pod, node or namespace.
pub type Labels = BTreeMap<String, String>;

/// A pod's identity and what placing it, and others beside it, depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    /// The pod's uid.
    pub uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's labels, by which others want to be near it or far from it.
    pub labels: Labels,
    /// How important it is.
    pub priority: i32,
    /// When it began to run.
    pub since: Option<Timestamp>,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Whether it is being deleted because the scheduler wanted its place.
    pub preempted: bool,
    /// Resources asked for.
    pub requests: Amounts,
    /// Ports wanted of the node itself.
    pub host_ports: Vec<HostPort>,
    /// Who controls the pod (uid), for an even spread of equals.
    pub owner: Option<String>,
    /// Taints put up with.
    pub tolerations: Vec<Toleration>,
    /// Labels the node must have.
    pub node_selector: Labels,
    /// What the node must match besides.
    pub node_affinity: Option<NodeSelector>,
    /// What the node had better match.
    pub preferred_nodes: Vec<PreferredSchedulingTerm>,
    /// Pods it must be near, all of these.
    pub near: Vec<Term>,
    /// Pods it must be far from.
    pub far: Vec<Term>,
    /// Pods it is drawn to by so much, or driven from by less than nothing.
    pub drawn: Vec<(i64, Term)>,
    /// How evenly pods like it are to be spread.
    pub spread: Vec<TopologySpreadConstraint>,
    /// Claims that it uses.
    pub claims: Vec<Claim>,
    /// Whether the pod says that it must never push out others.
    pub never_preempts: bool,
}

/// Pods that a pod wants to be near to or far from, and what near means.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Term {
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    selector: Option<LabelSelector>,
}

impl Term {
    fn of(term: &PodAffinityTerm, namespace: &str) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            namespaces,
            namespace_selector: term.namespace_selector.clone(),
            selector: term.label_selector.clone(),
        }
    }

    /// Whether the term is about a pod, where namespaces have these labels.
    pub fn selects(&self, pod: &Needs, namespaces: &HashMap<String, Labels>) -> bool {
        let by_labels = |wanted: &LabelSelector| selects(wanted, namespaces.get(&pod.namespace));
        (self.namespaces.contains(&pod.namespace) || self.namespace_selector.as_ref().is_some_and(by_labels))
            && self.selector.as_ref().is_some_and(|wanted| selects(wanted, Some(&pod.labels)))
    }
}

/// A claim that a pod uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name, in the pod's namespace.
    pub name: String,
    /// Whether it is made for the pod.
    pub ephemeral: bool,
}

impl Needs {
    /// What placing a pod depends on.
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let status = pod.status.as_ref();
        let leaving = pod.metadata.deletion_timestamp.is_some();
        let conditions = status.and_then(|status| status.conditions.as_ref());
        let preempted = conditions.into_iter().flatten().any(|condition| {
            condition.type_ == "DisruptionTarget"
                && condition.status == "True"
                && condition.reason.as_deref() == Some("PreemptionByScheduler")
        });
        let owners = pod.metadata.owner_references.iter().flatten();
        let mut needs = Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            since: status.and_then(|status| status.start_time.as_ref()).map(|time| time.0),
            leaving,
            preempted: leaving && preempted,
            requests: Amounts::held_by(pod),
            host_ports: pod::host_ports(spec).collect(),
            owner: owners
                .filter(|owner| owner.controller == Some(true))
                .map(|owner| owner.uid.clone())
                .next(),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            spread: spec.topology_spread_constraints.clone().unwrap_or_default(),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            ..Self::default()
        };
        needs.claims = claims(&needs.name, spec);
        needs.read_affinity(spec);
        needs
    }

    fn read_affinity(&mut self, spec: &PodSpec) {
        let Some(affinity) = &spec.affinity else { return };
        if let Some(nodes) = &affinity.node_affinity {
            self.node_affinity.clone_from(&nodes.required_during_scheduling_ignored_during_execution);
            self.preferred_nodes =
                nodes.preferred_during_scheduling_ignored_during_execution.clone().unwrap_or_default();
        }
        let namespace = self.namespace.clone();
        let terms = |terms: &Option<Vec<PodAffinityTerm>>| -> Vec<Term> {
            terms.iter().flatten().map(|term| Term::of(term, &namespace)).collect()
        };
        let weighted = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| -> Vec<(i64, Term)> {
            let terms = terms.iter().flatten();
            terms
                .map(|term| (sign * i64::from(term.weight), Term::of(&term.pod_affinity_term, &namespace)))
                .collect()
        };
        if let Some(pods) = &affinity.pod_affinity {
            self.near = terms(&pods.required_during_scheduling_ignored_during_execution);
            self.drawn = weighted(&pods.preferred_during_scheduling_ignored_during_execution, 1);
        }
        if let Some(pods) = &affinity.pod_anti_affinity {
            self.far = terms(&pods.required_during_scheduling_ignored_during_execution);
            self.drawn.extend(weighted(&pods.preferred_during_scheduling_ignored_during_execution, -1));
        }
    }

    /// Whether it says anything about the pods that are near it.
    pub fn minds_pods(&self) -> bool {
        !(self.near.is_empty() && self.far.is_empty() && self.drawn.is_empty())
    }
}

fn claims(pod: &str, spec: &PodSpec) -> Vec<Claim> {
    api::pod::claims(pod, spec).map(|(name, ephemeral)| Claim { name, ephemeral }).collect()
}
