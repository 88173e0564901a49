//! HTTPS: connections in, requests routed, answers out.
//!
//! A request goes: authentication → impersonation → path → kind → authorization ([`authorize`]) → a seat of its priority
//! level ([`priority`]) → verb. Whoever is let in may do everything. Streams that are only passed on take no
//! seat, and a watch has one only until its stream begins.

mod deadline;
mod health;
pub mod metrics;
pub mod priority;

use std::{borrow::Cow, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use api::{kind::Kind, status::Status};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use machinery::{
    serve::{Server, Welcome},
    tasks::Tasks,
};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use priority::{Admitted, RequestDigest};

use crate::{
    Api,
    auth::{
        self, User,
        authorize::{Action, authorize, refusal},
        impersonation,
    },
    body, custom, publish,
    query::{self, Query},
    registry::Table,
    request::{self, Discovery, ResourcePath, Target, Verb},
    response::{self, Accept, Body},
    streams,
    verbs::{self, Ctx},
    watch_cache::Scope,
};

/// Who is at the other end of a connection.
pub struct Caller {
    /// Whom its client certificate names, if it has shown one.
    pub user: Option<User>,
    /// Where it calls from.
    pub address: SocketAddr,
}

/// Accepts connections until the server stops, and answers their requests.
///
/// # Errors
/// Never by itself: a connection that cannot be accepted is tried again.
pub async fn serve(
    api: Arc<Api>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    tasks: Tasks,
) -> anyhow::Result<()> {
    let (stop, open) = (api.stop.clone(), api.connections.clone());
    let welcome: Welcome<Body> = Arc::new(move |peer| {
        let user = peer.certificates.first().and_then(auth::from_certificate);
        let caller = Arc::new(Caller { user, address: peer.address });
        let api = api.clone();
        Box::new(move |request| Box::pin(handle(api.clone(), caller.clone(), request)))
    });
    Server { listener, tls: Some(tls), stop, open }.run(tasks.clone(), welcome).await?;
    // What is under way is being finished.
    tasks.token().cancelled().await;
    Ok(())
}

/// Answers one request. Refusals become `Status` bodies here and nowhere else.
pub async fn handle(api: Arc<Api>, caller: Arc<Caller>, request: Request<Incoming>) -> Response<Body> {
    let started = Instant::now();
    let head = request.method() == Method::HEAD;
    let target = request::parse(request.uri().path());
    let pretty = !streams::is_passed_on(&target) && response::wants_pretty(&request);
    let audit = audit_id(request.headers());
    let watch = query::wants_watch(request.uri().query().unwrap_or(""));
    let labels = metrics::Labels::of(request.method(), &target, watch);
    let answering = AssertUnwindSafe(route(api.clone(), caller, target, request)).catch_unwind();
    // What panicked has said so in the log.
    let answered = answering.await.unwrap_or_else(|_panicked| Err(stumbled()));
    let mut response = answered.unwrap_or_else(|status| response::status(&status));
    api.metrics.observe(labels.known_to(&api.table()), response.status(), started.elapsed());
    if pretty {
        response = response::prettified(response).await;
    }
    if head {
        *response.body_mut() = response::full(Bytes::new());
    }
    let headers = response.headers_mut();
    headers.entry(AUDIT_ID).or_insert(audit);
    // What is shown to one caller is not for others.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The name of a request in all that is written of it: its client's, or a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get(AUDIT_ID).filter(|id| !id.is_empty()) {
        return given.clone();
    }
    HeaderValue::try_from(verbs::new_uid()).unwrap_or(HeaderValue::from_static(""))
}

/// What is answered when something panicked.
pub fn stumbled() -> Status {
    Status::internal("the server stumbled over this request; its log says where")
}

