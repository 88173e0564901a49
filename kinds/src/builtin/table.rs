//! The table of built-in kinds: one row each. Group, version, names and scope are the type's own.

use k8s_openapi::{
    api::{
        admissionregistration::v1 as admissionregistration, apps::v1 as apps,
        authentication::v1 as authentication, authorization::v1 as authorization, autoscaling,
        batch::v1 as batch, certificates, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, events::v1 as events, flowcontrol::v1 as flowcontrol,
        networking::v1 as networking, node::v1 as node, policy::v1 as policy, rbac::v1 as rbac,
        resource::v1 as resource, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
};

use super::{
    METADATA, event,
    horizontal_pod_autoscaler::ViaAnnotations,
    row::{PROXY_VERBS, STATUS_VERBS, kind},
};
use crate::kind::Kind;

/// Every built-in kind, in the order discovery lists them.
pub fn all() -> Vec<Kind> {
    vec![
        kind::<core::Binding>().transient(&["create"]),
        kind::<core::ComponentStatus>()
            .short(&["cs"])
            .deprecated("v1 ComponentStatus is deprecated in v1.19+")
            .transient(&["get", "list"]),
        kind::<core::ConfigMap>().short(&["cm"]),
        kind::<core::Endpoints>()
            .short(&["ep"])
            .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        kind::<core::Event>().short(&["ev"]),
        kind::<core::LimitRange>().short(&["limits"]),
        kind::<core::Namespace>()
            .short(&["ns"])
            .verbs(&["create", "delete", "get", "list", "patch", "update", "watch"])
            .sub("finalize", &["update"])
            .status(),
        kind::<core::Node>()
            .short(&["no"])
            .sub_of("proxy", ("", "v1", "NodeProxyOptions"), PROXY_VERBS)
            .status(),
        kind::<core::PersistentVolumeClaim>().short(&["pvc"]).returns_deleted().status(),
        kind::<core::PersistentVolume>().short(&["pv"]).returns_deleted().status(),
        kind::<core::Pod>()
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
        kind::<core::PodTemplate>().returns_deleted(),
        kind::<core::ReplicationController>().short(&["rc"]).categories(&["all"]).scale().status(),
        kind::<core::ResourceQuota>().short(&["quota"]).returns_deleted().status(),
        kind::<core::Secret>(),
        kind::<core::ServiceAccount>().short(&["sa"]).returns_deleted().sub_of(
            "token",
            ("authentication.k8s.io", "v1", "TokenRequest"),
            &["create"],
        ),
        kind::<core::Service>()
            .short(&["svc"])
            .categories(&["all"])
            .returns_deleted()
            .sub_of("proxy", ("", "v1", "ServiceProxyOptions"), PROXY_VERBS)
            .status(),
        kind::<apiextensions::CustomResourceDefinition>()
            .short(&["crd", "crds"])
            .categories(&["api-extensions"])
            .status_without(METADATA),
        kind::<admissionregistration::MutatingAdmissionPolicy>().categories(&["api-extensions"]),
        kind::<admissionregistration::MutatingAdmissionPolicyBinding>().categories(&["api-extensions"]),
        kind::<admissionregistration::MutatingWebhookConfiguration>().categories(&["api-extensions"]),
        kind::<admissionregistration::ValidatingAdmissionPolicy>()
            .categories(&["api-extensions"])
            .status_without(METADATA),
        kind::<admissionregistration::ValidatingAdmissionPolicyBinding>().categories(&["api-extensions"]),
        kind::<admissionregistration::ValidatingWebhookConfiguration>().categories(&["api-extensions"]),
        kind::<apiregistration::APIService>().categories(&["api-extensions"]).status_without(METADATA),
        kind::<apps::ControllerRevision>(),
        kind::<apps::DaemonSet>().short(&["ds"]).categories(&["all"]).status(),
        kind::<apps::Deployment>()
            .short(&["deploy"])
            .categories(&["all"])
            .scale()
            .status_without(&["labels"]),
        kind::<apps::ReplicaSet>().short(&["rs"]).categories(&["all"]).scale().status(),
        kind::<apps::StatefulSet>().short(&["sts"]).categories(&["all"]).scale().status(),
        kind::<authentication::SelfSubjectReview>().transient(&["create"]),
        kind::<authentication::TokenReview>().transient(&["create"]),
        kind::<authorization::LocalSubjectAccessReview>().transient(&["create"]),
        kind::<authorization::SelfSubjectAccessReview>().transient(&["create"]),
        kind::<authorization::SelfSubjectRulesReview>().transient(&["create"]),
        kind::<authorization::SubjectAccessReview>().transient(&["create"]),
        kind::<autoscaling::v2::HorizontalPodAutoscaler>().short(&["hpa"]).categories(&["all"]).status(),
        kind::<autoscaling::v1::HorizontalPodAutoscaler>()
            .short(&["hpa"])
            .categories(&["all"])
            .status()
            .stored_as::<autoscaling::v2::HorizontalPodAutoscaler>(("autoscaling", "v2"), ViaAnnotations),
        kind::<batch::CronJob>().short(&["cj"]).categories(&["all"]).status(),
        kind::<batch::Job>().categories(&["all"]).status(),
        kind::<certificates::v1::CertificateSigningRequest>()
            .short(&["csr"])
            .sub("approval", STATUS_VERBS)
            .status(),
        kind::<certificates::v1beta1::ClusterTrustBundle>(),
        kind::<coordination::Lease>(),
        kind::<discovery::EndpointSlice>(),
        kind::<events::Event>().short(&["ev"]).stored_as::<event::StrictEvent>(("", "v1"), event::Renamed),
        kind::<flowcontrol::FlowSchema>().status_without(METADATA),
        kind::<flowcontrol::PriorityLevelConfiguration>().status_without(METADATA),
        kind::<networking::IngressClass>(),
        kind::<networking::Ingress>().short(&["ing"]).status(),
        kind::<networking::IPAddress>().short(&["ip"]),
        kind::<networking::NetworkPolicy>().short(&["netpol"]),
        kind::<networking::ServiceCIDR>().status(),
        kind::<node::RuntimeClass>(),
        kind::<policy::PodDisruptionBudget>().short(&["pdb"]).status(),
        kind::<rbac::ClusterRoleBinding>(),
        kind::<rbac::ClusterRole>(),
        kind::<rbac::RoleBinding>(),
        kind::<rbac::Role>(),
        kind::<resource::DeviceClass>(),
        kind::<resource::ResourceClaim>().status_without(METADATA),
        kind::<resource::ResourceClaimTemplate>(),
        kind::<resource::ResourceSlice>(),
        kind::<scheduling::PriorityClass>().short(&["pc"]),
        kind::<storage::CSIDriver>(),
        kind::<storage::CSINode>(),
        kind::<storage::CSIStorageCapacity>(),
        kind::<storage::StorageClass>().short(&["sc"]),
        kind::<storage::VolumeAttachment>().status_without(METADATA),
        kind::<storage::VolumeAttributesClass>().short(&["vac"]),
    ]
}
