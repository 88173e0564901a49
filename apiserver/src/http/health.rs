//! `/healthz`, `/livez` and `/readyz`: open to everybody, like upstream's defaults.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::Response;
use machinery::serve::Asked;

use crate::{
    Api,
    response::{self, Body},
};

/// Answers a health request; `None` when the path is none.
pub async fn serve(api: &Arc<Api>, path: &str, query: Option<&str>) -> Option<Response<Body>> {
    let asked = Asked::parse(path, query)?;
    let mut checks: Vec<(&str, Result<(), String>)> =
        vec![("ping", Ok(())), ("etcd", api.store.healthy().await.map_err(|e| e.to_string()))];
    if asked.endpoint != "livez" {
        checks.push(("poststarthook/bootstrap-controller", api.bootstrapped()));
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
        // The reason stays in the log: this endpoint is open to everybody.
        if starting {
            tracing::debug!(check, %reason, "not ready yet");
        } else {
            tracing::warn!(check, %reason, "health check failed");
        }
        "reason withheld".to_owned()
    });
    Some(answer.map_or_else(super::not_a_path, |(code, text)| response::text(code, text)))
}
