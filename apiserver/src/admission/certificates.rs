//! Who may approve and sign requests for certificates of a signer, and whom no certificate makes a master.
//!
//! Counterpart of upstream's `plugin/pkg/admission/certificates`.

use api::{object::ObjectExt as _, status::Status};
use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cel::{Authorizer, Question};
use machinery::pki::MASTERS;

use super::{Operation, Step, Verb, request::Asker};
use crate::garbage_collection::changes_only_for_collection;
use crate::resources::{CERTIFICATE_SIGNING_REQUESTS, CLUSTER_TRUST_BUNDLES};

/// The signer of certificates by which the API server knows its callers.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

/// A step that lets only those write a part of a request who have a right to its signer.
pub struct SignerRight {
    part: &'static str,
    verb: &'static str,
}

/// Approves requests, or denies them.
pub const APPROVAL: SignerRight = SignerRight { part: "approval", verb: "approve" };
/// Signs requests.
pub const SIGNING: SignerRight = SignerRight { part: "status", verb: "sign" };

#[async_trait]
impl Step for SignerRight {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.verb == Verb::Update
            && operation.subresource() == Some(self.part)
            && CERTIFICATE_SIGNING_REQUESTS.is(&operation.ctx.kind)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let (Some(new), Some(old)) = (operation.new.as_deref(), operation.old) else { return Ok(()) };
        let is_same = |field: &str| new.at(&["status", field]) == old.at(&["status", field]);
        if self.part == "status" && is_same("certificate") && is_same("conditions") {
            return Ok(());
        }
        let signer = old.str_at(&["spec", "signerName"]);
        if may(self.verb, &Asker::of(operation), signer) {
            return Ok(());
        }
        let why = format!("user not permitted to {} requests with signerName {signer:?}", self.verb);
        Err(operation.forbidden(why))
    }
}

/// Whether somebody has a right to a signer, or to all of its domain.
fn may(verb: &str, asker: &dyn Authorizer, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")].into_iter().any(|name| {
        let (verb, group) = (verb.to_owned(), "certificates.k8s.io".to_owned());
        let question = Question { verb, group, resource: "signers".into(), name, ..Question::default() };
        asker.decide(&question).allowed
    })
}

/// A step that lets only those say whom a signer's certificates lead to who have that right to it.
pub struct TrustBundleAttest;

#[async_trait]
impl Step for TrustBundleAttest {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        matches!(operation.verb, Verb::Create | Verb::Update) && CLUSTER_TRUST_BUNDLES.is(&operation.ctx.kind)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let Some(new) = operation.new.as_deref() else { return Ok(()) };
        let signer = new.str_at(&["spec", "signerName"]);
        let collects = operation.old.is_some_and(|old| changes_only_for_collection(old, new));
        if signer.is_empty() || collects || may("attest", &Asker::of(operation), signer) {
            return Ok(());
        }
        Err(operation.forbidden(format!("user not permitted to attest for signerName {signer:?}")))
    }
}

/// A step that lets nobody become a master by a certificate.
pub struct SubjectRestriction;

#[async_trait]
impl Step for SubjectRestriction {
    fn handles(&self, operation: &Operation<'_>) -> bool {
        operation.creates(CERTIFICATE_SIGNING_REQUESTS)
    }

    async fn validate(&self, operation: &Operation<'_>) -> Result<(), Status> {
        let Some(new) = operation.new.as_deref() else { return Ok(()) };
        if new.str_at(&["spec", "signerName"]) != CLIENTS {
            return Ok(());
        }
        let pem = STANDARD.decode(new.str_at(&["spec", "request"])).unwrap_or_default();
        let groups = machinery::pki::check_request(&pem)
            .map_err(|why| operation.forbidden(format!("failed to parse CSR: {why}")))?;
        if groups.iter().any(|group| group == MASTERS) {
            let why = format!("use of {CLIENTS} signer with {MASTERS} group is not allowed");
            return Err(operation.forbidden(why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
