//! What a pod may say but had better not.
//!
//! Counterpart of upstream's `pkg/api/pod/warnings.go`, for what is not about makers' volumes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, NodeSelectorTerm, PodSpec, PodTemplateSpec};

use crate::{field::Path, quantity::Quantity};

/// The warnings about a pod's spec that stands at `at`.
pub fn warnings(spec: &PodSpec, at: &Path) -> Vec<String> {
    let mut said = Vec::new();
    placement(spec, at, &mut said);
    if spec.termination_grace_period_seconds.is_some_and(|s| s < 0) {
        said.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            at.child("terminationGracePeriodSeconds")
        ));
    }
    let mut secrets = BTreeSet::new();
    for (i, secret) in spec.image_pull_secrets.iter().flatten().enumerate() {
        let at = at.child("imagePullSecrets").index(i).child("name");
        if secret.name.is_empty() {
            said.push(format!("{at}: invalid empty name {:?}", secret.name));
        } else if !secrets.insert(&secret.name) {
            said.push(format!(
                "{}: duplicate name {:?}",
                at.to_string().trim_end_matches(".name"),
                secret.name
            ));
        }
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    for (field, list) in [("initContainers", init), ("containers", &spec.containers)] {
        for (i, c) in list.iter().enumerate() {
            container(c, &at.child(field).index(i), &mut said);
        }
    }
    said
}

/// The warnings about a template that stands at `at`.
pub fn of_template(template: &PodTemplateSpec, at: &Path) -> Vec<String> {
    template.spec.as_ref().map_or_else(Vec::new, |spec| warnings(spec, &at.child("spec")))
}

/// What is to be said about a node's label that something else stands for today.
fn deprecated_label(label: &str) -> Option<&'static str> {
    Some(match label {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => {
            "deprecated since v1.22; use Taints and Tolerations instead"
        }
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

/// Deprecated labels of nodes where a pod says where it runs.
fn placement(spec: &PodSpec, at: &Path, said: &mut Vec<String>) {
    for label in spec.node_selector.iter().flatten().map(|(label, _)| label) {
        if let Some(why) = deprecated_label(label) {
            said.push(format!("{}: {why}", at.child("nodeSelector").key(label)));
        }
    }
    if let Some(node) = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()) {
        let at = at.child("affinity").child("nodeAffinity");
        let required = node.required_during_scheduling_ignored_during_execution.as_ref();
        let terms = at.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
        for (i, one) in required.iter().flat_map(|selector| &selector.node_selector_terms).enumerate() {
            term(one, &terms.index(i), said);
        }
        let preferred = node.preferred_during_scheduling_ignored_during_execution.as_deref();
        let terms = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (i, one) in preferred.unwrap_or_default().iter().enumerate() {
            term(&one.preference, &terms.index(i).child("preference"), said);
        }
    }
    for (i, constraint) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        if let Some(why) = deprecated_label(&constraint.topology_key) {
            let at = at.child("topologySpreadConstraints").index(i).child("topologyKey");
            said.push(format!("{at}: {} is {why}", constraint.topology_key));
        }
    }
}

fn term(term: &NodeSelectorTerm, at: &Path, said: &mut Vec<String>) {
    for (i, expression) in term.match_expressions.iter().flatten().enumerate() {
        if let Some(why) = deprecated_label(&expression.key) {
            let at = at.child("matchExpressions").index(i).child("key");
            said.push(format!("{at}: {} is {why}", expression.key));
        }
    }
}

fn container(c: &Container, at: &Path, said: &mut Vec<String>) {
    for (field, list) in [
        ("limits", c.resources.as_ref().and_then(|r| r.limits.as_ref())),
        ("requests", c.resources.as_ref().and_then(|r| r.requests.as_ref())),
    ] {
        for name in ["memory", "ephemeral-storage"] {
            let amount = list.and_then(|l| l.get(name)).map(Quantity::of);
            if let Some(amount) = amount.filter(|a| !a.is_whole()) {
                let at = at.child("resources").child(field).key(name);
                said.push(format!("{at}: fractional byte value \"{amount}\" is invalid, must be an integer"));
            }
        }
    }
    let mut names = BTreeSet::new();
    for (i, variable) in c.env.iter().flatten().enumerate() {
        if !names.insert(&variable.name) {
            said.push(format!(
                "{}: hides previous definition of {:?}, which may be dropped when using apply",
                at.child("env").index(i),
                variable.name
            ));
        }
    }
    let mut ports: BTreeMap<_, usize> = BTreeMap::new();
    for (i, port) in c.ports.iter().flatten().enumerate() {
        let key = (port.container_port, port.protocol.as_deref(), port.host_port, port.host_ip.as_deref());
        match ports.get(&key) {
            Some(first) => said.push(format!(
                "{}: duplicate port definition with {}",
                at.child("ports").index(i),
                at.child("ports").index(*first)
            )),
            None => {
                ports.insert(key, i);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn deprecated_labels_of_nodes_are_named() {
        let terms = json!([{"matchExpressions": [
            {"key": "a", "operator": "Exists"}, {"key": "beta.kubernetes.io/arch", "operator": "Exists"}]}]);
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [],
            "nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux"},
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": terms[0]}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
                "topologyKey": "failure-domain.beta.kubernetes.io/zone"}]}))
        .expect("a spec");
        assert_eq!(
            warnings(&spec, &Path::new("spec")),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
                "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[1].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
                "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
            ]
        );
    }

    #[test]
    fn what_is_unwise_is_said() {
        let spec: PodSpec = serde_json::from_value(json!({
            "terminationGracePeriodSeconds": -1,
            "imagePullSecrets": [{"name": "a"}, {"name": "a"}],
            "containers": [{"name": "c",
                "env": [{"name": "A"}, {"name": "A"}],
                "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP"}],
                "resources": {"limits": {"memory": "100m"}}}]}))
        .expect("a spec");
        assert_eq!(
            warnings(&spec, &Path::new("spec")),
            [
                "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                "spec.imagePullSecrets[1]: duplicate name \"a\"",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ]
        );
    }
}
