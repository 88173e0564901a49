//! What of the API a pod refers to, found in one walk for all who ask: what a node may read, what a mirror pod and a
//! static pod may not name. Pure. Upstream: `VisitPodSecretNames`, `VisitPodConfigmapNames`, `HasAPIObjectReference`.

use serde_json::Value;

use crate::object::ObjectExt as _;

/// The sort of an object that a pod names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sort {
    /// A ServiceAccount.
    Account,
    /// A PersistentVolumeClaim.
    Claim,
    /// A ConfigMap.
    ConfigMap,
    /// A ResourceClaim.
    ResourceClaim,
    /// A Secret.
    Secret,
}

/// What a pod names in its namespace, sort by sort of place.
pub fn named(pod: &Value) -> Vec<(Sort, String)> {
    let mut all = Vec::new();
    let mut add = |sort, name: &str| {
        if !name.is_empty() {
            all.push((sort, name.to_owned()));
        }
    };
    add(Sort::Account, pod.str_at(&["spec", "serviceAccountName"]));
    for secret in pod.list_at(&["spec", "imagePullSecrets"]) {
        add(Sort::Secret, secret.str_at(&["name"]));
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod.list_at(&["spec", list]) {
            for variable in container.list_at(&["env"]) {
                add(Sort::Secret, variable.str_at(&["valueFrom", "secretKeyRef", "name"]));
                add(Sort::ConfigMap, variable.str_at(&["valueFrom", "configMapKeyRef", "name"]));
            }
            for source in container.list_at(&["envFrom"]) {
                add(Sort::Secret, source.str_at(&["secretRef", "name"]));
                add(Sort::ConfigMap, source.str_at(&["configMapRef", "name"]));
            }
        }
    }
    for volume in pod.list_at(&["spec", "volumes"]) {
        add(Sort::ConfigMap, volume.str_at(&["configMap", "name"]));
        add(Sort::Claim, volume.str_at(&["persistentVolumeClaim", "claimName"]));
        if volume.at(&["ephemeral", "volumeClaimTemplate"]).is_some() {
            add(Sort::Claim, &format!("{}-{}", pod.name(), volume.str_at(&["name"])));
        }
        for source in volume.list_at(&["projected", "sources"]) {
            add(Sort::Secret, source.str_at(&["secret", "name"]));
            add(Sort::ConfigMap, source.str_at(&["configMap", "name"]));
        }
        for source in volume.as_object().into_iter().flat_map(|sources| sources.values()) {
            add(Sort::Secret, source.str_at(&["secretName"]));
            add(Sort::Secret, source.str_at(&["secretRef", "name"]));
            add(Sort::Secret, source.str_at(&["nodePublishSecretRef", "name"]));
        }
    }
    for (at, list) in [("spec", "resourceClaims"), ("status", "resourceClaimStatuses")] {
        for claim in pod.list_at(&[at, list]) {
            add(Sort::ResourceClaim, claim.str_at(&["resourceClaimName"]));
        }
    }
    add(Sort::ResourceClaim, pod.str_at(&["status", "extendedResourceClaimStatus", "resourceClaimName"]));
    all
}

/// What of the API a pod refers to, if anything: the kind.
pub fn named_object(pod: &Value) -> Option<&'static str> {
    let named = named(pod);
    let names = |sort| named.iter().any(|(named, _)| *named == sort);
    let volumes = || pod.list_at(&["spec", "volumes"]).iter();
    let has = |source: &str| volumes().any(|volume| volume.get(source).is_some());
    let projects = |source: &str| {
        let mut sources = volumes().flat_map(|volume| volume.list_at(&["projected", "sources"]));
        sources.any(|projected| projected.get(source).is_some())
    };
    let kinds = [
        ("serviceaccounts", names(Sort::Account)),
        ("secrets", names(Sort::Secret)),
        ("configmaps", names(Sort::ConfigMap)),
        ("resourceclaims", !pod.list_at(&["spec", "resourceClaims"]).is_empty()),
        ("csidrivers (via CSI volumes)", has("csi")),
        ("endpoints (via glusterFS volumes)", has("glusterfs")),
        ("persistentvolumeclaims", has("persistentVolumeClaim")),
        ("persistentvolumeclaims (via ephemeral volumes)", has("ephemeral")),
        ("serviceaccounts (via projected volumes)", projects("serviceAccountToken")),
        ("clustertrustbundles", projects("clusterTrustBundle")),
        ("podcertificates", projects("podCertificate")),
    ];
    kinds.into_iter().find(|(_, is_named)| *is_named).map(|(kind, _)| kind)
}

/// Whether a pod pulls images, sets variables or mounts volumes with a secret.
pub fn names_secret(pod: &Value) -> bool {
    named(pod).iter().any(|(sort, _)| *sort == Sort::Secret)
}
