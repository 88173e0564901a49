//! `proxy` of pods, services and nodes: a request passed on to whatever listens there, and its answer passed back.
//!
//! Names may carry scheme and port (`https:name:port`). What identifies the caller to us is not passed on, and
//! redirects within the backend and the links of its pages ([`html`]) lead back through the proxy.

use std::sync::{Arc, LazyLock};

use api::{address::Dialable, object::ObjectExt as _, status::Status};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use machinery::{join::ClientEnd, onward, serve::Upgrade};
use rand::seq::IndexedRandom as _;
use rustls::ClientConfig;
use serde_json::Value;

use super::{backend::Backend, html, kubelet};
use crate::{
    Api,
    auth::Caller,
    body::Upload,
    context::Ctx,
    forms::value,
    http::metrics::Running,
    resources::{ENDPOINT_SLICES, PODS, SERVICES},
    response::{self, Body},
    watch_cache::{CachedObject, Scope},
};

/// Answers a request to a `proxy` subresource.
///
/// # Errors
/// 400 for a name or address that makes no sense, 404 for an object that is not there, 503 when nobody answers.
pub async fn serve(ctx: Ctx, running: Running, request: Request<Upload>) -> Result<Response<Body>, Status> {
    super::admit(&ctx).await?;
    ctx.api.cache.fresh().await?;
    let backend = find(&ctx)?.counted(running);
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let bare = ctx.path.rest.is_none();
    if bare && !upgrade && matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(to_folder(&request));
    }
    pass(&backend, ctx.path.rest.as_deref(), request, HeaderMap::new()).await
}

/// Relative links of a page only work below a path that ends in a slash.
fn to_folder<B>(request: &Request<B>) -> Response<Body> {
    let query = request.uri().query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut response = Response::new(response::full(Vec::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(folder) = HeaderValue::try_from(format!("{}/{query}", request.uri().path())) {
        response.headers_mut().insert(header::LOCATION, folder);
    }
    response
}

/// A name as the path has it: `[scheme:]name[:port]`.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    tls: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self { tls: scheme == "https", name, port })
    }
}

fn find(ctx: &Ctx) -> Result<Backend, Status> {
    let what = ctx.kind.singular.as_ref();
    let name = Name::parse(ctx.name())
        .ok_or_else(|| Status::bad_request(format!("invalid {what} request {:?}", ctx.name())))?;
    match what {
        "pod" => pod(ctx, &name),
        "service" => service(ctx, &name),
        _ => node(&ctx.api, &name),
    }
}

static TRUSTING: LazyLock<Arc<ClientConfig>> = LazyLock::new(machinery::tls::trusting_client_config);

fn backend(api: &Api, host: Dialable, port: u16, tls: bool) -> Backend {
    Backend::new(api, host, port, tls.then(|| TRUSTING.clone()))
}

fn port_number(text: &str) -> Result<u16, Status> {
    text.parse().map_err(|_| unavailable(format!("address {text}: invalid port")))
}

fn unavailable(why: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("error trying to reach service: {why}"))
}

/// The pod's address; its first declared port where none is named.
fn pod(ctx: &Ctx, name: &Name<'_>) -> Result<Backend, Status> {
    let found = ctx.resource.get(&ctx.cache_key(name.name));
    let pod = found.ok_or_else(|| Status::not_found("pods", "", name.name))?;
    let pod = value(&pod)?;
    let address = Dialable::parse(pod.str_at(&["status", "podIP"]));
    let address = address.map_err(|e| Status::bad_request(e.to_string()))?;
    let declared = || {
        let containers = pod.at(&["spec", "containers"]).and_then(Value::as_array);
        let ports = containers.into_iter().flatten().filter_map(|c| c["ports"].as_array()?.first());
        ports.filter_map(|p| u16::try_from(p["containerPort"].as_u64()?).ok()).next()
    };
    let port = match name.port {
        "" => declared().unwrap_or(if name.tls { 443 } else { 80 }),
        text => port_number(text)?,
    };
    Ok(backend(&ctx.api, address, port, name.tls))
}

