//! What the kubelet of a pod's node answers: log, exec, attach, port-forward.

use api::{Message, address::Dialable, object::ObjectExt as _, status::Status};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use kinds::builtin::pod::log_options;
use serde_json::Value;

use machinery::{join::ClientEnd, serve::Upgrade};

use super::backend::{Backend, Outgoing};
use crate::{
    Api,
    body::Upload,
    context::Ctx,
    forms::value,
    http::{metrics::Running, websocket::InMessages},
    request::Verb,
    resources::NODES,
    response::Body,
    verbs::read,
};

/// The port of a kubelet that does not say which.
const KUBELET_PORT: u16 = 10250;

/// Answers such a request.
///
/// # Errors
/// 400 without a clear container, 404 without a pod, 500 and 503 when the kubelet does not answer.
pub async fn serve(
    ctx: Ctx,
    verb: Verb,
    running: Running,
    mut request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    let subresource = ctx.path.subresource.clone().unwrap_or_default();
    if !matches!(verb, Verb::Get | Verb::Create) {
        return Err(Status::method_not_allowed());
    }
    if subresource != "log" {
        super::admit(&ctx).await?;
    } else {
        let name = ctx.path.name.as_deref().unwrap_or_default();
        log_options::check(name, |option| ctx.query.all.get(option))?;
    }
    let pod = read::find(&ctx).await?;
    let pod = value(&pod)?;
    let target = path_on_kubelet(&ctx, &pod, &subresource)?;
    let node = pod.str_at(&["spec", "nodeName"]);
    if node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", pod.name())));
    }
    let kubelet = of_node(&ctx.api, node)?.counted(running);
    if subresource == "log" {
        let messages = InMessages::of(&mut request)?;
        let answer = get(&kubelet, &target).await?;
        return match messages {
            Some(messages) => messages.bytes(&ctx.api, answer),
            None => Ok(answer),
        };
    }
    if !request.headers().contains_key(header::UPGRADE) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    upgrade(&kubelet, &target, request).await
}

/// Path and query under which the kubelet knows the request.
fn path_on_kubelet(ctx: &Ctx, pod: &Value, subresource: &str) -> Result<String, Status> {
    let (namespace, name) = (pod.namespace(), pod.name());
    let query = |leave_out: &[&str]| {
        let encode = |s: &str| {
            percent_encoding::utf8_percent_encode(s, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let pairs = ctx.query.all.iter().filter(|(k, _)| !leave_out.contains(k));
        pairs.map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&")
    };
    if subresource == "portforward" {
        return Ok(format!("/portForward/{namespace}/{name}?{}", ports(ctx.query.all.iter())?));
    }
    let container = container(ctx, pod, subresource)?;
    if subresource == "log" {
        return Ok(format!("/containerLogs/{namespace}/{name}/{container}?{}", query(&["container"])));
    }
    // The kubelet's own names for the streams differ from the API's.
    let mut pairs = Vec::new();
    for (ours, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if ctx.query.all.flag(ours) {
            pairs.push(format!("{theirs}=1"));
        }
    }
    let rest = query(&["container", "stdin", "stdout", "stderr", "tty"]);
    if !rest.is_empty() {
        pairs.push(rest);
    }
    Ok(format!("/{subresource}/{namespace}/{name}/{container}?{}", pairs.join("&")))
}

/// The ports of a port-forward as the kubelet is told of them: lists or single numbers here, one list there.
fn ports<'a>(query: impl Iterator<Item = (&'a str, &'a str)>) -> Result<String, Status> {
    let lists = query.filter(|(name, _)| *name == "ports").map(|(_, ports)| ports);
    let ports: Vec<u16> = lists
        .flat_map(|ports| ports.split(','))
        .map(|port| {
            let why =
                |_| format!("cannot convert to []int32: strconv.ParseUint: parsing {port:?}: invalid syntax");
            port.parse().map_err(why)
        })
        .collect::<Result<_, _>>()
        .map_err(Status::bad_request)?;
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    Ok(if ports.is_empty() { String::new() } else { format!("port={}", ports.join(",")) })
}

/// The container meant: the one named, or the only one.
fn container(ctx: &Ctx, pod: &Value, subresource: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let all = pod["spec"][list].as_array().into_iter().flatten();
        all.map(|c| c.str_at(&["name"]).to_owned()).collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    let ephemeral = names("ephemeralContainers");
    match ctx.query.all.get("container") {
        Some(wanted) => {
            if main.iter().chain(&init).chain(&ephemeral).any(|n| n == wanted) {
                return Ok(wanted.to_owned());
            }
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", pod.name())))
        }
        None if main.len() == 1 || subresource == "attach" => Ok(main.into_iter().next().unwrap_or_default()),
        None => {
            let mut text = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                pod.name(),
                main.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Status::bad_request(text))
        }
    }
}

