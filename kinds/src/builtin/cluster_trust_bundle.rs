//! ClusterTrustBundle: certificates of authorities that are to be trusted, of a signer's or of others. Whether they are
//! some, the API server sees to.

use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;

use super::certificate_signing_request::signer_name;
use crate::builtin::prelude::*;

impl Strategy for ClusterTrustBundle {
    // What exactly is allowed as a name is checked below.
    const FACTS: Facts =
        Facts { names: NameRule::PathSegment, updates_unconditionally: false, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        absent_when_zero(&mut self.spec.signer_name);
    }

    fn validate(&self, errors: &mut Errors) {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        let signer = self.spec.signer_name.as_deref().unwrap_or_default();
        each(errors, &Path::new("metadata.name"), name, wrong_name(signer, name));
        if !signer.is_empty() {
            signer_name(signer, &Path::new("spec.signerName"), errors);
        }
    }

    fn validate_update(&self, old: &Self, _part: Part<'_>, errors: &mut Errors) {
        self.validate(errors);
        let signer = |bundle: &Self| bundle.spec.signer_name.clone().unwrap_or_default();
        immutable(&signer(self), &signer(old), &Path::new("spec.signerName"), errors);
    }

    // No age: the real table has none either.
    fn columns() -> Vec<Column> {
        let signer = Column::text("SignerName", "Whose certificates it has.", |b| {
            text_or(b, &["spec", "signerName"], "<none>")
        });
        vec![Column::name(), signer]
    }

    fn selectable_fields(bundle: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", bundle.str_at(&["spec", "signerName"]).to_owned())]
    }
}

/// What is wrong with the name of a bundle of such a signer.
pub fn wrong_name(signer: &str, name: &str) -> Vec<String> {
    if signer.is_empty() && name.contains(':') {
        return vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()];
    }
    let prefix = if signer.is_empty() { String::new() } else { signer.replace('/', ":") + ":" };
    name.strip_prefix(&prefix).map(dns_subdomain).unwrap_or_else(|| {
        vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")]
    })
}

#[cfg(test)]
mod tests;
