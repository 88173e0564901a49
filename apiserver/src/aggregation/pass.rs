//! Requests that are passed on in the name of their callers, and what this server itself asks of others.
//!
//! Who calls is said in headers that the other server believes for the certificate that comes with them; none that a
//! client sent gets through. Upstream counterpart: kube-aggregator's `handler_proxy`.

use std::{sync::Arc, time::Duration};

use api::{Message, message, status::Status};
use bytes::Bytes;
use futures::future::select_ok;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::seq::IndexedRandom as _;
use tokio::time::Instant;

use super::{Place, Remote};
use crate::{
    Api,
    auth::User,
    body::Upload,
    response::{self, Body},
    streams::proxy,
};

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

/// What stands for itself in a header's name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// How long an answer to this server itself may take, and how many places are tried at once.
const IN_TIME: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 5;

/// Passes a request on, and the answer back, which is broken off at `end`.
///
/// # Errors
/// 500 for a caller whose name is no header's value, 502 for an answer that leads elsewhere, 503 when nobody answers.
pub async fn pass(
    api: &Arc<Api>,
    remote: &Remote,
    user: &User,
    end: Option<Instant>,
    mut request: Request<Upload>,
) -> Result<Response<Body>, Status> {
    let places = remote.places(api).ok().filter(|_| remote.available).unwrap_or_default();
    let Some(&place) = places.choose(&mut rand::rng()) else {
        return Ok(unavailable());
    };
    let backend = remote.at(api, place).map_err(Status::internal)?.until(end);
    let claims = |name: &&HeaderName| [USER, UID, GROUP].contains(*name) || name.as_str().starts_with(EXTRA);
    let claimed: Vec<HeaderName> = request.headers().keys().filter(claims).cloned().collect();
    for name in claimed {
        request.headers_mut().remove(name);
    }
    let rest = request.uri().path().trim_start_matches('/').to_owned();
    let answer = proxy::pass(&backend, Some(&rest), request, identity(user)?).await?;
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        let why = "the backend attempted to redirect this request, which is not permitted";
        return Ok(response::text(StatusCode::BAD_GATEWAY, format!("{why}\n")));
    }
    Ok(answer)
}

/// The answer where nobody has one.
pub fn unavailable() -> Response<Body> {
    response::text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n")
}

/// The headers that say who calls.
fn identity(user: &User) -> Result<HeaderMap, Status> {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(Status::internal);
    let mut headers = HeaderMap::new();
    headers.insert(USER, value(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA}{}", utf8_percent_encode(key, PLAIN));
        let name = HeaderName::try_from(name).map_err(Status::internal)?;
        for text in values {
            headers.append(&name, value(text)?);
        }
    }
    Ok(headers)
}

impl Remote {
    /// What the server answers to this server itself at a path; at one of its places, of some that are asked at once.
    ///
    /// # Errors
    /// Why it does not, in upstream's words.
    pub async fn ask(&self, api: &Api, places: &[Place], path: &str, most: usize) -> Result<Bytes, Message> {
        let some = places.sample(&mut rand::rng(), ATTEMPTS).copied();
        let asked: Vec<_> = some.map(|place| Box::pin(self.ask_at(api, place, path, most))).collect();
        if asked.is_empty() {
            return Err("nobody is there".into());
        }
        select_ok(asked).await.map(|(answer, _others)| answer)
    }

    async fn ask_at(&self, api: &Api, place: Place, path: &str, most: usize) -> Result<Bytes, Message> {
        let backend = self.at(api, place)?;
        let url = format!("https://{}{path}", backend.authority());
        let failed = |why: Message| message!("failing or missing response from {url}: {why}");
        let own = User {
            name: "system:kube-aggregator".into(),
            groups: vec![machinery::pki::MASTERS.into()],
            ..User::default()
        };
        let mut request = Request::get(path)
            .header(header::HOST, backend.authority())
            .header(header::ACCEPT, "application/json")
            .body(Empty::new().map_err(|never| match never {}).boxed_unsync())
            .map_err(Message::of)?;
        request.headers_mut().extend(identity(&own).map_err(|status| status.message)?);
        let asked = async {
            let answer = backend.send(request).await.map_err(|why| format!("Get {url:?}: {why}"))?;
            if !answer.status().is_success() {
                return Err(message!("bad status from {url}: {}", answer.status().as_u16()));
            }
            let body = Limited::new(answer.into_body(), most).collect().await;
            body.map(|body| body.to_bytes()).map_err(Message::of)
        };
        let late = |_| Err(message!("Get {url:?}: context deadline exceeded"));
        tokio::time::timeout(IN_TIME, asked).await.unwrap_or_else(late).map_err(failed)
    }
}

#[cfg(test)]
mod tests;
