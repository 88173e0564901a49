//! The built-in resources that the server itself reads and writes, and how it reads them.
//!
//! What clients ask for is found in the table of kinds ([`crate::registry`]); a test holds these names against it.

use std::sync::Arc;

use api::status::Status;
use kinds::kind::Kind;
use serde_json::Value;

use crate::{
    Api,
    forms::{loaded, value},
    registry::Table,
    watch_cache::{CachedObject, Objects, Scope},
};

/// A built-in resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuiltIn {
    /// Its group, "" for the core group.
    pub group: &'static str,
    /// The version that is stored.
    pub version: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// What the keys of its objects begin with, in the store and in the cache.
    pub prefix: &'static str,
}

impl BuiltIn {
    /// Its row in the table.
    pub fn row(self, table: &Table) -> Result<&Arc<Kind>, Status> {
        table.find(self.group, self.version, self.plural).ok_or_else(Status::no_such_resource)
    }

    /// Whether a kind is that of the resource's objects.
    pub fn is(self, kind: &Kind) -> bool {
        kind.group == self.group && kind.plural == self.plural
    }
}

macro_rules! built_in {
    ($($name:ident: $plural:literal $(in $group:literal)?;)*) => {
        $(pub const $name: BuiltIn = BuiltIn {
            group: concat!($($group)?),
            version: "v1",
            plural: $plural,
            prefix: concat!("/registry/", $($group, "/",)? $plural, "/"),
        };)*

        #[cfg(test)]
        const ALL: &[BuiltIn] = &[$($name),*];
    };
}

built_in! {
    CONFIG_MAPS: "configmaps";
    ENDPOINTS: "endpoints";
    EVENTS: "events";
    LIMIT_RANGES: "limitranges";
    NAMESPACES: "namespaces";
    NODES: "nodes";
    PERSISTENT_VOLUMES: "persistentvolumes";
    PERSISTENT_VOLUME_CLAIMS: "persistentvolumeclaims";
    PODS: "pods";
    POD_TEMPLATES: "podtemplates";
    REPLICATION_CONTROLLERS: "replicationcontrollers";
    RESOURCE_QUOTAS: "resourcequotas";
    SECRETS: "secrets";
    SERVICES: "services";
    SERVICE_ACCOUNTS: "serviceaccounts";
    MUTATING_ADMISSION_POLICIES: "mutatingadmissionpolicies" in "admissionregistration.k8s.io";
    MUTATING_ADMISSION_POLICY_BINDINGS: "mutatingadmissionpolicybindings" in "admissionregistration.k8s.io";
    MUTATING_WEBHOOK_CONFIGURATIONS: "mutatingwebhookconfigurations" in "admissionregistration.k8s.io";
    VALIDATING_WEBHOOK_CONFIGURATIONS: "validatingwebhookconfigurations" in "admissionregistration.k8s.io";
    VALIDATING_ADMISSION_POLICIES: "validatingadmissionpolicies" in "admissionregistration.k8s.io";
    VALIDATING_ADMISSION_POLICY_BINDINGS: "validatingadmissionpolicybindings" in "admissionregistration.k8s.io";
    CUSTOM_RESOURCE_DEFINITIONS: "customresourcedefinitions" in "apiextensions.k8s.io";
    API_SERVICES: "apiservices" in "apiregistration.k8s.io";
    DAEMON_SETS: "daemonsets" in "apps";
    DEPLOYMENTS: "deployments" in "apps";
    REPLICA_SETS: "replicasets" in "apps";
    STATEFUL_SETS: "statefulsets" in "apps";
    CRON_JOBS: "cronjobs" in "batch";
    JOBS: "jobs" in "batch";
    CERTIFICATE_SIGNING_REQUESTS: "certificatesigningrequests" in "certificates.k8s.io";
    LOCAL_SUBJECT_ACCESS_REVIEWS: "localsubjectaccessreviews" in "authorization.k8s.io";
    CSI_NODES: "csinodes" in "storage.k8s.io";
    LEASES: "leases" in "coordination.k8s.io";
    ENDPOINT_SLICES: "endpointslices" in "discovery.k8s.io";
    FLOW_SCHEMAS: "flowschemas" in "flowcontrol.apiserver.k8s.io";
    PRIORITY_LEVELS: "prioritylevelconfigurations" in "flowcontrol.apiserver.k8s.io";
    INGRESSES: "ingresses" in "networking.k8s.io";
    INGRESS_CLASSES: "ingressclasses" in "networking.k8s.io";
    IP_ADDRESSES: "ipaddresses" in "networking.k8s.io";
    SERVICE_CIDRS: "servicecidrs" in "networking.k8s.io";
    RUNTIME_CLASSES: "runtimeclasses" in "node.k8s.io";
    POD_DISRUPTION_BUDGETS: "poddisruptionbudgets" in "policy";
    CLUSTER_ROLES: "clusterroles" in "rbac.authorization.k8s.io";
    CLUSTER_ROLE_BINDINGS: "clusterrolebindings" in "rbac.authorization.k8s.io";
    ROLES: "roles" in "rbac.authorization.k8s.io";
    ROLE_BINDINGS: "rolebindings" in "rbac.authorization.k8s.io";
    RESOURCE_SLICES: "resourceslices" in "resource.k8s.io";
    PRIORITY_CLASSES: "priorityclasses" in "scheduling.k8s.io";
    STORAGE_CLASSES: "storageclasses" in "storage.k8s.io";
    VOLUME_ATTACHMENTS: "volumeattachments" in "storage.k8s.io";
    VOLUME_ATTRIBUTES_CLASSES: "volumeattributesclasses" in "storage.k8s.io";
}

/// Served only where somebody asks for it.
pub const CLUSTER_TRUST_BUNDLES: BuiltIn = BuiltIn {
    group: "certificates.k8s.io",
    version: "v1beta1",
    plural: "clustertrustbundles",
    prefix: "/registry/certificates.k8s.io/clustertrustbundles/",
};

impl Api {
    /// An object as the cache has it.
    pub fn cached(&self, resource: BuiltIn, key: &str) -> Option<Arc<CachedObject>> {
        self.cache.resource(resource.prefix)?.get(key)
    }

    /// All objects, as the cache has them.
    pub fn objects(&self, resource: BuiltIn) -> Objects {
        self.cache.resource(resource.prefix).map(|r| r.snapshot().objects).unwrap_or_default()
    }

    /// The objects in a scope, as the cache has them.
    ///
    /// # Errors
    /// 500 for one that cannot be read.
    pub fn values(&self, resource: BuiltIn, scope: &Scope) -> Result<Vec<Value>, Status> {
        self.objects(resource).scan(scope, None).map(|object| value(object)).collect()
    }

    /// An object as the store has it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stored(&self, resource: BuiltIn, key: &str) -> Result<Option<Value>, Status> {
        let stored = self.store.get(&format!("{}{key}", resource.prefix)).await?;
        stored.map(|found| loaded(&found.value, found.revision)).transpose()
    }

    /// An object as the cache has it, or the store: the cache may lag behind its creation.
    ///
    /// # Errors
    /// As [`Self::stored`].
    pub async fn find(&self, resource: BuiltIn, key: &str) -> Result<Option<Value>, Status> {
        match self.cached(resource, key) {
            Some(object) => value(&object).map(Some),
            None => self.stored(resource, key).await,
        }
    }
}

#[cfg(test)]
mod tests;
