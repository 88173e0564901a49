//! Which controllers run, as `--controllers` says it: all, or some by upstream's names.

use api::{Message, message};

/// The controllers that there are.
pub const CONTROLLERS: [&str; 35] = [
    "bootstrap-signer-controller",
    "certificatesigningrequest-signing-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "ephemeral-volume-controller",
    GARBAGE_COLLECTOR,
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "node-ipam-controller",
    "node-lifecycle-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-expander-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    RESOURCE_QUOTA,
    "root-ca-certificate-publisher-controller",
    "service-cidr-controller",
    "service-lb-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
    "taint-eviction-controller",
    "token-cleaner-controller",
    "ttl-after-finished-controller",
    "volumeattributesclass-protection-controller",
];

/// What some were called before, where that is more than `-controller` left out.
const OLD_NAMES: [(&str, &str); 14] = [
    ("bootstrapsigner", "bootstrap-signer-controller"),
    ("csrsigning", "certificatesigningrequest-signing-controller"),
    ("endpoint", "endpoints-controller"),
    ("endpointslicemirroring", "endpointslice-mirroring-controller"),
    ("garbagecollector", "garbage-collector-controller"),
    ("horizontalpodautoscaling", "horizontal-pod-autoscaler-controller"),
    ("nodeipam", "node-ipam-controller"),
    ("nodelifecycle", "node-lifecycle-controller"),
    ("podgc", "pod-garbage-collector-controller"),
    ("pv-protection", "persistentvolume-protection-controller"),
    ("pvc-protection", "persistentvolumeclaim-protection-controller"),
    ("root-ca-cert-publisher", "root-ca-certificate-publisher-controller"),
    ("service", "service-lb-controller"),
    ("tokencleaner", "token-cleaner-controller"),
];

/// Removes what nobody owns any more; it also finds out which kinds there are.
pub const GARBAGE_COLLECTOR: &str = "garbage-collector-controller";
/// Counts objects of those kinds.
pub const RESOURCE_QUOTA: &str = "resourcequota-controller";

/// Which controllers run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Vec<String>);

impl Selection {
    /// Reads names; `*` is all, and `-name` not that one. What comes first counts.
    ///
    /// # Errors
    /// A name that is none, or a controller without one that it needs.
    pub fn new(names: &[String]) -> Result<Self, Message> {
        let full = |name: &String| {
            let (sign, bare) = name.strip_prefix('-').map_or(("", &**name), |bare| ("-", bare));
            let renamed = OLD_NAMES.iter().find(|(old, _)| *old == bare).map(|(_, name)| *name);
            let is_it = |name: &&str| {
                *name == renamed.unwrap_or(bare) || name.strip_suffix("-controller") == Some(bare)
            };
            match CONTROLLERS.into_iter().find(is_it) {
                Some(name) => Ok(format!("{sign}{name}")),
                None if name == "*" => Ok(name.clone()),
                None => {
                    Err(message!("{bare:?} is not in the list of controllers: {}", CONTROLLERS.join(", ")))
                }
            }
        };
        let selection = Self(names.iter().map(full).collect::<Result<_, _>>()?);
        match selection.has(RESOURCE_QUOTA) && !selection.has(GARBAGE_COLLECTOR) {
            true => {
                Err(message!("{RESOURCE_QUOTA} learns of kinds by {GARBAGE_COLLECTOR}, which is not to run"))
            }
            false => Ok(selection),
        }
    }

    /// Whether a controller runs.
    pub fn has(&self, controller: &str) -> bool {
        let named = self.0.iter().find(|name| name.trim_start_matches('-') == controller);
        named.map_or_else(|| self.0.iter().any(|name| name == "*"), |name| name == controller)
    }
}

#[cfg(test)]
mod tests;
