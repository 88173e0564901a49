//! `/healthz`, `/livez` and `/readyz`, which never wait for a seat. Who may ask is said elsewhere.

use api::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Response;
use machinery::serve::Asked;

use crate::{
    Api,
    args::Mode,
    response::{self, Body},
};

/// Answers a health request; `None` when the path is none.
pub async fn serve(api: &Arc<Api>, path: &str, query: Option<&str>) -> Option<Response<Body>> {
    let asked = Asked::parse(path, query)?;
    let mut checks: Vec<(&str, Result<(), Message>)> =
        vec![("ping", Ok(())), ("etcd", api.store.healthy().await.map_err(Message::of))];
    if asked.endpoint != "livez" {
        checks.push(("poststarthook/bootstrap-controller", api.bootstrapped()));
        if api.authorizer.asks(Mode::Rbac) {
            checks.push(("poststarthook/rbac/bootstrap-roles", api.bootstrapped()));
        }
    }
    if asked.endpoint == "readyz" {
        let stopping = api.shutting_down();
        checks.push(("shutdown", if stopping { Err("process is shutting down".into()) } else { Ok(()) }));
        if checks.iter().all(|(_, result)| result.is_ok()) {
            api.been_ready.store(true, Ordering::Release);
        }
    }
    // Whoever waits for a server that is starting asks again and again.
    let starting = !api.been_ready.load(Ordering::Acquire);
    let answer = asked.report(checks.into_iter(), |check, reason| {
        if starting {
            tracing::debug!(check, %reason, "not ready yet");
        } else {
            tracing::warn!(check, %reason, "health check failed");
        }
        // All checks together are open to everybody, and the reason stays in the log.
        if asked.one.is_some() { reason } else { "reason withheld".into() }
    });
    Some(answer.map_or_else(response::not_a_path, |(code, text)| response::text(code, text)))
}
