//! What a CertificateSigningRequest has to look like for its signer and its approver, and how long it is kept.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use machinery::pki::{self, Requested};

use crate::frame::{Timestamp, plus_seconds};

/// The signer of certificates for the clients of the API server …
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// … for kubelets among these …
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// … for kubelets' own servers …
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// … and for whatever somebody who may approves.
pub const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";
const HOUR: i64 = 3600;
/// Who asks for less gets this.
const SHORTEST: Duration = Duration::from_secs(600);
/// Certificates begin to hold this long before they are signed …
const BACKDATE: i64 = 300;
/// … and those of this life or more end as much earlier.
const LONG: Duration = Duration::from_secs(8 * 3600);

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, or nothing yet.
    Wait,
    /// Ask whether its author may have it unseen: with any of these rights it is approved, with the message beside.
    Review(Vec<(&'static str, &'static str)>),
    /// Sign it.
    Sign,
    /// It breaks its signer's rules.
    Fail(String),
}

/// What a request needs next; `signs` says whether its signer is here.
pub fn step(request: &CertificateSigningRequest, signs: bool) -> Step {
    let has = |kind: &str| conditions(request).iter().any(|condition| condition.type_ == kind);
    if issued(request).is_some() || has("Denied") || has("Failed") {
        return Step::Wait;
    }
    let spec = &request.spec;
    // Admission lets nothing else in.
    let Ok(asked) = Requested::read(&spec.request.0) else { return Step::Wait };
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    if !has("Approved") {
        if spec.signer_name != KUBELET_CLIENT || kubelet_client(&asked, &usages).is_err() {
            return Step::Wait;
        }
        let own = "Auto approving self kubelet client certificate after SubjectAccessReview.";
        let other = "Auto approving kubelet client certificate after SubjectAccessReview.";
        let mut rights = vec![("selfnodeclient", own), ("nodeclient", other)];
        rights.retain(|(right, _)| *right == "nodeclient" || spec.username.as_ref() == Some(&asked.user));
        return Step::Review(rights);
    }
    let checked = match spec.signer_name.as_str() {
        _ if !signs => return Step::Wait,
        CLIENT => client(spec.usages.as_deref().unwrap_or_default()),
        KUBELET_CLIENT => kubelet_client(&asked, &usages),
        KUBELET_SERVING => kubelet_serving(&asked, &usages),
        LEGACY_UNKNOWN => Ok(()),
        _ => return Step::Wait,
    };
    checked.map_or_else(|Broken(why)| Step::Fail(why), |()| Step::Sign)
}

/// A rule of the signer that a request breaks, in upstream's words.
struct Broken(String);

fn client(usages: &[String]) -> Result<(), Broken> {
    let known = ["digital signature", "key encipherment", "client auth"];
    if let Some(usage) = usages.iter().find(|usage| !known.contains(&usage.as_str())) {
        return Err(Broken(format!("invalid usage for client certificate: {usage}")));
    }
    let missing = || Broken("missing required usage for client certificate: client auth".to_owned());
    usages.iter().any(|usage| usage == "client auth").then_some(()).ok_or_else(missing)
}

/// The first of these that is so is what is wrong.
fn first_wrong(checks: &[(bool, &str)]) -> Result<(), Broken> {
    checks.iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, why)| Err(Broken((*why).to_owned())))
}

/// With key encipherment or, for keys that cannot, without.
fn other_usages(usages: &BTreeSet<&str>, purpose: &str) -> bool {
    let mut rest = usages.clone();
    rest.remove("key encipherment");
    rest != BTreeSet::from(["digital signature", purpose])
}

fn kubelet_client(asked: &Requested, usages: &BTreeSet<&str>) -> Result<(), Broken> {
    first_wrong(&[
        (asked.groups != ["system:nodes"], "subject organization is not system:nodes"),
        (asked.dns, "DNS subjectAltNames are not allowed"),
        (asked.emails, "Email subjectAltNames are not allowed"),
        (asked.ips, "IP subjectAltNames are not allowed"),
        (asked.uris, "URI subjectAltNames are not allowed"),
        (!asked.user.starts_with("system:node:"), "subject common name does not begin with system:node:"),
        (
            other_usages(usages, "client auth"),
            "usages did not match [client auth digital signature key encipherment]",
        ),
    ])
}

fn kubelet_serving(asked: &Requested, usages: &BTreeSet<&str>) -> Result<(), Broken> {
    first_wrong(&[
        (asked.groups != ["system:nodes"], "subject organization is not system:nodes"),
        (!asked.dns && !asked.ips, "DNS or IP subjectAltName is required"),
        (asked.emails, "Email subjectAltNames are not allowed"),
        (asked.uris, "URI subjectAltNames are not allowed"),
        (
            other_usages(usages, "server auth"),
            "usages did not match [digital signature key encipherment server auth]",
        ),
        (!asked.user.starts_with("system:node:"), "subject common name does not begin with system:node:"),
    ])
}

/// From when to when a certificate signed now holds: as long as was asked for, and no longer than `longest`.
pub fn validity(asked: Option<i32>, longest: Duration, now: Timestamp) -> (Timestamp, Timestamp) {
    let seconds = asked.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
    let life = seconds.map_or(longest, |seconds| seconds.max(SHORTEST).min(longest));
    let earlier = if life < LONG { 0 } else { BACKDATE };
    let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    (plus_seconds(now, -BACKDATE), plus_seconds(now, life.saturating_sub(earlier)))
}

/// When a request is of no more use to anybody.
pub fn end(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let made = request.metadata.creation_timestamp.as_ref().map(|at| plus_seconds(at.0, 24 * HOUR));
    if conditions(request).is_empty() {
        return made;
    }
    let issued = issued(request);
    let each = conditions(request).iter().filter_map(|condition| {
        let since = condition.last_update_time.as_ref().map(|at| at.0);
        let kept = match (condition.type_.as_str(), issued) {
            ("Denied" | "Failed", _) | ("Approved", Some(_)) => HOUR,
            ("Approved", None) => 24 * HOUR,
            _ => return None,
        };
        let out = issued.filter(|_| condition.type_ == "Approved").and_then(pki::validity);
        since.map(|since| plus_seconds(since, kept)).into_iter().chain(out.map(|(_, end)| end)).min()
    });
    each.min()
}

fn issued(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = request.status.as_ref()?.certificate.as_ref()?;
    Some(certificate.0.as_slice()).filter(|certificate| !certificate.is_empty())
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
