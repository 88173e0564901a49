//! HTTPS: connections in, requests routed, answers out.
//!
//! A request goes: authentication → impersonation → path → authorization ([`auth::authorize`]) → kind → a seat of its
//! priority level ([`priority`]) → verb. Streams that are only passed on take no
//! seat, and a watch has one only until its stream begins; a list that is made while it is sent keeps it ([`while_sent`]).

mod apart;
mod deadline;
mod delegate;
mod health;
pub mod metrics;
pub mod priority;
mod resource;
pub mod websocket;
mod while_sent;

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use api::status::Status;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use machinery::{
    serve::{Server, Welcome},
    tasks::{Tasks, panic_words},
};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use priority::{Admitted, RequestDigest};

use crate::{
    Api,
    aggregation::Remote,
    audit::{AUDIT_ID, Arrival, Trail},
    auth::{self, Caller, User, authorize::Action, impersonation},
    body::{self, Upload},
    publish, query,
    registry::Table,
    request::{self, Discovery, Target, Verb},
    response::{self, Body},
    streams,
};

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
    let clients = api.clients.clone();
    let welcome: Welcome<Body> = Arc::new(move |peer| {
        let (caller, api) = (Arc::new(Caller::from(peer)), api.clone());
        Box::new(move |request| Box::pin(handle(api.clone(), caller.clone(), request)))
    });
    Server { open, clients, ..Server::new(listener, Some(tls), stop) }.run(tasks.clone(), welcome).await?;
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
    let mut trail = Trail::of(request.headers());
    let watch = query::wants_watch(request.uri().query().unwrap_or(""));
    let labels = metrics::Labels::of(request.method(), &target, watch);
    let (request, unread) = body::watched(request);
    let answering = AssertUnwindSafe(route(api.clone(), caller, target, request, &mut trail)).catch_unwind();
    // What panicked has said so in the log.
    let answered = answering.await.unwrap_or_else(|panic| {
        trail.panicked(panic_words(&*panic));
        Err(response::stumbled())
    });
    let mut response = trail.answered(answered.unwrap_or_else(|status| response::status(&status)));
    api.metrics.observe(labels.known_to(&api.table()), response.status(), started.elapsed());
    unread.discard().await;
    if pretty {
        response = response::prettified(response).await;
    }
    if head {
        *response.body_mut() = response::full(Bytes::new());
    }
    let headers = response.headers_mut();
    headers.entry(AUDIT_ID).or_insert_with(|| trail.id().clone());
    // What is shown to one caller is not for others.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

/// Tells the audit log of a request that has come.
fn begin(
    api: &Api,
    trail: &mut Trail,
    user: Option<&User>,
    peer: IpAddr,
    target: &Target,
    request: &Request<Upload>,
) -> Result<(), Status> {
    let Some(audit) = &api.audit else { return Ok(()) };
    let (headers, uri) = (request.headers(), request.uri());
    let query = uri.query().unwrap_or("");
    let verb = match target {
        Target::Resource(path) => {
            let watch = !streams::is_passed_on(target) && query::wants_watch(query);
            Verb::of(request.method(), path, watch).map_or("", Verb::as_str)
        }
        _ => &request.method().as_str().to_ascii_lowercase(),
    };
    let lasts = streams::is_passed_on(target) || verb == "watch";
    let mut arrival = Arrival { headers, uri, peer, user, lasts, objects: *target != Target::Other };
    match target {
        Target::Resource(path) => {
            arrival.objects = api.table().remote(&path.group, &path.version).is_none();
            resource::asked(path, verb, query, |action| trail.begin(audit, &arrival, action, &path.version))
        }
        _ => trail.begin(audit, &arrival, &Action::Path { verb, path: uri.path() }, ""),
    }
}

/// Lets a request in, or refuses it.
fn permit(api: &Api, trail: &Trail, user: &User, action: &Action<'_>) -> Result<(), Status> {
    let decision = api.authorizer.authorize(user, action);
    trail.decided(&decision);
    decision.refusing(user, action)
}

async fn route(
    api: Arc<Api>,
    caller: Arc<Caller>,
    target: Target,
    mut request: Request<Upload>,
    trail: &mut Trail,
) -> Result<Response<Body>, Status> {
    auth::websocket::adopt(request.headers_mut())?;
    api.metrics.shown(caller.certificate_end());
    let known = api.auth.identify(&caller, request.uri().path(), request.headers(), &api.cache).await;
    begin(&api, trail, known.as_ref().ok(), caller.address.ip(), &target, &request)?;
    let user = impersonation::act(known?, request.headers_mut(), trail, &api.authorizer)?;
    let path = request.uri().path();
    if path.len() > MAX_PATH || request.uri().query().is_some_and(|q| q.len() > MAX_QUERY) {
        return Err(Status::failure(414, "RequestURITooLong", "the request URI is too long"));
    }
    let target = match target {
        Target::Resource(target) => return resource::serve(api, user, caller, target, request, trail).await,
        other => other,
    };
    let verb = request.method().as_str().to_ascii_lowercase();
    permit(&api, trail, &user, &Action::Path { verb: &verb, path })?;
    let table = api.table();
    if let Some(remote) = of_another(&table, &target, path) {
        let (uri, _) = (request.uri().clone(), request.extensions_mut().insert(caller));
        let digest = RequestDigest { user: &user, verb: &verb, path: uri.path(), resource: None };
        return delegate::delegate(&api, remote, digest, false, request).await;
    }
    if let Target::Discovery(wanted) = &target {
        let allowed = match *request.method() {
            Method::GET => true,
            Method::HEAD => match wanted {
                Discovery::Groups | Discovery::Group(_) => true,
                Discovery::CoreVersions => false,
                Discovery::Resources(group, version) => {
                    table.kinds().iter().any(|k| k.is_custom() && k.group == *group && k.version == *version)
                }
            },
            _ => false,
        };
        if !allowed {
            return Err(Status::method_not_allowed());
        }
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

/// The other server that answers for a group version's own documents: of discovery, and of OpenAPI v3.
fn of_another<'a>(table: &'a Table, target: &Target, path: &str) -> Option<&'a Arc<Remote>> {
    if let Target::Discovery(Discovery::Resources(group, version)) = target {
        return table.remote(group, version);
    }
    let (group, version) = path.strip_prefix("/openapi/v3/apis/")?.split_once('/')?;
    table.remote(group, version)
}

/// Lets a request in when its turn comes.
async fn admit(
    api: &Api,
    digest: &RequestDigest<'_>,
    mutating: bool,
    width: u32,
) -> Result<Admitted, Status> {
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
        "/version" | "/version/" if request.method() != Method::GET => {
            return Err(Status::method_not_allowed());
        }
        "/version" | "/version/" => response::indented(&publish::version()),
        "/metrics" => api.metrics.render(&api.priority),
        _ if path == "/openapi/v2" || path.starts_with("/openapi/v3") => {
            publish::openapi(api, path, request).await?
        }
        "/.well-known/openid-configuration" | "/openid/v1/jwks" => {
            publish::issuer(api, path).unwrap_or_else(response::not_a_path)
        }
        "/" => response::indented(&publish::root_paths(api)),
        _ => response::not_a_path(),
    })
}
