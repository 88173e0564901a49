//! Admission: what the cluster adds to what is written, and what it does not let in. One table of steps, asked about
//! every operation on every kind and subresource.
//!
//! A step mutates what was sent, before the kind's own rules prepare and validate it, and validates what these have let
//! pass; a deletion or a connection goes through both at once. Counterpart of `apiserver/pkg/admission` and upstream's
//! compiled-in plugins.

mod certificates;
mod default_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod derived;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod operation;
mod persistent_volume_claim_resize;
mod pod_security;
mod pod_topology_labels;
mod policies;
mod priority;
mod reinvocation;
mod request;
mod runtime_class;
mod service_account;
mod storage_object_in_use_protection;
mod taint_nodes_by_condition;
mod webhook;

use std::time::Instant;

use anyhow::ensure;
use api::status::Status;
use async_trait::async_trait;

pub use operation::{Operation, Verb};

/// One step. What it warns of goes to the request's warnings (`ctx.warnings`), whatever becomes of the operation.
#[async_trait]
pub trait Step: Send + Sync {
    /// Whether the step has to do with an operation. Every write asks every step: to be answered from verb and kind.
    fn handles(&self, operation: &Operation<'_>) -> bool;

    /// Completes what was sent, or refuses it.
    async fn mutate(&self, _operation: &mut Operation<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// Looks at the final object, which the kind's rules have validated, and may refuse it.
    async fn validate(&self, _operation: &Operation<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// The names of upstream's plugins, in the order in which they are asked.
const PLUGINS: &str = "AlwaysAdmit NamespaceAutoProvision NamespaceLifecycle NamespaceExists \
LimitPodHardAntiAffinityTopology LimitRanger ServiceAccount NodeRestriction TaintNodesByCondition AlwaysPullImages \
ImagePolicyWebhook PodSecurity PodNodeSelector Priority DefaultTolerationSeconds PodTolerationRestriction \
EventRateLimit ExtendedResourceToleration DefaultStorageClass StorageObjectInUseProtection PodGroupProtection \
OwnerReferencesPermissionEnforcement PersistentVolumeClaimResize RuntimeClass CertificateApproval CertificateSigning \
ClusterTrustBundleAttest CertificateSubjectRestriction DefaultIngressClass DenyServiceExternalIPs PodTopologyLabels \
PodGroupWorkloadExists NodeDeclaredFeatureValidator JobValidation PodResizeValidator MutatingAdmissionPolicy \
MutatingAdmissionWebhook ValidatingAdmissionPolicy ValidatingAdmissionWebhook ResourceQuota AlwaysDeny";

/// Charges what is written in its own transaction, and so is no step ([`crate::quota`]).
pub const RESOURCE_QUOTA: &str = "ResourceQuota";

/// Steps that are asked only where they are enabled.
const OPTIONAL: &[&str] = &["DenyServiceExternalIPs"];

/// Which steps are asked beside the usual ones, and which are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// `--enable-admission-plugins`
    pub enabled: Vec<String>,
    /// `--disable-admission-plugins`
    pub disabled: Vec<String>,
}

impl Choice {
    /// Whether a step is asked.
    pub fn has(&self, name: &str) -> bool {
        let named = |names: &[String]| names.iter().any(|other| other == name);
        !named(&self.disabled) && (!OPTIONAL.contains(&name) || named(&self.enabled))
    }

    fn check(&self, steps: &[(&str, Box<dyn Step>)]) -> anyhow::Result<()> {
        for (flag, names) in [("enable", &self.enabled), ("disable", &self.disabled)] {
            for name in names {
                let known = PLUGINS.split(' ').any(|plugin| plugin == name);
                ensure!(known, "{flag}-admission-plugins plugin {name:?} is unknown");
            }
        }
        for name in &self.enabled {
            ensure!(
                !self.disabled.contains(name),
                "[{name}] in enable-admission-plugins and disable-admission-plugins overlapped"
            );
            let is_there = name == RESOURCE_QUOTA || steps.iter().any(|(step, _)| step == name);
            ensure!(is_there, "--enable-admission-plugins: Skiff has no {name}");
        }
        Ok(())
    }
}

/// The steps by upstream's names, in the order in which they are asked.
pub struct Steps(Vec<(&'static str, Box<dyn Step>)>);

impl Steps {
    /// Those that are chosen.
    ///
    /// # Errors
    /// A choice that names what there is not, or contradicts itself.
    pub fn new(choice: &Choice) -> anyhow::Result<Self> {
        let Self(mut steps) = Self::all();
        choice.check(&steps)?;
        steps.retain(|(name, _)| choice.has(name));
        Ok(Self(steps))
    }

    fn all() -> Self {
        Self(vec![
            ("NamespaceLifecycle", Box::new(namespace_lifecycle::NamespaceLifecycle)),
            ("LimitRanger", Box::new(limit_ranger::LimitRanger)),
            ("ServiceAccount", Box::new(service_account::ServiceAccount)),
            ("NodeRestriction", Box::new(node_restriction::NodeRestriction)),
            ("TaintNodesByCondition", Box::new(taint_nodes_by_condition::TaintNodesByCondition)),
            ("PodSecurity", Box::new(pod_security::PodSecurity)),
            ("Priority", Box::new(priority::Priority)),
            ("DefaultTolerationSeconds", Box::new(default_toleration_seconds::DefaultTolerationSeconds)),
            ("DefaultStorageClass", Box::new(default_class::STORAGE_CLASS)),
            (
                "StorageObjectInUseProtection",
                Box::new(storage_object_in_use_protection::StorageObjectInUseProtection),
            ),
            (
                "PersistentVolumeClaimResize",
                Box::new(persistent_volume_claim_resize::PersistentVolumeClaimResize),
            ),
            ("RuntimeClass", Box::new(runtime_class::RuntimeClass)),
            ("CertificateApproval", Box::new(certificates::APPROVAL)),
            ("CertificateSigning", Box::new(certificates::SIGNING)),
            ("ClusterTrustBundleAttest", Box::new(certificates::TrustBundleAttest)),
            ("CertificateSubjectRestriction", Box::new(certificates::SubjectRestriction)),
            ("DefaultIngressClass", Box::new(default_class::INGRESS_CLASS)),
            ("DenyServiceExternalIPs", Box::new(deny_service_external_ips::DenyServiceExternalIPs)),
            ("PodTopologyLabels", Box::new(pod_topology_labels::PodTopologyLabels)),
            ("MutatingAdmissionPolicy", Box::new(policies::MutatingAdmissionPolicy::new())),
            ("MutatingAdmissionWebhook", Box::new(webhook::MutatingAdmissionWebhook::new())),
            ("ValidatingAdmissionPolicy", Box::new(policies::ValidatingAdmissionPolicy::new())),
            ("ValidatingAdmissionWebhook", Box::new(webhook::ValidatingAdmissionWebhook::new())),
        ])
    }

    /// Lets all steps complete what was sent, twice if somebody outside has changed it.
    ///
    /// # Errors
    /// The refusal of the first step that refuses.
    pub async fn mutate(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        let (metrics, began) = (&operation.ctx.api.metrics, Instant::now());
        let completed = self.complete(operation).await;
        metrics.admitted("admit", operation.verb.as_str(), completed.is_err(), began.elapsed());
        completed
    }

    async fn complete(&self, operation: &mut Operation<'_>) -> Result<(), Status> {
        loop {
            for (name, step) in &self.0 {
                if step.handles(operation) {
                    step.mutate(operation).await.inspect_err(|refusal| tell(name, refusal))?;
                }
            }
            if !operation.reinvocation.next(operation.new.as_deref()) {
                return Ok(());
            }
        }
    }

    /// Lets all steps look at what came of it.
    ///
    /// # Errors
    /// The refusal of the first step that refuses.
    pub async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let began = Instant::now();
        let looked_at = self.look_at(operation).await;
        let metrics = &operation.ctx.api.metrics;
        metrics.admitted("validate", operation.verb.as_str(), looked_at.is_err(), began.elapsed());
        looked_at
    }

    async fn look_at(&self, operation: &Operation<'_>) -> Result<(), Status> {
        for (name, step) in &self.0 {
            if step.handles(operation) {
                step.validate(operation).await.inspect_err(|refusal| tell(name, refusal))?;
            }
        }
        Ok(())
    }

    /// Both, where there is nothing to prepare in between.
    ///
    /// # Errors
    /// As the two.
    pub async fn admit(&self, mut operation: Operation<'_>) -> Result<(), Status> {
        self.mutate(&mut operation).await?;
        self.validate(&operation).await
    }
}

fn tell(step: &str, refusal: &Status) {
    tracing::debug!(step, code = refusal.code, why = refusal.message, "refused");
}

#[cfg(test)]
mod tests;
