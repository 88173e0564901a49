//! Who may call the kubelet's server: by certificate whoever is in `system:masters`, and API servers; by token whom the API
//! server lets do so.
//!
//! Certificates of the cluster's authority name many others (nodes, schedulers, people), none of which has
//! business here. Upstream asks the API server about each of them, too; the verbs and subresources are those it asks
//! about (`server/auth.go`).

use api::Message;
use http::{HeaderMap, Method, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use machinery::pki::MASTERS;
use machinery::pki::{KUBELET_API_ADMIN, KUBELET_CLIENT, Subject};
use machinery::serve::Peer;

use super::{Backend, Refusal};

/// Lets a request pass, or says why not: whoever shows no certificate of one who may is judged by its token.
pub(super) async fn check(
    peer: &Peer,
    backend: &dyn Backend,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let (verb, subresource) = (verb(method), subresource(path));
    let forbidden = |user: &str| {
        let words =
            format!("Forbidden (user={user}, verb={verb}, resource=nodes, subresource={subresource})");
        Err(Refusal::new(StatusCode::FORBIDDEN, words))
    };
    let caller =
        caller(peer).inspect_err(|why| tracing::debug!(%why, address = %peer.address, "Unauthorized"));
    match (caller, bearer(headers)) {
        (Ok(Some(caller)), _) if may_call(&caller) => Ok(()),
        (Ok(Some(caller)), _) => forbidden(&caller.user),
        (_, Some(token)) => match backend.review(token, verb, subresource).await {
            Ok(Review { user: Some(_), allowed: true }) => Ok(()),
            Ok(Review { user: Some(user), .. }) => forbidden(&user),
            Ok(Review { user: None, .. }) => Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")),
            Err(why) => Err(Refusal::internal(why)),
        },
        _ => Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")),
    }
}

/// What the API server says of a token.
pub struct Review {
    /// Whom it identifies.
    pub user: Option<String>,
    /// Whether that user may do what was asked.
    pub allowed: bool,
}

/// Asks the API server who has a token, and whether he may do something with a part of a node.
///
/// # Errors
/// When it does not answer.
pub async fn review(
    client: &kube::Client,
    node: &str,
    token: &str,
    verb: &str,
    subresource: &str,
) -> Result<Review, kube::Error> {
    let create = PostParams::default();
    let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
    let asked = TokenReview { spec, ..TokenReview::default() };
    let status =
        Api::<TokenReview>::all(client.clone()).create(&create, &asked).await?.status.unwrap_or_default();
    let user = status.user.filter(|_| status.authenticated == Some(true)).unwrap_or_default();
    let Some(name) = user.username.filter(|name| !name.is_empty()) else {
        return Ok(Review { user: None, allowed: false });
    };
    let what = ResourceAttributes {
        verb: Some(verb.to_owned()),
        version: Some("v1".to_owned()),
        resource: Some("nodes".to_owned()),
        subresource: Some(subresource.to_owned()),
        name: Some(node.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(name.clone()),
        uid: user.uid,
        groups: user.groups,
        extra: user.extra,
        resource_attributes: Some(what),
        ..SubjectAccessReviewSpec::default()
    };
    let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let told = Api::<SubjectAccessReview>::all(client.clone()).create(&create, &asked).await?;
    Ok(Review { user: Some(name), allowed: told.status.is_some_and(|status| status.allowed) })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")
        .filter(|token| !token.is_empty())
}

/// Whom the peer's certificate names, if it has shown one.
fn caller(peer: &Peer) -> Result<Option<Subject>, Message> {
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