async fn route(
    api: Arc<Api>,
    caller: Arc<Caller>,
    target: Target,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let user = api.auth.identify(caller.user.as_ref(), request.headers(), &api.cache)?;
    let user = impersonation::act(user, request.headers_mut())?;
    let path = request.uri().path();
    if path.len() > MAX_PATH || request.uri().query().is_some_and(|q| q.len() > MAX_QUERY) {
        return Err(Status::failure(414, "RequestURITooLong", "the request URI is too long"));
    }
    let target = match target {
        Target::Resource(target) => return resource(api, user, caller, target, request).await,
        other => other,
    };
    if let Target::Discovery(wanted) = &target {
        let allowed = match *request.method() {
            Method::GET => true,
            Method::HEAD => matches!(wanted, Discovery::Groups | Discovery::Group(_)),
            _ => false,
        };
        if !allowed {
            return Err(Status::method_not_allowed());
        }
    }
    let verb = request.method().as_str().to_ascii_lowercase();
    let action = Action::Path { verb: &verb, path };
    if !authorize(&user, &action).allowed {
        return Err(Status::forbidden("", "", "", refusal(&user, &action)));
    }
    if let Some(response) = health::serve(&api, path, request.uri().query()).await {
        return Ok(response);
    }
    let digest = RequestDigest { user: &user, verb: &verb, path, resource: None };
    let deadline = deadline::of(request.uri().query(), api.config.request_timeout)?;
    let answering = async {
        let admitted = admit(&api, &digest, false, 1).await?;
        let response = match target {
            Target::Discovery(wanted) => publish::discovery(&api, &wanted, &request).await?,
            _ => other(&api, path, &request).await?,
        };
        Ok(with_uids(response, &admitted))
    };
    tokio::time::timeout(deadline, answering).await.unwrap_or_else(|_| Err(deadline::exceeded()))
}

/// Lets a request in when its turn comes.
async fn admit(api: &Api, digest: &RequestDigest<'_>, mutating: bool, width: u32) -> Result<Admitted, Status> {
    api.priority.enter(digest, mutating, width).await.map_err(|refused| {
        api.metrics.reject(&refused);
        Status::too_many_requests("Too many requests, please try again later.", 1)
    })
}

