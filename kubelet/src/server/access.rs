//! Who may call the kubelet's server: whom the API server lets do so, by certificate or token, and API servers themselves.
//!
//! Each path belongs to a subresource of the node; some belong to a finer one and to `nodes/proxy`, either of which
//! will do. Upstream counterpart: `server/auth.go`.

use http::{HeaderMap, Method, StatusCode};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReviewSpec};
use machinery::serve::Peer;
use machinery::serve::access::{Access, OPEN_PATHS};

use super::Refusal;

/// Lets a request pass, or says why not.
pub(super) async fn check(
    access: &Access,
    node: &str,
    peer: &Peer,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if OPEN_PATHS.contains(&path) {
        return Ok(());
    }
    let user = access.identify(peer, headers).await.unwrap_or_else(|why| {
        tracing::warn!(%why, address = %peer.address, "Unable to authenticate the request due to an error");
        None
    });
    let user = user.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized"))?;
    let name = user.username.as_deref().unwrap_or_default();
    let (verb, subresources) = (verb(method, path), subresources(path));
    for subresource in subresources {
        let what = ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some((*subresource).to_owned()),
            name: Some(node.to_owned()),
            ..ResourceAttributes::default()
        };
        let asked = SubjectAccessReviewSpec { resource_attributes: Some(what), ..Default::default() };
        let verdict = access.judge(&user, asked).await.map_err(|why| {
            let words = format!(
                "Authorization error (user={name}, verb={verb}, resource=nodes, subresource={subresource})"
            );
            tracing::warn!(%why, "{words}");
            Refusal::internal(words)
        })?;
        if verdict.allowed {
            return Ok(());
        }
    }
    let all = subresources.join(" ");
    let words = format!("Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{all}])\n");
    Err(Refusal::new(StatusCode::FORBIDDEN, words))
}

/// What a request does. Whoever opens a session in a container creates it, also with the GET that a WebSocket begins
/// with: who may only read of a node runs nothing there.
fn verb(method: &Method, path: &str) -> &'static str {
    if matches!(first(path), "exec" | "attach" | "portForward" | "run") {
        return "create";
    }
    match method.as_str() {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn first(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// The subresources any of which lets a caller read a path, the finest first.
fn subresources(path: &str) -> &'static [&'static str] {
    match first(path) {
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        "flagz" => &["configz"],
        "statusz" => &["statusz"],
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        _ => &["proxy"],
    }
}

#[cfg(test)]
mod tests;