/// The kubelet of a node.
///
/// # Errors
/// 400 for an address that is not dialled, 404 without the node, 500 without its address, 501 when this server has no identity for kubelets.
pub fn of_node(api: &Api, name: &str) -> Result<Backend, Status> {
    let Some(tls) = &api.kubelet_tls else {
        return Err(Status::failure(
            501,
            "NotImplemented",
            "this server is not configured to talk to kubelets",
        ));
    };
    let (address, port) = address_of_node(api, name)?;
    Ok(Backend::new(api, address, port, Some(tls.clone())))
}

/// A node's address, and its kubelet's port.
///
/// # Errors
/// 400 for an address that is not dialled, 404 without the node, 500 without its address.
pub fn address_of_node(api: &Api, name: &str) -> Result<(Dialable, u16), Status> {
    let node = api.cached(NODES, name).ok_or_else(|| Status::not_found("nodes", "", name))?;
    let node = value(&node)?;
    let addresses = node.at(&["status", "addresses"]).and_then(Value::as_array);
    let of_type = |kind: &String| {
        let mut found = addresses.into_iter().flatten().filter(|a| a["type"] == kind.as_str());
        found.find_map(|a| Some(a.str_at(&["address"]).to_owned()).filter(|a| !a.is_empty()))
    };
    let address = api.config.node_addresses.iter().find_map(of_type);
    let port = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).and_then(Value::as_u64);
    let address = address.ok_or_else(|| {
        let known = addresses.into_iter().flatten().map(|address| address.str_at(&["address"]));
        let known = known.collect::<Vec<_>>().join(" ");
        Status::internal(format!("no preferred addresses found; known addresses: [{known}]"))
    })?;
    Ok((
        Dialable::parse(&address).map_err(|e| Status::bad_request(e.to_string()))?,
        port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0).unwrap_or(KUBELET_PORT),
    ))
}

fn unreachable(why: Message) -> Status {
    Status::internal(format!("error dialing backend: {why}"))
}

fn onward(kubelet: &Backend, method: Method, target: &str) -> Result<Request<Outgoing>, Status> {
    Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, kubelet.authority())
        .body(Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync())
        .map_err(Status::internal)
}

/// A plain answer, streamed through.
async fn get(kubelet: &Backend, target: &str) -> Result<Response<Body>, Status> {
    let request = onward(kubelet, Method::GET, target)?;
    let answer = kubelet.send(request).await.map_err(unreachable)?;
    if answer.status() != StatusCode::OK {
        return Err(refusal(answer, Status::internal).await);
    }
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(kubelet.through(body));
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    Ok(response)
}

/// Upgrades both connections and joins them.
async fn upgrade(
    kubelet: &Backend,
    target: &str,
    mut request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    let mut onward = onward(kubelet, request.method().clone(), target)?;
    for (name, value) in request.headers() {
        let passed = matches!(*name, header::CONNECTION | header::UPGRADE)
            || name.as_str().starts_with("sec-websocket-")
            || name.as_str().starts_with("x-stream-");
        if passed {
            onward.headers_mut().append(name, value.clone());
        }
    }
    let answer = kubelet.send(onward).await.map_err(unreachable)?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        // Clients put words of their own before these.
        return Err(refusal(answer, |text| Status::failure(500, "InternalError", text)).await);
    }
    Ok(kubelet.join(Upgrade::of(&mut request), answer, ClientEnd::Gone))
}

/// What a kubelet's refusal means to the caller: its own `Status`, or its text; `failure` says how it
/// tells of the kubelet's own trouble.
async fn refusal(answer: Response<Incoming>, failure: impl FnOnce(String) -> Status) -> Status {
    let code = answer.status().as_u16();
    let bytes = crate::body::read(answer.into_body()).await.unwrap_or_default();
    if let Ok(status) = serde_json::from_slice::<Status>(&bytes)
        && status.kind == "Status"
        && status.code >= 400
    {
        return status;
    }
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    match code {
        400 => Status::bad_request(text),
        404 => Status::failure(404, "NotFound", text),
        _ => failure(text),
    }
}
