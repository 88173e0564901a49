//! The table of built-in kinds: one file each with its rules, one line each here.

use std::sync::{Arc, OnceLock};

use crate::{
    kind::{ALL_VERBS, Kind, ScalePaths, Strategy, Subresource, Typed},
    version::{Conversion, Convert, Converted, StoredAs, api_version},
};

pub mod admission_registration;
pub mod api_service;
pub mod cells;
mod certificate_signing_request;
mod component_status;
mod config_map;
mod controller_revision;
mod cron_job;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
pub mod custom_resource_definition;
mod daemon_set;
mod defaults;
mod deployment;
mod difference;
mod endpoint_slice;
mod endpoints;
mod event;
pub mod flow_control;
mod horizontal_pod_autoscaler;
mod ingress;
mod ingress_class;
mod ip_address;
mod job;
mod lease;
mod limit_range;
mod namespace;
mod network_policy;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
pub mod pod;
mod pod_disruption_budget;
mod pod_template;
pub mod priority_class;
mod rbac;
mod replica_set;
mod replication_controller;
mod resource;
mod resource_quota;
mod review;
mod runtime_class;
mod secret;
mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_class;
#[cfg(test)]
mod testing;
mod volume_attachment;
mod volume_attributes_class;
mod workload;

/// Every built-in kind, in the order discovery lists them.
pub fn builtin() -> Vec<Kind> {
    vec![
        kind("", "v1", "Binding", "bindings", review::Bindings).transient(&["create"]),
        kind("", "v1", "ComponentStatus", "componentstatuses", component_status::ComponentStatuses)
            .cluster_wide()
            .short(&["cs"])
            .transient(&["get", "list"]),
        kind("", "v1", "ConfigMap", "configmaps", config_map::ConfigMaps).short(&["cm"]),
        kind("", "v1", "Endpoints", "endpoints", endpoints::EndpointsRules).short(&["ep"]),
        kind("", "v1", "Event", "events", event::Events { strict: false }).short(&["ev"]),
        kind("", "v1", "LimitRange", "limitranges", limit_range::LimitRanges).short(&["limits"]),
        kind("", "v1", "Namespace", "namespaces", namespace::Namespaces)
            .cluster_wide()
            .short(&["ns"])
            .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
            .sub("finalize", &["update"])
            .status(),
        kind("", "v1", "Node", "nodes", node::Nodes)
            .cluster_wide()
            .short(&["no"])
            .sub_of("proxy", ("", "v1", "NodeProxyOptions"), PROXY_VERBS)
            .status(),
        kind(
            "",
            "v1",
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            persistent_volume_claim::PersistentVolumeClaims,
        )
        .short(&["pvc"])
        .returns_deleted()
        .status(),
        kind("", "v1", "PersistentVolume", "persistentvolumes", persistent_volume::PersistentVolumes)
            .cluster_wide()
            .short(&["pv"])
            .returns_deleted()
            .status(),
        kind("", "v1", "Pod", "pods", pod::Pods)
            .short(&["po"])
            .categories(&["all"])
            .returns_deleted()
            .sub_of("attach", ("", "v1", "PodAttachOptions"), &["create", "get"])
            .sub_of("binding", ("", "v1", "Binding"), &["create"])
            .sub("ephemeralcontainers", STATUS_VERBS)
            .sub_of("eviction", ("policy", "v1", "Eviction"), &["create"])
            .sub_of("exec", ("", "v1", "PodExecOptions"), &["create", "get"])
            .sub("log", &["get"])
            .sub_of("portforward", ("", "v1", "PodPortForwardOptions"), &["create", "get"])
            .sub_of("proxy", ("", "v1", "PodProxyOptions"), PROXY_VERBS)
            .sub("resize", STATUS_VERBS)
            .status_without(&["ownerReferences"]),
        kind("", "v1", "PodTemplate", "podtemplates", pod_template::PodTemplates).returns_deleted(),
        kind(
            "",
            "v1",
            "ReplicationController",
            "replicationcontrollers",
            replication_controller::ReplicationControllers,
        )
        .short(&["rc"])
        .categories(&["all"])
        .scale(".spec.selector")
        .status(),
        kind("", "v1", "ResourceQuota", "resourcequotas", resource_quota::ResourceQuotas)
            .short(&["quota"])
            .returns_deleted()
            .status(),
        kind("", "v1", "Secret", "secrets", secret::Secrets),
        kind("", "v1", "ServiceAccount", "serviceaccounts", service_account::ServiceAccounts)
            .short(&["sa"])
            .returns_deleted()
            .sub_of("token", ("authentication.k8s.io", "v1", "TokenRequest"), &["create"]),
        kind("", "v1", "Service", "services", service::Services)
            .short(&["svc"])
            .categories(&["all"])
            .returns_deleted()
            .sub_of("proxy", ("", "v1", "ServiceProxyOptions"), PROXY_VERBS)
            .status(),
        kind(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            custom_resource_definition::CustomResourceDefinitions,
        )
        .cluster_wide()
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .status_without(METADATA),
        kind(
            ADMISSION,
            "v1",
            "MutatingAdmissionPolicy",
            "mutatingadmissionpolicies",
            admission_registration::MutatingAdmissionPolicies,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        kind(
            ADMISSION,
            "v1",
            "MutatingAdmissionPolicyBinding",
            "mutatingadmissionpolicybindings",
            admission_registration::MutatingAdmissionPolicyBindings,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        kind(
            ADMISSION,
            "v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            admission_registration::MutatingWebhookConfigurations,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        kind(
            ADMISSION,
            "v1",
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
            admission_registration::ValidatingAdmissionPolicies,
        )
        .cluster_wide()
        .categories(&["api-extensions"])
        .status_without(METADATA),
        kind(
            ADMISSION,
            "v1",
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            admission_registration::ValidatingAdmissionPolicyBindings,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        kind(
            ADMISSION,
            "v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            admission_registration::ValidatingWebhookConfigurations,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", api_service::ApiServices)
            .cluster_wide()
            .categories(&["api-extensions"])
            .status_without(METADATA),
        kind(
            "apps",
            "v1",
            "ControllerRevision",
            "controllerrevisions",
            controller_revision::ControllerRevisions,
        ),
        kind("apps", "v1", "DaemonSet", "daemonsets", daemon_set::DaemonSets)
            .short(&["ds"])
            .categories(&["all"])
            .status(),
        kind("apps", "v1", "Deployment", "deployments", deployment::Deployments)
            .short(&["deploy"])
            .categories(&["all"])
            .scale(".spec.selector")
            .status_without(&["labels"]),
        kind("apps", "v1", "ReplicaSet", "replicasets", replica_set::ReplicaSets)
            .short(&["rs"])
            .categories(&["all"])
            .scale(".spec.selector")
            .status(),
        kind("apps", "v1", "StatefulSet", "statefulsets", stateful_set::StatefulSets)
            .short(&["sts"])
            .categories(&["all"])
            .scale(".spec.selector")
            .status(),
        kind(AUTHENTICATION, "v1", "SelfSubjectReview", "selfsubjectreviews", review::SelfSubjectReviews)
            .cluster_wide()
            .transient(&["create"]),
        kind(AUTHENTICATION, "v1", "TokenReview", "tokenreviews", review::TokenReviews)
            .cluster_wide()
            .transient(&["create"]),
        kind(
            AUTHORIZATION,
            "v1",
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            review::LocalSubjectAccessReviews,
        )
        .transient(&["create"]),
        kind(
            AUTHORIZATION,
            "v1",
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            review::SelfSubjectAccessReviews,
        )
        .cluster_wide()
        .transient(&["create"]),
        kind(
            AUTHORIZATION,
            "v1",
            "SelfSubjectRulesReview",
            "selfsubjectrulesreviews",
            review::SelfSubjectRulesReviews,
        )
        .cluster_wide()
        .transient(&["create"]),
        kind(
            AUTHORIZATION,
            "v1",
            "SubjectAccessReview",
            "subjectaccessreviews",
            review::SubjectAccessReviews,
        )
        .cluster_wide()
        .transient(&["create"]),
        kind(
            "autoscaling",
            "v2",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            horizontal_pod_autoscaler::HorizontalPodAutoscalers,
        )
        .short(&["hpa"])
        .categories(&["all"])
        .status(),
        kind(
            "autoscaling",
            "v1",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            horizontal_pod_autoscaler::V1,
        )
        .short(&["hpa"])
        .categories(&["all"])
        .status()
        .stored_as(
            ("autoscaling", "v2"),
            horizontal_pod_autoscaler::HorizontalPodAutoscalers,
            horizontal_pod_autoscaler::ViaAnnotations,
        ),
        kind("batch", "v1", "CronJob", "cronjobs", cron_job::CronJobs)
            .short(&["cj"])
            .categories(&["all"])
            .status(),
        kind("batch", "v1", "Job", "jobs", job::Jobs).categories(&["all"]).status(),
        kind(
            "certificates.k8s.io",
            "v1",
            "CertificateSigningRequest",
            "certificatesigningrequests",
            certificate_signing_request::CertificateSigningRequests,
        )
        .cluster_wide()
        .short(&["csr"])
        .sub("approval", STATUS_VERBS)
        .status(),
        kind("coordination.k8s.io", "v1", "Lease", "leases", lease::Leases),
        kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", endpoint_slice::EndpointSlices),
        kind("events.k8s.io", "v1", "Event", "events", event::NewEvents).short(&["ev"]).stored_as(
            ("", "v1"),
            event::Events { strict: true },
            event::Renamed,
        ),
        kind(FLOW_CONTROL, "v1", "FlowSchema", "flowschemas", flow_control::FlowSchemas)
            .cluster_wide()
            .status_without(METADATA),
        kind(
            FLOW_CONTROL,
            "v1",
            "PriorityLevelConfiguration",
            "prioritylevelconfigurations",
            flow_control::PriorityLevelConfigurations,
        )
        .cluster_wide()
        .status_without(METADATA),
        kind("networking.k8s.io", "v1", "IngressClass", "ingressclasses", ingress_class::IngressClasses)
            .cluster_wide(),
        kind("networking.k8s.io", "v1", "Ingress", "ingresses", ingress::Ingresses).short(&["ing"]).status(),
        kind("networking.k8s.io", "v1", "IPAddress", "ipaddresses", ip_address::IpAddresses)
            .cluster_wide()
            .short(&["ip"]),
        kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", network_policy::NetworkPolicies)
            .short(&["netpol"]),
        kind("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs", service_cidr::ServiceCidrs)
            .cluster_wide()
            .status(),
        kind("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", runtime_class::RuntimeClasses)
            .cluster_wide(),
        kind(
            "policy",
            "v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            pod_disruption_budget::PodDisruptionBudgets,
        )
        .short(&["pdb"])
        .status(),
        kind(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", rbac::ClusterRoleBindings)
            .cluster_wide(),
        kind(RBAC, "v1", "ClusterRole", "clusterroles", rbac::ClusterRoles).cluster_wide(),
        kind(RBAC, "v1", "RoleBinding", "rolebindings", rbac::RoleBindings),
        kind(RBAC, "v1", "Role", "roles", rbac::Roles),
        kind(DEVICES, "v1", "DeviceClass", "deviceclasses", resource::DeviceClasses).cluster_wide(),
        kind(DEVICES, "v1", "ResourceClaim", "resourceclaims", resource::ResourceClaims)
            .status_without(METADATA),
        kind(
            DEVICES,
            "v1",
            "ResourceClaimTemplate",
            "resourceclaimtemplates",
            resource::ResourceClaimTemplates,
        ),
        kind(DEVICES, "v1", "ResourceSlice", "resourceslices", resource::ResourceSlices).cluster_wide(),
        kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", priority_class::PriorityClasses)
            .cluster_wide()
            .short(&["pc"]),
        kind("storage.k8s.io", "v1", "CSIDriver", "csidrivers", csi_driver::CsiDrivers).cluster_wide(),
        kind("storage.k8s.io", "v1", "CSINode", "csinodes", csi_node::CsiNodes).cluster_wide(),
        kind(
            "storage.k8s.io",
            "v1",
            "CSIStorageCapacity",
            "csistoragecapacities",
            csi_storage_capacity::CsiStorageCapacities,
        ),
        kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", storage_class::StorageClasses)
            .cluster_wide()
            .short(&["sc"]),
        kind(
            "storage.k8s.io",
            "v1",
            "VolumeAttachment",
            "volumeattachments",
            volume_attachment::VolumeAttachments,
        )
        .cluster_wide()
        .status_without(METADATA),
        kind(
            "storage.k8s.io",
            "v1",
            "VolumeAttributesClass",
            "volumeattributesclasses",
            volume_attributes_class::VolumeAttributesClasses,
        )
        .cluster_wide()
        .short(&["vac"]),
    ]
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
/// What clients may write of the metadata.
pub(crate) const METADATA: &[&str] = &["labels", "annotations", "finalizers", "ownerReferences"];
const STATUS_VERBS: &[&str] = &["get", "patch", "update"];
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];

/// A namespaced kind with every verb and no subresources.
fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    strategy: impl Strategy,
) -> Kind {
    Kind {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        plural: plural.into(),
        singular: kind.to_lowercase().into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: true,
        verbs: ALL_VERBS,
        subresources: Vec::new(),
        transient: false,
        returns_deleted: false,
        status_leaves: &[],
        scale: None,
        stored_as: None,
        types: None,
        rules: Arc::new(Typed(strategy)),
        root: OnceLock::new(),
    }
}

impl Kind {
    /// Stores the objects as another version, whose rules are `hub`; the row's own strategy only reads and
    /// defaults its type.
    fn stored_as(
        mut self,
        (group, version): (&'static str, &'static str),
        hub: impl Strategy,
        convert: impl Convert + 'static,
    ) -> Self {
        let convert: Arc<dyn Convert> = Arc::new(convert);
        self.rules = Arc::new(Converted {
            own_version: self.api_version(),
            own: self.rules,
            hub_version: api_version(group, version),
            hub: Arc::new(Typed(hub)),
            convert: convert.clone(),
        });
        let conversion = Conversion::Fields(convert);
        self.stored_as = Some(StoredAs { group: group.into(), version: version.into(), conversion });
        self
    }

    fn cluster_wide(mut self) -> Self {
        self.namespaced = false;
        self
    }

    fn short(mut self, names: &[&'static str]) -> Self {
        self.short_names = names.iter().map(|n| (*n).into()).collect();
        self
    }

    fn categories(mut self, names: &[&'static str]) -> Self {
        self.categories = names.iter().map(|n| (*n).into()).collect();
        self
    }

    fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    /// Never kept: only these verbs are served.
    fn transient(mut self, verbs: &'static [&'static str]) -> Self {
        self.transient = true;
        self.verbs(verbs)
    }

    fn returns_deleted(mut self) -> Self {
        self.returns_deleted = true;
        self
    }

    /// A subresource that carries the kind itself.
    fn sub(mut self, name: &'static str, verbs: &'static [&'static str]) -> Self {
        self.subresources.push(Subresource { name: name.into(), gvk: None, verbs });
        self
    }

    /// A subresource that carries another kind.
    fn sub_of(
        mut self,
        name: &'static str,
        gvk: (&'static str, &'static str, &'static str),
        verbs: &'static [&'static str],
    ) -> Self {
        self.subresources.push(Subresource { name: name.into(), gvk: Some(gvk), verbs });
        self
    }

    fn status(self) -> Self {
        self.sub("status", STATUS_VERBS)
    }

    /// `status`, through which some fields of the metadata cannot be written.
    fn status_without(mut self, fields: &'static [&'static str]) -> Self {
        self.status_leaves = fields;
        self.status()
    }

    /// `scale`, on `spec.replicas` and `status.replicas`.
    fn scale(mut self, selector: &str) -> Self {
        let path = |p: &str| p.split('.').skip(1).map(str::to_owned).collect::<Vec<_>>();
        self.scale = Some(ScalePaths {
            spec_replicas: path(".spec.replicas"),
            status_replicas: path(".status.replicas"),
            selector: Some(path(selector)),
        });
        self.sub_of("scale", ("autoscaling", "v1", "Scale"), STATUS_VERBS)
    }
}

#[cfg(test)]
mod tests;
