//! Subresources that somebody else answers: a node's kubelet (log, exec, attach, port-forward), or whatever
//! listens in a pod, behind a service or on a node (proxy).
//!
//! The server finds the address, opens a connection and joins the two, byte for byte once they are upgraded.
//! Upstream counterparts: `registry/core/pod/rest` and `apimachinery/pkg/util/proxy`.

pub mod backend;
mod html;
mod kubelet;
pub mod proxy;

use api::status::Status;
use http::{Request, Response};
use kinds::kind::Kind;
use serde_json::{Value, json};

use crate::{
    admission::Operation,
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
    let running = ctx.running(verb);
    if is_proxy(&ctx.kind, ctx.path.subresource.as_deref()) {
        return proxy::serve(ctx, running, request).await;
    }
    kubelet::serve(ctx, verb, running, request).await
}

/// Admits a connection, before anything is looked up or dialled.
async fn admit(ctx: &Ctx) -> Result<(), Status> {
    ctx.api.admission.admit(Operation::connect(ctx, &mut options(ctx))).await
}

/// What is asked for, as the object that the options of a connection are.
fn options(ctx: &Ctx) -> Value {
    let subresource = ctx.path.subresource.as_deref().unwrap_or_default();
    let carried = ctx.kind.subresource(subresource).and_then(|subresource| subresource.gvk);
    let mut options = json!({"apiVersion": "v1", "kind": carried.map(|(_, _, kind)| kind)});
    if subresource == "proxy" {
        options["path"] = ctx.path.rest.as_ref().map(|rest| format!("/{rest}")).into();
        return options;
    }
    let all = |name: &'static str| {
        ctx.query.all.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value)
    };
    for flag in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|flag| ctx.query.all.flag(flag)) {
        options[flag] = true.into();
    }
    if let Some(container) = ctx.query.all.get("container") {
        options["container"] = container.into();
    }
    let command: Vec<&str> = all("command").collect();
    if !command.is_empty() {
        options["command"] = command.into();
    }
    let ports: Vec<u16> = all("ports").flat_map(|ports| ports.split(',')).flat_map(str::parse).collect();
    if !ports.is_empty() {
        options["ports"] = ports.into();
    }
    options
}
