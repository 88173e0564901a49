//! What a pod may say but had better not.
//!
//! Counterpart of upstream's `pkg/api/pod/warnings.go`, for what is not about makers' volumes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::{field::Path, quantity::Quantity};

/// The warnings about a pod's spec that stands at `at`.
pub fn warnings(spec: &PodSpec, at: &Path) -> Vec<String> {
    let mut said = Vec::new();
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
