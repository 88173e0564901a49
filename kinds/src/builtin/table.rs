//! The table of built-in kinds: one row each, a function for each group.

use super::*;
use crate::kind::Kind;
use row::{PROXY_VERBS, STATUS_VERBS, Version};

/// Every built-in kind, in the order discovery lists them.
pub fn all() -> Vec<Kind> {
    [
        core(),
        apiextensions(),
        admissionregistration(),
        apiregistration(),
        apps(),
        authentication(),
        authorization(),
        autoscaling(),
        batch(),
        certificates(),
        coordination(),
        discovery(),
        events(),
        flowcontrol(),
        networking(),
        node_k8s_io(),
        policy(),
        rbac_authorization(),
        resource_k8s_io(),
        scheduling(),
        storage(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn core() -> Vec<Kind> {
    let v1 = Version("", "v1");
    vec![
        v1.kind("Binding", "bindings", review::Bindings).transient(&["create"]),
        v1.kind("ComponentStatus", "componentstatuses", component_status::ComponentStatuses)
            .cluster_wide()
            .short(&["cs"])
            .deprecated("v1 ComponentStatus is deprecated in v1.19+")
            .transient(&["get", "list"]),
        v1.kind("ConfigMap", "configmaps", config_map::ConfigMaps).short(&["cm"]),
        v1.kind("Endpoints", "endpoints", endpoints::EndpointsRules)
            .short(&["ep"])
            .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        v1.kind("Event", "events", event::Events { strict: false }).short(&["ev"]),
        v1.kind("LimitRange", "limitranges", limit_range::LimitRanges).short(&["limits"]),
        v1.kind("Namespace", "namespaces", namespace::Namespaces)
            .cluster_wide()
            .short(&["ns"])
            .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
            .sub("finalize", &["update"])
            .status(),
        v1.kind("Node", "nodes", node::Nodes)
            .cluster_wide()
            .short(&["no"])
            .sub_of("proxy", ("", "v1", "NodeProxyOptions"), PROXY_VERBS)
            .status(),
        v1.kind(
            "PersistentVolumeClaim",
            "persistentvolumeclaims",
            persistent_volume_claim::PersistentVolumeClaims,
        )
        .short(&["pvc"])
        .returns_deleted()
        .status(),
        v1.kind("PersistentVolume", "persistentvolumes", persistent_volume::PersistentVolumes)
            .cluster_wide()
            .short(&["pv"])
            .returns_deleted()
            .status(),
        v1.kind("Pod", "pods", pod::Pods)
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
        v1.kind("PodTemplate", "podtemplates", pod_template::PodTemplates).returns_deleted(),
        v1.kind(
            "ReplicationController",
            "replicationcontrollers",
            replication_controller::ReplicationControllers,
        )
        .short(&["rc"])
        .categories(&["all"])
        .scale(".spec.selector")
        .status(),
        v1.kind("ResourceQuota", "resourcequotas", resource_quota::ResourceQuotas)
            .short(&["quota"])
            .returns_deleted()
            .status(),
        v1.kind("Secret", "secrets", secret::Secrets),
        v1.kind("ServiceAccount", "serviceaccounts", service_account::ServiceAccounts)
            .short(&["sa"])
            .returns_deleted()
            .sub_of("token", ("authentication.k8s.io", "v1", "TokenRequest"), &["create"]),
        v1.kind("Service", "services", service::Services)
            .short(&["svc"])
            .categories(&["all"])
            .returns_deleted()
            .sub_of("proxy", ("", "v1", "ServiceProxyOptions"), PROXY_VERBS)
            .status(),
    ]
}

fn apiextensions() -> Vec<Kind> {
    let v1 = Version("apiextensions.k8s.io", "v1");
    vec![
        v1.kind(
            "CustomResourceDefinition",
            "customresourcedefinitions",
            custom_resource_definition::CustomResourceDefinitions,
        )
        .cluster_wide()
        .short(&["crd", "crds"])
        .categories(&["api-extensions"])
        .status_without(METADATA),
    ]
}

fn admissionregistration() -> Vec<Kind> {
    let v1 = Version("admissionregistration.k8s.io", "v1");
    vec![
        v1.kind(
            "MutatingAdmissionPolicy",
            "mutatingadmissionpolicies",
            admission_registration::MutatingAdmissionPolicies,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        v1.kind(
            "MutatingAdmissionPolicyBinding",
            "mutatingadmissionpolicybindings",
            admission_registration::MutatingAdmissionPolicyBindings,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        v1.kind(
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            admission_registration::MutatingWebhookConfigurations,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        v1.kind(
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
            admission_registration::ValidatingAdmissionPolicies,
        )
        .cluster_wide()
        .categories(&["api-extensions"])
        .status_without(METADATA),
        v1.kind(
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            admission_registration::ValidatingAdmissionPolicyBindings,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
        v1.kind(
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            admission_registration::ValidatingWebhookConfigurations,
        )
        .cluster_wide()
        .categories(&["api-extensions"]),
    ]
}

fn apiregistration() -> Vec<Kind> {
    let v1 = Version("apiregistration.k8s.io", "v1");
    vec![
        v1.kind("APIService", "apiservices", api_service::ApiServices)
            .cluster_wide()
            .categories(&["api-extensions"])
            .status_without(METADATA),
    ]
}

fn apps() -> Vec<Kind> {
    let v1 = Version("apps", "v1");
    vec![
        v1.kind("ControllerRevision", "controllerrevisions", controller_revision::ControllerRevisions),
        v1.kind("DaemonSet", "daemonsets", daemon_set::DaemonSets)
            .short(&["ds"])
            .categories(&["all"])
            .status(),
        v1.kind("Deployment", "deployments", deployment::Deployments)
            .short(&["deploy"])
            .categories(&["all"])
            .scale(".spec.selector")
            .status_without(&["labels"]),
        v1.kind("ReplicaSet", "replicasets", replica_set::ReplicaSets)
            .short(&["rs"])
            .categories(&["all"])
            .scale(".spec.selector")
            .status(),
        v1.kind("StatefulSet", "statefulsets", stateful_set::StatefulSets)
            .short(&["sts"])
            .categories(&["all"])
            .scale(".spec.selector")
            .status(),
    ]
}

fn authentication() -> Vec<Kind> {
    let v1 = Version("authentication.k8s.io", "v1");
    vec![
        v1.kind("SelfSubjectReview", "selfsubjectreviews", review::SelfSubjectReviews)
            .cluster_wide()
            .transient(&["create"]),
        v1.kind("TokenReview", "tokenreviews", review::TokenReviews).cluster_wide().transient(&["create"]),
    ]
}

fn authorization() -> Vec<Kind> {
    let v1 = Version("authorization.k8s.io", "v1");
    vec![
        v1.kind("LocalSubjectAccessReview", "localsubjectaccessreviews", review::LocalSubjectAccessReviews)
            .transient(&["create"]),
        v1.kind("SelfSubjectAccessReview", "selfsubjectaccessreviews", review::SelfSubjectAccessReviews)
            .cluster_wide()
            .transient(&["create"]),
        v1.kind("SelfSubjectRulesReview", "selfsubjectrulesreviews", review::SelfSubjectRulesReviews)
            .cluster_wide()
            .transient(&["create"]),
        v1.kind("SubjectAccessReview", "subjectaccessreviews", review::SubjectAccessReviews)
            .cluster_wide()
            .transient(&["create"]),
    ]
}

fn autoscaling() -> Vec<Kind> {
    let (v2, v1) = (Version("autoscaling", "v2"), Version("autoscaling", "v1"));
    vec![
        v2.kind(
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            horizontal_pod_autoscaler::HorizontalPodAutoscalers,
        )
        .short(&["hpa"])
        .categories(&["all"])
        .status(),
        v1.kind("HorizontalPodAutoscaler", "horizontalpodautoscalers", horizontal_pod_autoscaler::V1)
            .short(&["hpa"])
            .categories(&["all"])
            .status()
            .stored_as(
                ("autoscaling", "v2"),
                horizontal_pod_autoscaler::HorizontalPodAutoscalers,
                horizontal_pod_autoscaler::ViaAnnotations,
            ),
    ]
}

fn batch() -> Vec<Kind> {
    let v1 = Version("batch", "v1");
    vec![
        v1.kind("CronJob", "cronjobs", cron_job::CronJobs).short(&["cj"]).categories(&["all"]).status(),
        v1.kind("Job", "jobs", job::Jobs).categories(&["all"]).status(),
    ]
}

fn certificates() -> Vec<Kind> {
    let v1 = Version("certificates.k8s.io", "v1");
    vec![
        v1.kind(
            "CertificateSigningRequest",
            "certificatesigningrequests",
            certificate_signing_request::CertificateSigningRequests,
        )
        .cluster_wide()
        .short(&["csr"])
        .sub("approval", STATUS_VERBS)
        .status(),
    ]
}

fn coordination() -> Vec<Kind> {
    let v1 = Version("coordination.k8s.io", "v1");
    vec![v1.kind("Lease", "leases", lease::Leases)]
}

fn discovery() -> Vec<Kind> {
    let v1 = Version("discovery.k8s.io", "v1");
    vec![v1.kind("EndpointSlice", "endpointslices", endpoint_slice::EndpointSlices)]
}

fn events() -> Vec<Kind> {
    let v1 = Version("events.k8s.io", "v1");
    vec![v1.kind("Event", "events", event::NewEvents).short(&["ev"]).stored_as(
        ("", "v1"),
        event::Events { strict: true },
        event::Renamed,
    )]
}

fn flowcontrol() -> Vec<Kind> {
    let v1 = Version("flowcontrol.apiserver.k8s.io", "v1");
    vec![
        v1.kind("FlowSchema", "flowschemas", flow_control::FlowSchemas)
            .cluster_wide()
            .status_without(METADATA),
        v1.kind(
            "PriorityLevelConfiguration",
            "prioritylevelconfigurations",
            flow_control::PriorityLevelConfigurations,
        )
        .cluster_wide()
        .status_without(METADATA),
    ]
}

fn networking() -> Vec<Kind> {
    let v1 = Version("networking.k8s.io", "v1");
    vec![
        v1.kind("IngressClass", "ingressclasses", ingress_class::IngressClasses).cluster_wide(),
        v1.kind("Ingress", "ingresses", ingress::Ingresses).short(&["ing"]).status(),
        v1.kind("IPAddress", "ipaddresses", ip_address::IpAddresses).cluster_wide().short(&["ip"]),
        v1.kind("NetworkPolicy", "networkpolicies", network_policy::NetworkPolicies).short(&["netpol"]),
        v1.kind("ServiceCIDR", "servicecidrs", service_cidr::ServiceCidrs).cluster_wide().status(),
    ]
}

fn node_k8s_io() -> Vec<Kind> {
    let v1 = Version("node.k8s.io", "v1");
    vec![v1.kind("RuntimeClass", "runtimeclasses", runtime_class::RuntimeClasses).cluster_wide()]
}

fn policy() -> Vec<Kind> {
    let v1 = Version("policy", "v1");
    vec![
        v1.kind("PodDisruptionBudget", "poddisruptionbudgets", pod_disruption_budget::PodDisruptionBudgets)
            .short(&["pdb"])
            .status(),
    ]
}

fn rbac_authorization() -> Vec<Kind> {
    let v1 = Version("rbac.authorization.k8s.io", "v1");
    vec![
        v1.kind("ClusterRoleBinding", "clusterrolebindings", rbac::ClusterRoleBindings).cluster_wide(),
        v1.kind("ClusterRole", "clusterroles", rbac::ClusterRoles).cluster_wide(),
        v1.kind("RoleBinding", "rolebindings", rbac::RoleBindings),
        v1.kind("Role", "roles", rbac::Roles),
    ]
}

fn resource_k8s_io() -> Vec<Kind> {
    let v1 = Version("resource.k8s.io", "v1");
    vec![
        v1.kind("DeviceClass", "deviceclasses", resource::DeviceClasses).cluster_wide(),
        v1.kind("ResourceClaim", "resourceclaims", resource::ResourceClaims).status_without(METADATA),
        v1.kind("ResourceClaimTemplate", "resourceclaimtemplates", resource::ResourceClaimTemplates),
        v1.kind("ResourceSlice", "resourceslices", resource::ResourceSlices).cluster_wide(),
    ]
}

fn scheduling() -> Vec<Kind> {
    let v1 = Version("scheduling.k8s.io", "v1");
    vec![
        v1.kind("PriorityClass", "priorityclasses", priority_class::PriorityClasses)
            .cluster_wide()
            .short(&["pc"]),
    ]
}

fn storage() -> Vec<Kind> {
    let v1 = Version("storage.k8s.io", "v1");
    vec![
        v1.kind("CSIDriver", "csidrivers", csi_driver::CsiDrivers).cluster_wide(),
        v1.kind("CSINode", "csinodes", csi_node::CsiNodes).cluster_wide(),
        v1.kind("CSIStorageCapacity", "csistoragecapacities", csi_storage_capacity::CsiStorageCapacities),
        v1.kind("StorageClass", "storageclasses", storage_class::StorageClasses)
            .cluster_wide()
            .short(&["sc"]),
        v1.kind("VolumeAttachment", "volumeattachments", volume_attachment::VolumeAttachments)
            .cluster_wide()
            .status_without(METADATA),
        v1.kind(
            "VolumeAttributesClass",
            "volumeattributesclasses",
            volume_attributes_class::VolumeAttributesClasses,
        )
        .cluster_wide()
        .short(&["vac"]),
    ]
}
