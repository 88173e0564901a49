//! Which of its endpoints a service port uses on this node.
//!
//! Ready ones; when there is none, those that are going away and still answer. Policies narrow
//! the choice to this node, hints to this node's zone. Upstream: `pkg/proxy/topology.go`.

use crate::services::{Endpoint, ServicePort};

/// The endpoints of one port, by kind of traffic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Choice<'a> {
    /// For traffic under the policy Cluster.
    pub cluster: Vec<&'a Endpoint>,
    /// For traffic under the policy Local.
    pub local: Vec<&'a Endpoint>,
    /// Those of the two together: each needs a chain.
    pub all: Vec<&'a Endpoint>,
    /// Is there any usable endpoint in the cluster, here or elsewhere?
    pub any: bool,
}

impl<'a> Choice<'a> {
    /// What the policy leaves: endpoints of this node or of the cluster.
    pub fn under(&self, local: bool) -> &[&'a Endpoint] {
        if local { &self.local } else { &self.cluster }
    }
}

/// Ready ones among those wanted, or else those that terminate and still serve.
fn usable(endpoints: &[Endpoint], wanted: impl Fn(&Endpoint) -> bool) -> Vec<&Endpoint> {
    let ready: Vec<&Endpoint> = endpoints.iter().filter(|e| e.ready && wanted(e)).collect();
    if !ready.is_empty() {
        return ready;
    }
    endpoints.iter().filter(|e| e.serving && e.terminating && wanted(e)).collect()
}

/// Chooses a port's endpoints.
pub fn choose<'a>(port: &'a ServicePort, node: &str, zone: Option<&str>) -> Choice<'a> {
    let endpoints = &port.endpoints;
    let mut choice = Choice { any: !usable(endpoints, |_| true).is_empty(), ..Choice::default() };
    if port.uses_cluster_endpoints() {
        choice.cluster = match hinted(port, node, zone) {
            Some(near) => near,
            None => usable(endpoints, |_| true),
        };
    }
    if port.uses_local_endpoints() {
        choice.local = usable(endpoints, |endpoint| endpoint.local);
    }
    choice.all = choice.cluster.clone();
    choice.all.extend(choice.local.iter().copied().filter(|local| !choice.cluster.contains(local)));
    choice
}

/// The ready endpoints meant for this node or zone; none unless all ready endpoints say for whom
/// they are meant and some are meant for here.
fn hinted<'a>(port: &'a ServicePort, node: &str, zone: Option<&str>) -> Option<Vec<&'a Endpoint>> {
    let ready: Vec<&Endpoint> = port.endpoints.iter().filter(|e| e.ready).collect();
    let pick = |hints: fn(&Endpoint) -> &Vec<String>, here: &str| {
        if ready.iter().any(|endpoint| hints(endpoint).is_empty()) {
            return None;
        }
        let near: Vec<&Endpoint> =
            ready.iter().copied().filter(|e| hints(e).iter().any(|hint| hint == here)).collect();
        (!near.is_empty()).then_some(near)
    };
    let by_node = if port.prefers_node { pick(|e| &e.node_hints, node) } else { None };
    by_node.or_else(|| zone.and_then(|zone| pick(|e| &e.zone_hints, zone)))
}

#[cfg(test)]
mod tests;
