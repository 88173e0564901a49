//! Who may call the kubelet's server: whoever is in `system:masters`, and API servers.
//!
//! Certificates of the cluster's authority name many others (nodes, schedulers, people), none of which has
//! business here. Upstream asks the API server about each caller (SubjectAccessReview); the verbs and
//! subresources of a refusal are those it asks about (`server/auth.go`).

use http::{Method, StatusCode};
use machinery::pki::{KUBELET_API_ADMIN, KUBELET_CLIENT, Subject};
use machinery::serve::Peer;

use super::Refusal;

/// The group that may do everything.
const MASTERS: &str = "system:masters";

/// Lets a request pass, or says why not.
pub(super) fn check(peer: &Peer, method: &Method, path: &str) -> Result<(), Refusal> {
    let caller =
        caller(peer).inspect_err(|why| tracing::debug!(why, address = %peer.address, "Unauthorized"));
    let Ok(Some(caller)) = caller else { return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")) };
    if may_call(&caller) {
        return Ok(());
    }
    let (verb, subresource) = (verb(method), subresource(path));
    let words =
        format!("Forbidden (user={}, verb={verb}, resource=nodes, subresource={subresource})", caller.user);
    Err(Refusal::new(StatusCode::FORBIDDEN, words))
}

/// Whom the peer's certificate names, if it has shown one.
fn caller(peer: &Peer) -> Result<Option<Subject>, String> {
    peer.certificate.as_ref().map_or(Ok(None), |shown| Subject::of(shown.certificate()?))
}

fn may_call(caller: &Subject) -> bool {
    caller.user == KUBELET_CLIENT
        || caller.groups.iter().any(|group| group == MASTERS || group == KUBELET_API_ADMIN)
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn subresource(path: &str) -> &'static str {
    match path.trim_start_matches('/').split('/').next() {
        Some("stats") => "stats",
        Some("metrics") => "metrics",
        Some("logs") => "log",
        _ => "proxy",
    }
}

#[cfg(test)]
mod tests;
