//! Requests that another server answers: this one lets them in, in their turn, and passes them on.

use std::sync::Arc;

use api::status::Status;
use http::{Request, Response, header};
use tokio::time::{Instant, timeout_at};

use super::{admit, deadline, priority::RequestDigest};
use crate::{
    Api,
    aggregation::{Remote, pass},
    body::Upload,
    query,
    request::Target,
    response::Body,
    streams,
};

/// Passes a permitted request on to the server that has its group version.
///
/// # Errors
/// 429 when there is too much to do, 504 for an answer that does not begin in time, and as [`pass::pass`].
pub async fn delegate(
    api: &Arc<Api>,
    remote: &Remote,
    digest: RequestDigest<'_>,
    mutating: bool,
    request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    let query = request.uri().query();
    let end = Instant::now() + deadline::of(query, api.config.request_timeout)?;
    let lasts = query::wants_watch(query.unwrap_or(""))
        || request.headers().contains_key(header::UPGRADE)
        || digest.resource.is_some_and(|path| streams::is_passed_on(&Target::Resource(path.clone())));
    let passing = async {
        // Kept until the answer begins, as upstream: whoever floods another server waits here.
        let _seat = admit(api, &digest, mutating, 1).await?;
        pass::pass(api, remote, digest.user, (!lasts).then_some(end), request).await
    };
    timeout_at(end, passing).await.unwrap_or_else(|_| Err(deadline::exceeded()))
}
