//! HTTPS: connections in, requests routed, answers out.
//!
//! A request goes: health (open to all) → authentication → path → kind → verb. Whoever is let in may do
//! everything; authorization will stand between authentication and the verb, in [`resource`].

mod connection;
mod health;
pub mod metrics;

use std::{sync::Arc, time::Instant};

use api::status::Status;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

pub use connection::{Peer, serve};

use crate::{
    Api,
    auth::User,
    body, publish,
    query::Query,
    request::{self, ResourcePath, Target, Verb},
    response::{self, Accept, Body},
    streams,
    verbs::{self, Ctx},
};

/// Answers one request. Refusals become `Status` bodies here and nowhere else.
pub async fn handle(api: Arc<Api>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let head = request.method() == Method::HEAD;
    let labels = metrics::Labels::of(&request);
    let answered = route(api.clone(), peer, request).await;
    let mut response = answered.unwrap_or_else(|status| response::status(&status));
    api.metrics.observe(labels, response.status(), started.elapsed());
    if head {
        *response.body_mut() = response::full(Bytes::new());
    }
    response
}

async fn route(api: Arc<Api>, peer: Arc<Peer>, request: Request<Incoming>) -> Result<Response<Body>, Status> {
    let path = request.uri().path().to_owned();
    if let Some(response) = health::serve(&api, &path, request.uri().query().unwrap_or("")).await {
        return Ok(response);
    }
    let user = api.auth.identify(peer.certificate.as_ref(), request.headers(), &api.cache)?;
    if path.len() > MAX_PATH || request.uri().query().is_some_and(|q| q.len() > MAX_QUERY) {
        return Err(Status::failure(414, "RequestURITooLong", "the request URI is too long"));
    }
    match request::parse(&path) {
        Target::Resource(target) => resource(api, user, peer, target, request).await,
        Target::Discovery(wanted) => Ok(publish::discovery(&api, &wanted, &request).await),
        Target::Other => Ok(other(&api, &path, &request).await),
    }
}

/// The longest path and query that are looked at.
const MAX_PATH: usize = 4096;
const MAX_QUERY: usize = 64 * 1024;

/// What is neither health nor a resource.
async fn other<B>(api: &Arc<Api>, path: &str, request: &Request<B>) -> Response<Body> {
    match path {
        "/version" | "/version/" => response::json(StatusCode::OK, &publish::version()),
        "/metrics" => api.metrics.render(),
        _ if path == "/openapi/v2" || path.starts_with("/openapi/v3") => {
            publish::openapi(api, path, request).await
        }
        "/" => response::json(StatusCode::OK, &publish::root_paths(api)),
        _ => not_a_path(),
    }
}

