//! Subresources that somebody else answers: a node's kubelet (log, exec, attach, port-forward), or whatever
//! listens in a pod, behind a service or on a node (proxy).
//!
//! The server finds the address, opens a connection and joins the two, byte for byte once they are upgraded.
//! Upstream counterparts: `registry/core/pod/rest` and `apimachinery/pkg/util/proxy`.

pub mod backend;
mod html;
mod kubelet;
mod proxy;

use api::status::Status;
use http::{Request, Response};
use kinds::kind::Kind;

use crate::{
    body::Upload,
    context::Ctx,
    request::{Target, Verb},
    resources::{NODES, PODS, SERVICES},
    response::Body,
};

/// Whether a subresource is answered by somebody else.
pub fn is_stream(kind: &Kind, subresource: Option<&str>) -> bool {
    is_proxy(kind, subresource)
        || (PODS.is(kind) && matches!(subresource, Some("log" | "exec" | "attach" | "portforward")))
}

/// Whether a subresource passes requests on as they are: method, query and body are none of ours.
pub fn is_proxy(kind: &Kind, subresource: Option<&str>) -> bool {
    subresource == Some("proxy") && [PODS, SERVICES, NODES].iter().any(|resource| resource.is(kind))
}

/// Whether what a path leads to answers in words of its own.
pub fn is_passed_on(target: &Target) -> bool {
    let Target::Resource(path) = target else { return false };
    matches!(path.subresource.as_deref(), Some("proxy" | "log" | "exec" | "attach" | "portforward"))
}

/// Answers such a request.
///
/// # Errors
/// As [`kubelet::serve`] and [`proxy::serve`].
pub async fn serve(ctx: Ctx, verb: Verb, request: Request<Upload>) -> Result<Response<Body>, Status> {
    let running = ctx.api.metrics.long_running(verb, &ctx.path);
    if is_proxy(&ctx.kind, ctx.path.subresource.as_deref()) {
        return proxy::serve(ctx, running, request).await;
    }
    kubelet::serve(ctx, verb, running, request).await
}