/// The kubelet itself where its port or none is named, else a port of the node.
fn node(api: &Api, name: &Name<'_>) -> Result<Backend, Status> {
    let (address, kubelet_port) = kubelet::address_of_node(api, name.name)?;
    let port = if name.port.is_empty() { kubelet_port } else { port_number(name.port)? };
    if port == kubelet_port {
        return kubelet::of_node(api, name.name);
    }
    Ok(backend(api, address, port, name.tls))
}

/// One of the service's ready endpoints.
fn service(ctx: &Ctx, name: &Name<'_>) -> Result<Backend, Status> {
    let namespace = ctx.path.namespace.as_deref().unwrap_or_default();
    let (address, port) = endpoint(&ctx.api, namespace, name.name, name.port)?;
    Ok(backend(&ctx.api, address, port, name.tls))
}

/// Address and port of one of the ready endpoints behind a port of a service, called by its number or its name.
///
/// # Errors
/// 404 for a service that is not there, 503 when it has no such port or nobody is behind it.
pub fn endpoint(api: &Api, namespace: &str, name: &str, port: &str) -> Result<(Dialable, u16), Status> {
    let found = api.cached(SERVICES, &format!("{namespace}/{name}"));
    let service = value(&*found.ok_or_else(|| Status::not_found("services", "", name))?)?;
    let port = match port.parse::<i64>() {
        Ok(number) => {
            let ports = service.at(&["spec", "ports"]).and_then(Value::as_array);
            let port = ports.into_iter().flatten().find(|p| p["port"].as_i64() == Some(number));
            let port = port.ok_or_else(|| {
                Status::unavailable(format!("no service port {number} found for service {name:?}"))
            })?;
            port.str_at(&["name"])
        }
        Err(_) => port,
    };
    let candidates = endpoints(api, namespace, name, port)?.unwrap_or_default();
    let chosen = candidates.choose(&mut rand::rng()).copied();
    chosen.ok_or_else(|| Status::unavailable(format!("no endpoints available for service {name:?}")))
}

/// Addresses and ports behind a named port of a service; `None` without any slice. Only addresses of pods count: whoever may
/// write EndpointSlices shall not send this server anywhere.
///
/// # Errors
/// 500 for a slice that cannot be read.
pub fn endpoints(
    api: &Api,
    namespace: &str,
    service: &str,
    port: &str,
) -> Result<Option<Vec<(Dialable, u16)>>, Status> {
    let (mut found, mut any) = (Vec::new(), false);
    let (all, scope) = (api.objects(ENDPOINT_SLICES), Scope::Namespace(namespace.to_owned()));
    let of_service = |slice: &&Arc<CachedObject>| slice.label("kubernetes.io/service-name") == Some(service);
    for slice in all.scan(&scope, None).filter(of_service) {
        let slice = value(slice)?;
        any = true;
        let ports = slice["ports"].as_array().into_iter().flatten();
        let number = ports.filter(|p| p.str_at(&["name"]) == port).find_map(|p| p["port"].as_u64());
        let Some(number) = number.and_then(|p| u16::try_from(p).ok()) else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            let Some(address) = endpoint["addresses"][0].as_str() else { continue };
            if let Ok(dialable) = Dialable::parse(address)
                && is_address_of_pod(api, namespace, &endpoint["targetRef"], address)
            {
                found.push((dialable, number));
            }
        }
    }
    Ok(any.then_some(found))
}

fn is_address_of_pod(api: &Api, namespace: &str, target: &Value, address: &str) -> bool {
    if target.str_at(&["kind"]) != "Pod" {
        return false;
    }
    let key = format!("{namespace}/{}", target.str_at(&["name"]));
    let pod = api.cached(PODS, &key).and_then(|pod| value(&pod).ok());
    pod.is_some_and(|pod| {
        let all = pod.at(&["status", "podIPs"]).and_then(Value::as_array);
        pod.str_at(&["status", "podIP"]) == address
            || all.into_iter().flatten().any(|ip| ip.str_at(&["ip"]) == address)
    })
}

/// What a backend may not say in this server's name.
static CORS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// The path of the request up to the backend's own, and that.
fn split_path<'a>(path: &'a str, rest: Option<&str>) -> (&'a str, String) {
    let rest = rest.unwrap_or("");
    let prefix = path.strip_suffix(rest).unwrap_or(path).trim_end_matches('/');
    (prefix, format!("/{rest}"))
}

