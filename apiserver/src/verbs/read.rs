//! Get: one object, from the watch cache, as fresh as the caller asks.

use std::sync::Arc;

use api::status::Status;
use http::{Response, StatusCode};

use super::list;
use crate::{
    context::Ctx,
    forms::shown,
    response::{self, Body},
    watch_cache::{CachedObject, Scope},
};

/// `GET` of one object (or of its `status`, which shows the same).
///
/// # Errors
/// 404, and 400 or 504 for a resource version that cannot be served.
pub async fn get(ctx: Ctx) -> Result<Response<Body>, Status> {
    let object = find(&ctx).await?;
    if ctx.accept.plain() {
        return Ok(response::json_bytes(StatusCode::OK, shown(&ctx.kind, &object)?));
    }
    Ok(ctx.answer(StatusCode::OK, &ctx.value(&object)?))
}

/// The object in the request's path.
///
/// # Errors
/// As [`get`].
pub async fn find(ctx: &Ctx) -> Result<Arc<CachedObject>, Status> {
    list::catch_up(ctx).await?;
    let key = ctx.cache_key(ctx.name());
    if let Some(object) = ctx.resource.get(&key) {
        return Ok(object);
    }
    list::check_read(ctx, &ctx.resource.snapshot().objects, &Scope::Object(key)).await?;
    Err(ctx.not_found())
}