/// Tells the client which flow schema and level its request was served under.
fn with_uids(mut response: Response<Body>, admitted: &Admitted) -> Response<Body> {
    if let Some((schema, level)) = &admitted.uids {
        let headers = response.headers_mut();
        headers.insert(HeaderName::from_static("x-kubernetes-pf-flowschema-uid"), schema.clone());
        headers.insert(HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"), level.clone());
    }
    response
}

/// The longest path and query that are looked at.
const MAX_PATH: usize = 4096;
const MAX_QUERY: usize = 60 * 1024;

/// What is neither health nor a resource.
async fn other<B>(api: &Arc<Api>, path: &str, request: &Request<B>) -> Result<Response<Body>, Status> {
    Ok(match path {
        "/version" | "/version/" => response::json(StatusCode::OK, &publish::version()),
        "/metrics" => api.metrics.render(&api.priority),
        _ if path == "/openapi/v2" || path.starts_with("/openapi/v3") => {
            publish::openapi(api, path, request).await?
        }
        "/.well-known/openid-configuration" | "/openid/v1/jwks" => {
            publish::issuer(api, path).unwrap_or_else(not_a_path)
        }
        "/" => response::json(StatusCode::OK, &publish::root_paths(api)),
        _ => not_a_path(),
    })
}

/// Upstream's answer to paths outside the API.
pub fn not_a_path() -> Response<Body> {
    response::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// A request to a resource.
async fn resource(
    api: Arc<Api>,
    user: User,
    caller: Arc<Caller>,
    path: ResourcePath,
    request: Request<Incoming>,
) -> Result<Response<Body>, Status> {
    let Some((table, kind)) = custom::find(&api, &path.group, &path.version, &path.resource).await? else {
        let table = api.table();
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
    let deprecation = kind.deprecation.clone();
    let answered = known(api, user, caller, path, request, (table, kind)).await;
    let Some(warning) = deprecation else { return answered };
    let mut response = answered.unwrap_or_else(|status| response::status(&status));
    response::warn(&mut response, &[warning.into_owned()]);
    Ok(response)
}

/// A request to a resource there is.
async fn known(
    api: Arc<Api>,
    user: User,
    caller: Arc<Caller>,
    path: ResourcePath,
    mut request: Request<Incoming>,
    (table, kind): (Arc<Table>, Arc<Kind>),
) -> Result<Response<Body>, Status> {
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
    if request.method() == Method::HEAD && !proxied && !kind.is_custom() {
        return Err(Status::method_not_allowed());
    }
    if kind.namespaced && path.namespace.is_none() && !matches!(verb, Verb::List | Verb::Watch) {
        // All namespaces at once can be looked at, not changed.
        return Err(Status::method_not_allowed());
    }
    if proxied {
        request.extensions_mut().insert(caller);
    }
    let headers = request.headers();
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let resource = api.cache.resource(&kind.storage_prefix()).ok_or_else(Status::no_such_resource)?;
    permit(&user, verb, &path)?;
    // What is answered and never read again is not shown in tables.
    let has_table = kind.verbs != ["create"];
    let ctx = Ctx {
        user,
        accept: if streaming { Accept::default() } else { response::negotiate(headers, has_table)? },
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
        // It takes as long as its ends like, and costs this server nothing but passing bytes on.
        return streams::serve(ctx, verb, request).await;
    }
    // A watch has its own; it is a request like others until its stream begins. Waiting for a seat counts.
    let deadline = deadline::of(request.uri().query(), ctx.api.config.request_timeout)?;
    let answering = async {
        let admitted = {
            let path = request.uri().path();
            let digest = RequestDigest { user: &ctx.user, verb: verb.as_str(), path, resource: Some(&ctx.path) };
            admit(&ctx.api, &digest, verb.is_mutating(), width(&ctx, verb)).await?
        };
        let response = dispatch(ctx, verb, request).await;
        Ok(with_uids(response.unwrap_or_else(|status| response::status(&status)), &admitted))
    };
    tokio::time::timeout(deadline, answering).await.unwrap_or_else(|_| Err(deadline::exceeded()))
}

/// Refuses what the caller may not do.
fn permit(user: &User, verb: Verb, path: &ResourcePath) -> Result<(), Status> {
    let resource: Cow<'_, str> = match &path.subresource {
        Some(subresource) => format!("{}/{subresource}", path.resource).into(),
        None => path.resource.as_str().into(),
    };
    let name = path.name.as_deref().unwrap_or("");
    let action = Action::Resource {
        verb: verb.as_str(),
        group: &path.group,
        resource: &resource,
        namespace: path.namespace.as_deref().unwrap_or(""),
        name,
    };
    if authorize(user, &action).allowed {
        return Ok(());
    }
    Err(Status::forbidden(&path.resource, &path.group, name, refusal(user, &action)))
}

/// How many seats a request takes: a list of many objects takes several, as upstream counts them.
fn width(ctx: &Ctx, verb: Verb) -> u32 {
    const OBJECTS_PER_SEAT: usize = 100;
    const MOST: usize = 10;
    if verb != Verb::List || matches!(ctx.scope(), Scope::Object(_)) {
        return 1;
    }
    let snapshot = ctx.resource.snapshot();
    let most = MOST * OBJECTS_PER_SEAT;
    let most = if ctx.query.limit > 0 { most.min(ctx.query.limit) } else { most };
    let objects = snapshot.objects.scan(&ctx.scope(), None).take(most).count();
    u32::try_from(objects.div_ceil(OBJECTS_PER_SEAT).clamp(1, MOST)).unwrap_or(1)
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
    if verb == Verb::Create
        && ctx.kind.is_custom()
        && ctx.path.subresource.is_none()
        && !allowed.contains(&plain)
    {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status { message: why.into(), ..Status::method_not_allowed() });
    }
    if !allowed.contains(&plain)
        || (verb == Verb::Create && ctx.path.subresource.is_none() && ctx.path.name.is_some())
    {
        return Err(Status::method_not_allowed());
    }
    if ctx.kind.transient && verb == Verb::Create {
        let bytes = body::read(request.into_body()).await?;
        return Box::pin(verbs::review::create(ctx, bytes)).await;
    }
    if ctx.kind.transient {
        return Box::pin(verbs::component::serve(ctx)).await;
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
        (Verb::Watch, None) => {
            let running = ctx.api.metrics.long_running(verb, &ctx.path);
            Ok(running.until_end_of(verbs::watch::watch(ctx).await?))
        }
        _ => verbs::read::get(ctx).await,
    }
}

async fn write(ctx: Ctx, verb: Verb, bytes: Bytes) -> Result<Response<Body>, Status> {
    let subresource = ctx.path.subresource.clone();
    match (verb, subresource.as_deref()) {
        (_, Some("scale")) => scale(ctx, verb, bytes).await,
        (Verb::Create, Some("binding")) => verbs::binding::bind(ctx, bytes).await,
        (Verb::Create, Some("eviction")) => verbs::eviction::evict(ctx, bytes).await,
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