/// Passes a request on, and the answer back: what in its path follows the proxy's own, and headers of this server's own.
///
/// # Errors
/// 503 when nobody answers.
pub async fn pass(
    backend: &Backend,
    rest: Option<&str>,
    mut request: Request<Upload>,
    own: HeaderMap,
) -> Result<Response<Body>, Status> {
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let client = upgrade.then(|| Upgrade::of(&mut request));
    let head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let (prefix, own_path) = split_path(&path, rest);
    let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut onward = Request::builder()
        .method(parts.method)
        .uri(format!("{own_path}{query}"))
        .body(body.boxed_unsync())
        .map_err(|e| Status::bad_request(e.to_string()))?;
    let host = parts.headers.get(header::HOST).cloned();
    let host = host.or_else(|| HeaderValue::from_str(parts.uri.authority()?.as_str()).ok());
    let caller = parts.extensions.get::<Arc<Caller>>();
    *onward.headers_mut() = onward_headers(parts.headers, upgrade);
    // Only now: a client may name headers that are about its connection alone, and those are gone.
    onward.headers_mut().extend(own);
    let set = |headers: &mut HeaderMap, name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    let headers = onward.headers_mut();
    set(headers, HeaderName::from_static("x-forwarded-uri"), format!("{prefix}{own_path}"));
    if let Some(address) = caller.map(|caller| caller.address.ip().to_string()) {
        let name = HeaderName::from_static("x-forwarded-for");
        let before = headers.get(&name).and_then(|v| v.to_str().ok()).map(|v| format!("{v}, "));
        set(headers, name, format!("{}{address}", before.unwrap_or_default()));
    }
    let own_host = host.as_ref().and_then(|h| h.to_str().ok()).unwrap_or("").to_owned();
    headers.insert(
        header::HOST,
        host.or_else(|| HeaderValue::try_from(backend.authority()).ok())
            .unwrap_or(HeaderValue::from_static("")),
    );
    let mut answer = backend.send(onward).await.map_err(unavailable)?;
    let location = answer.headers().get(header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
    if let Some(location) = &location {
        let moved = relocate(location, prefix, &backend.authority(), &own_host);
        set(answer.headers_mut(), header::LOCATION, moved);
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        return Ok(backend.join(client, answer, ClientEnd::Half));
    }
    let (mut parts, body) = answer.into_parts();
    let mut body = backend.through(body);
    // As upstream: who follows a redirect does not look at its page.
    let page = if location.is_none() && !head && !prefix.is_empty() { html::page(&parts) } else { None };
    if let Some(coding) = page {
        parts.headers.remove(header::CONTENT_LENGTH);
        let (prefix, authority) = (escaped(prefix), backend.authority());
        body = html::with_links(body, coding, move |link| {
            let trimmed = link.trim_start_matches(|c: char| c.is_ascii_whitespace());
            let moved = relocate(trimmed, &prefix, &authority, &own_host);
            if moved == trimmed { link.to_owned() } else { moved }
        });
    }
    let mut response = Response::from_parts(parts, body);
    onward::strip(response.headers_mut(), false);
    for name in &CORS {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// The client's headers without those about its connection and those that say who it is to us.
fn onward_headers(mut headers: HeaderMap, upgrade: bool) -> HeaderMap {
    onward::strip(&mut headers, upgrade);
    headers.remove(header::AUTHORIZATION);
    headers
}

/// A path as it may stand in an attribute of HTML.
fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Where a redirect or a link of the backend leads for the client: through the proxy, if it stays with the backend.
fn relocate(location: &str, prefix: &str, backend: &str, own_host: &str) -> String {
    let (base, rest) = match location.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            (Some((scheme, &rest[..end])), &rest[end..])
        }
        _ => match location.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                (Some(("", &rest[..end])), &rest[end..])
            }
            None => (None, location),
        },
    };
    let host = base.map_or("", |(_, host)| host);
    let elsewhere = !host.is_empty() && host != backend && host != own_host;
    if elsewhere || !rest.starts_with('/') {
        return location.to_owned();
    }
    let base = match base {
        Some((scheme, host)) if host == own_host && !scheme.is_empty() => format!("{scheme}://{host}"),
        _ => String::new(),
    };
    if rest.starts_with(prefix) { format!("{base}{rest}") } else { format!("{base}{prefix}{rest}") }
}

#[cfg(test)]
mod tests;
