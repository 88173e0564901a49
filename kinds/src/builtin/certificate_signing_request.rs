//! CertificateSigningRequest: somebody asks for a certificate, somebody else approves, a signer signs.
//!
//! Who asks, and whether the request itself is well signed, the API server sees to (admission).

use std::collections::BTreeSet;

use api::conditions;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};

use crate::builtin::prelude::*;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
/// The shortest life that may be asked for, in seconds.
const SHORTEST: i32 = 600;

impl Strategy for CertificateSigningRequest {
    const FACTS: Facts = Facts { names: NameRule::PathSegmentLast, ..Facts::PLAIN };

    fn fill_in(&mut self) {
        self.status.get_or_insert_default();
    }

    fn prepare_update(new: &mut Draft<Self>, old: &Draft<Self>, part: Part<'_>) {
        new.spec.clone_from(&old.spec);
        if part == Part::Other("approval") {
            let given = new.status.take().and_then(|s| s.conditions);
            new.status = old.status.clone();
            new.status.get_or_insert_default().conditions = given;
        }
    }

    fn validate(&self, errors: &mut Errors) {
        let spec = &self.spec;
        let at = Path::new("spec");
        let usages_at = at.child("usages");
        let usages = spec.usages.as_deref().unwrap_or_default();
        if usages.is_empty() {
            errors.required(&usages_at, "");
        }
        for (i, usage) in usages.iter().enumerate() {
            one_of(usage.as_str(), USAGES, &usages_at.index(i), errors);
        }
        let mut seen = BTreeSet::new();
        for (i, usage) in usages.iter().enumerate().filter(|(_, usage)| !seen.insert(*usage)) {
            errors.duplicate(&usages_at.index(i), usage);
        }
        match spec.signer_name.as_str() {
            LEGACY_SIGNER => {
                let why = "the legacy signerName is not allowed via this API version";
                errors.invalid(&at.child("signerName"), LEGACY_SIGNER, why);
            }
            name => signer_name(name, &at.child("signerName"), errors),
        }
        if let Some(seconds) = spec.expiration_seconds.filter(|s| *s < SHORTEST) {
            let why = format!("may not specify a duration less than {SHORTEST} seconds (10 minutes)");
            errors.invalid(&at.child("expirationSeconds"), seconds, why);
        }
        conditions(conditions_of(self), errors);
    }

    fn validate_update(&self, old: &Self, part: Part<'_>, errors: &mut Errors) {
        immutable(&self.spec, &old.spec, &Path::new("spec"), errors);
        conditions(conditions_of(self), errors);
        let at = Path::new("status.conditions");
        for kind in ["Approved", "Denied", "Failed"] {
            let of = |request: &CertificateSigningRequest| -> Vec<_> {
                conditions_of(request).iter().filter(|c| c.type_ == kind).cloned().collect()
            };
            let (present, before) = (of(self), of(old));
            if present.len() < before.len() {
                errors.forbidden(&at, format!("updates may not remove a condition of type {kind:?}"));
            } else if kind == "Failed" || part == Part::Other("approval") {
                continue;
            } else if present.len() > before.len() {
                errors.forbidden(&at, format!("updates may not add a condition of type {kind:?}"));
            } else if present != before {
                errors.forbidden(&at, format!("updates may not modify a condition of type {kind:?}"));
            }
        }
        let certificate = |request: &CertificateSigningRequest| {
            let issued = request.status.as_ref().and_then(|s| s.certificate.as_ref());
            issued.map(|c| c.0.clone()).unwrap_or_default()
        };
        let at = Path::new("status.certificate");
        if certificate(self) != certificate(old) {
            if part != Part::Status {
                errors.forbidden(&at, "updates may not set certificate content");
            } else if !certificate(old).is_empty() {
                errors.forbidden(&at, "updates may not modify existing certificate content");
            }
        }
    }

    fn columns() -> Vec<Column> {
        vec![
            Column::name(),
            Column::age(),
            Column::text("SignerName", "Who is to sign.", |r| text_or(r, &["spec", "signerName"], "<none>")),
            Column::field("Requestor", "Who asks.", &["spec", "username"]),
            Column::text("RequestedDuration", "How long the certificate shall live.", |r| {
                let duration = r.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64);
                duration.map_or("<none>".into(), cell::human_duration).into()
            }),
            Column::text("Condition", "How far the request has come.", |r| condition(r).into()),
        ]
    }

    fn selectable_fields(request: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", request.str_at(&["spec", "signerName"]).to_owned())]
    }
}

fn condition(request: &Value) -> String {
    let has = |kind: &str| conditions::find(request, kind).is_some();
    let mut said = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        said.push_str(",Failed");
    }
    if !request.str_at(&["status", "certificate"]).is_empty() {
        said.push_str(",Issued");
    }
    said
}

fn conditions_of(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

fn conditions(conditions: &[CertificateSigningRequestCondition], errors: &mut Errors) {
    const STATES: &[&str] = &["False", "True", "Unknown"];
    let mut before = BTreeSet::new();
    for (at, condition) in Path::new("status.conditions").items(conditions.iter()) {
        let (kind, status) = (condition.type_.as_str(), condition.status.as_str());
        given(kind, &at.child("type"), errors);
        match status {
            "" => errors.required(&at.child("status"), ""),
            _ if !STATES.contains(&status) => errors.not_supported(&at.child("status"), status, STATES),
            _ => {}
        }
        if matches!(kind, "Approved" | "Denied" | "Failed") && status != "True" {
            errors.not_supported(&at.child("status"), status, &["True"]);
        }
        unique(&mut before, kind, &at.child("type"), errors);
        if (kind == "Approved" && before.contains("Denied"))
            || (kind == "Denied" && before.contains("Approved"))
        {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&at.child("type"), kind, why);
        }
    }
}

/// `example.com/signer-name`
pub fn signer_name(name: &str, at: &Path, errors: &mut Errors) {
    if name.is_empty() {
        return errors.required(at, "");
    }
    let [domain, path] = name.split('/').collect::<Vec<_>>()[..] else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(at, name, why);
    };
    let mut labels = |whole: &str, check: fn(&str) -> Vec<String>| {
        let wrong = whole.split('.').map(|l| (l, check(l))).find(|(_, wrong)| !wrong.is_empty());
        for (label, why) in wrong.iter().flat_map(|(label, wrong)| wrong.iter().map(move |why| (label, why)))
        {
            errors.invalid(at, whole, format!("validating label {label:?}: {why}"));
        }
    };
    labels(domain, dns_label);
    labels(path, dns_subdomain);
    if !domain.contains('.') {
        errors.invalid(at, domain, "should be a domain with at least two segments separated by dots");
    }
}

#[cfg(test)]
mod tests;