/// Upstream's answer to paths outside the API.
pub fn not_a_path() -> Response<Body> {
    response::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A request to a resource.
async fn resource(
    api: Arc<Api>,
    user: User,
    peer: Arc<Peer>,
    path: ResourcePath,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let table = api.registry.table();
    let Some(kind) = table.find(&path.group, &path.version, &path.resource).cloned() else {
        return if table.serves(&path.group, &path.version) {
            Err(Status::no_such_resource())
        } else {
            Ok(not_a_path())
        };
    };
    // A namespaced kind has no cluster-wide objects, only cluster-wide lists; others know no namespace.
    let fits = match (&path.namespace, kind.namespaced) {
        (Some(_), true) | (None, false) => true,
        (None, true) => path.name.is_none(),
        (Some(_), false) => false,
    };
    if !fits {
        return Err(Status::no_such_resource());
    }
    let streaming = streams::is_stream(&kind, path.subresource.as_deref());
    let proxied = streams::is_proxy(&kind, path.subresource.as_deref());
    let query = match request.uri().query() {
        Some(query) if !proxied => Query::parse(request.method(), query)?,
        // What is passed on says nothing to us.
        _ => Query::default(),
    };
    let verb = match Verb::of(request.method(), &path, query.watch) {
        None if proxied => Verb::Get,
        verb => verb.ok_or_else(Status::method_not_allowed)?,
    };
    if proxied {
        request.extensions_mut().insert(peer);
    }
    let headers = request.headers();
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let resource = api.cache.resource(&kind.storage_prefix()).ok_or_else(Status::no_such_resource)?;
    let ctx = Ctx {
        user,
        accept: if streaming { Accept::default() } else { response::negotiate(headers)? },
        media: body::media_type(headers).to_owned(),
        user_agent: text(header::USER_AGENT),
        versions: table.versions(&kind),
        api,
        kind,
        resource,
        path,
        query,
    };
    if streaming {
        return streams::serve(ctx, verb, request).await;
    }
    dispatch(ctx, verb, request).await
}

async fn dispatch(ctx: Ctx, verb: Verb, request: Request<Incoming>) -> Result<Response<Body>, Status> {
    let allowed = match ctx.path.subresource.as_deref() {
        None => ctx.kind.verbs,
        Some(name) => ctx.kind.subresource(name).ok_or_else(Status::no_such_resource)?.verbs,
    };
    let plain = match verb {
        // Watching one object by its path is an old form of a watch.
        Verb::Watch if ctx.path.subresource.is_none() => "watch",
        Verb::Watch => "get",
        other => other.as_str(),
    };
    if !allowed.contains(&plain)
        || (verb == Verb::Create && ctx.path.subresource.is_none() && ctx.path.name.is_some())
    {
        return Err(Status::method_not_allowed());
    }
    if matches!(verb, Verb::Get | Verb::List | Verb::Watch) {
        return Box::pin(read(ctx, verb)).await;
    }
    let bytes = body::read(request.into_body()).await?;
    Box::pin(write(ctx, verb, bytes)).await
}

async fn read(ctx: Ctx, verb: Verb) -> Result<Response<Body>, Status> {
    match (verb, ctx.path.subresource.as_deref()) {
        (_, Some("scale")) => scale(ctx, Verb::Get, Bytes::new()).await,
        (Verb::List, None) => verbs::list::list(ctx).await,
        (Verb::Watch, None) => verbs::watch::watch(ctx).await,
        _ => verbs::read::get(ctx).await,
    }
}

async fn write(ctx: Ctx, verb: Verb, bytes: Bytes) -> Result<Response<Body>, Status> {
    let subresource = ctx.path.subresource.clone();
    match (verb, subresource.as_deref()) {
        (_, Some("scale")) => scale(ctx, verb, bytes).await,
        (Verb::Create, Some("binding")) => verbs::pod::bind(ctx, bytes).await,
        (Verb::Create, Some("eviction")) => verbs::pod::evict(ctx, bytes).await,
        (Verb::Create, Some("token")) => verbs::token::create(ctx, bytes).await,
        (Verb::Create, None) => verbs::create::create(ctx, bytes).await,
        (Verb::Update, _) => verbs::update::update(ctx, bytes).await,
        (Verb::Patch, _) => verbs::update::patch(ctx, bytes).await,
        (Verb::Delete, None) => verbs::delete::delete(ctx, bytes).await,
        (Verb::DeleteCollection, None) => verbs::delete::delete_collection(ctx, bytes).await,
        _ => Err(Status::method_not_allowed()),
    }
}

async fn scale(ctx: Ctx, verb: Verb, bytes: Bytes) -> Result<Response<Body>, Status> {
    let kind = ctx.kind.clone();
    let paths = kind.scale.as_ref().ok_or_else(Status::no_such_resource)?;
    verbs::scale::serve(ctx, verb, paths, bytes).await
}

/// A request of the server itself, as the system's own user.
///
/// # Errors
/// When the resource is not served.
pub fn internal(
    api: &Arc<Api>,
    (group, version, resource): (&str, &str, &str),
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Ctx, Status> {
    let table = api.registry.table();
    let kind = table.find(group, version, resource).cloned().ok_or_else(Status::no_such_resource)?;
    Ok(Ctx {
        versions: table.versions(&kind),
        resource: api.cache.resource(&kind.storage_prefix()).ok_or_else(Status::no_such_resource)?,
        api: api.clone(),
        user: User {
            name: "system:apiserver".into(),
            uid: String::new(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
        },
        kind,
        path: ResourcePath {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
            namespace: namespace.map(str::to_owned),
            name: name.map(str::to_owned),
            ..ResourcePath::default()
        },
        query: Query::default(),
        accept: Accept::default(),
        media: "application/json".into(),
        user_agent: "apiserver".into(),
    })
}
