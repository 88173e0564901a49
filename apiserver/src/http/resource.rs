//! Requests to resources: which kind the path names, whether the caller may, his turn, and the verb's own code.

use std::sync::Arc;

use api::status::Status;
use bytes::Bytes;
use http::{Method, Request, Response, Uri, header};
use kinds::kind::Kind;
use tokio::time::Instant;

use super::{
    admit, apart, deadline, delegate::delegate, permit, priority::RequestDigest, websocket::InMessages,
    while_sent, with_uids,
};
use crate::{
    Api,
    aggregation::pass,
    audit::Trail,
    auth::{Caller, User, authorize::Action},
    body::{self, Upload},
    context::Ctx,
    custom,
    query::{self, Query},
    registry::Table,
    request::{ResourcePath, Verb},
    response::{self, Accept, Body, Form, Offer, Warnings},
    streams, verbs,
    watch_cache::Scope,
};

/// Answers a request to a resource.
///
/// # Errors
/// Every refusal there is.
pub async fn serve(
    api: Arc<Api>,
    user: User,
    caller: Arc<Caller>,
    path: ResourcePath,
    mut request: Request<Upload>,
    trail: &Trail,
) -> Result<Response<Body>, Status> {
    let is_passed_on = path.subresource.as_deref() == Some("proxy");
    let watch = !is_passed_on && query::wants_watch(request.uri().query().unwrap_or(""));
    let verb = Verb::of(request.method(), &path, watch);
    let verb_name = verb.map_or("", Verb::as_str);
    asked(&path, verb_name, request.uri().query().unwrap_or(""), |action| {
        permit(&api, trail, &user, action)
    })?;
    if request.method() == Method::GET && path.connects() {
        // Whoever opens a WebSocket does more than to read.
        permit(&api, trail, &user, &Action::on(&path, "create", None, None))?;
    }
    let table = api.table();
    if let Some(remote) = table.remote(&path.group, &path.version) {
        request.extensions_mut().insert(caller);
        let uri = request.uri().clone();
        let digest = RequestDigest { user: &user, verb: verb_name, path: uri.path(), resource: Some(&path) };
        return delegate(&api, remote, digest, verb.is_some_and(Verb::is_mutating), request).await;
    }
    let found = match custom::find(&api, &path) {
        None => seek(&api, &user, verb, &path, request.uri()).await?,
        found => found,
    };
    let Some((table, kind)) = found else {
        let table = api.table();
        return match table.remote(&path.group, &path.version) {
            // It has only just come.
            Some(_) => Ok(pass::unavailable()),
            None if table.serves(&path.group, &path.version) => Err(Status::no_such_resource()),
            None => Ok(response::not_a_path()),
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
    let answered = known(api, user, caller, path, request, (table, kind), trail).await;
    let Some(warning) = deprecation else { return answered };
    trail.annotate("k8s.io/deprecated", "true");
    let mut response = answered.unwrap_or_else(|status| response::status(&status));
    response::warn_first(&mut response, &warning);
    Ok(response)
}

/// Looks in the store for a kind that the server does not know, when the request's turn comes and within its time.
async fn seek(
    api: &Arc<Api>,
    user: &User,
    verb: Option<Verb>,
    path: &ResourcePath,
    uri: &Uri,
) -> Result<Option<(Arc<Table>, Arc<Kind>)>, Status> {
    let deadline = deadline::of(uri.query(), api.config.request_timeout)?;
    let verb_name = verb.map_or("", Verb::as_str);
    let digest = RequestDigest { user, verb: verb_name, path: uri.path(), resource: Some(path) };
    let seeking = async {
        let _admitted = admit(api, &digest, verb.is_some_and(Verb::is_mutating), 1).await?;
        custom::find_fresh(api, path).await
    };
    tokio::time::timeout(deadline, seeking).await.unwrap_or_else(|_| Err(deadline::exceeded()))
}

/// A request to a resource there is.
async fn known(
    api: Arc<Api>,
    user: User,
    caller: Arc<Caller>,
    path: ResourcePath,
    mut request: Request<Upload>,
    (table, kind): (Arc<Table>, Arc<Kind>),
    trail: &Trail,
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
    if path.watch_prefix && path.subresource.is_some() {
        return Err(Status::no_such_resource());
    }
    if path.watch_prefix && request.method() != Method::GET {
        return Err(Status::method_not_allowed());
    }
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
    let offer = Offer { table: kind.verbs != ["create"], yaml: verb != Verb::Watch };
    let accept = if streaming { Accept::default() } else { response::negotiate(headers, offer)? };
    if accept.form == Form::Table {
        query.check_table()?;
    }
    let warnings = Warnings::default();
    let ctx = Ctx {
        user,
        accept,
        media: body::media_type(headers).to_owned(),
        user_agent: text(header::USER_AGENT),
        versions: table.versions(&kind),
        api,
        kind,
        resource,
        path,
        query,
        warnings: warnings.clone(),
        trail: trail.clone(),
    };
    if streaming {
        // It takes as long as its ends like, and costs this server nothing but passing bytes on.
        let served = Box::pin(streams::serve(ctx, verb, request)).await;
        let mut response = served.unwrap_or_else(|status| response::status(&status));
        warnings.tell(&mut response);
        return Ok(response);
    }
    // A watch has its own; it is a request like others until its stream begins. Waiting for a seat counts.
    let deadline = deadline::of(request.uri().query(), ctx.api.config.request_timeout)?;
    let (api, end) = (ctx.api.clone(), Instant::now() + deadline);
    let messages = if verb == Verb::Watch { InMessages::of(&mut request)? } else { None };
    let answering = async {
        let admitted = {
            let path = request.uri().path();
            let digest =
                RequestDigest { user: &ctx.user, verb: verb.as_str(), path, resource: Some(&ctx.path) };
            admit(&api, &digest, verb.is_mutating(), width(&ctx, verb)).await?
        };
        let response = dispatch(ctx, verb, request).await;
        let mut response = match (response, messages) {
            (Ok(response), Some(messages)) => messages.lines(&api, response),
            (response, _) => response.unwrap_or_else(|status| response::status(&status)),
        };
        warnings.tell(&mut response);
        let response = with_uids(response, &admitted);
        Ok(while_sent::keep(&api.tasks, response, admitted, end))
    };
    tokio::time::timeout_at(end, answering).await.unwrap_or_else(|_| Err(deadline::exceeded()))
}

/// What a request asks for, in the words of roles and of audit policies.
pub fn asked<T>(path: &ResourcePath, verb: &str, query: &str, then: impl FnOnce(&Action<'_>) -> T) -> T {
    let selects = matches!(verb, "list" | "watch" | "deletecollection");
    let fields = if selects { query::field_selector(query) } else { None };
    // Who selects one name reads one object.
    let selected = fields.as_ref().filter(|_| verb != "deletecollection");
    let selected = selected.and_then(|fields| fields.required_value("metadata.name"));
    let selected = selected.filter(|name| api::validation::path_segment(name).is_empty());
    then(&Action::on(path, verb, selected, fields.as_ref()))
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

async fn dispatch(ctx: Ctx, verb: Verb, request: Request<Upload>) -> Result<Response<Body>, Status> {
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
    if verb == Verb::Create && ctx.path.subresource.is_none() && !allowed.contains(&plain) {
        return Err(verbs::create::refused(&ctx.kind));
    }
    if !allowed.contains(&plain)
        || (verb == Verb::Create && ctx.path.subresource.is_none() && ctx.path.name.is_some())
    {
        return Err(Status::method_not_allowed());
    }
    if ctx.kind.transient && verb == Verb::Create {
        let bytes = body::read(request.into_body()).await?;
        return apart::carry_out(bytes.len(), Box::pin(verbs::review::create(ctx, bytes))).await;
    }
    if ctx.kind.transient {
        return Box::pin(verbs::component::serve(ctx)).await;
    }
    if matches!(verb, Verb::Get | Verb::List | Verb::Watch) {
        return Box::pin(read(ctx, verb)).await;
    }
    let bytes = body::read(request.into_body()).await?;
    // A small patch of a large object is work on that.
    let present = ctx.path.name.as_ref().and_then(|name| ctx.resource.get(&ctx.cache_key(name)));
    let size = bytes.len() + present.map_or(0, |present| present.stored().len());
    apart::carry_out(size, Box::pin(write(ctx, verb, bytes))).await
}

async fn read(ctx: Ctx, verb: Verb) -> Result<Response<Body>, Status> {
    match (verb, ctx.path.subresource.as_deref()) {
        (_, Some("scale")) => scale(ctx, Verb::Get, Bytes::new()).await,
        (Verb::List, None) => verbs::list::list(ctx).await,
        (Verb::Watch, None) => {
            let running = ctx.running(verb);
            Ok(running.until_end_of(verbs::watch::watch(ctx).await?))
        }
        _ => verbs::read::get(ctx).await,
    }
}

async fn write(ctx: Ctx, verb: Verb, bytes: Bytes) -> Result<Response<Body>, Status> {
    let subresource = ctx.path.subresource.clone();
    if verb == Verb::Patch {
        ctx.trail.was_patched(&bytes);
    }
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
    Box::pin(verbs::scale::serve(ctx, verb, paths, bytes)).await
}
