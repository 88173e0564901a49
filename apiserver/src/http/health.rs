//! `/healthz`, `/livez` and `/readyz`: open to everybody, like upstream's defaults.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use machinery::query::Query;

use crate::{
    Api,
    response::{self, Body},
};

/// Answers a health request; `None` when the path is none.
pub async fn serve(api: &Arc<Api>, path: &str, query: Option<&str>) -> Option<Response<Body>> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let endpoint = parts.next().filter(|e| matches!(*e, "healthz" | "livez" | "readyz"))?;
    let only = parts.next().filter(|c| !c.is_empty());
    let query = Query::parse(query);
    let excluded = query.all("exclude");
    let excluded = |name: &str| excluded.iter().any(|one| one == name);
    let mut checks: Vec<(&str, Result<(), String>)> =
        vec![("ping", Ok(())), ("etcd", api.store.healthy().await.map_err(|e| e.to_string()))];
    if endpoint != "livez" {
        checks.push(("poststarthook/bootstrap-controller", api.bootstrapped()));
    }
    if endpoint == "readyz" {
        let stopping = api.shutting_down();
        checks.push(("shutdown", if stopping { Err("process is shutting down".into()) } else { Ok(()) }));
        if checks.iter().all(|(_, result)| result.is_ok()) {
            api.been_ready.store(true, Ordering::Release);
        }
    }
    if let Some(only) = only {
        checks.retain(|(name, _)| *name == only);
        if checks.is_empty() {
            return Some(super::not_a_path());
        }
    }
    let failed = checks.iter().any(|(name, result)| result.is_err() && !excluded(name));
    // Whoever waits for a server that is starting asks again and again.
    let starting = !api.been_ready.load(Ordering::Acquire);
    if !failed && !query.has("verbose") {
        return Some(response::text(StatusCode::OK, "ok"));
    }
    let mut out = String::new();
    for (name, result) in &checks {
        out.push_str(&match result {
            _ if excluded(name) => format!("[+]{name} excluded: ok\n"),
            Ok(()) => format!("[+]{name} ok\n"),
            // The reason stays in the log: this endpoint is open to everybody.
            Err(reason) => {
                if starting {
                    tracing::debug!(check = name, %reason, "not ready yet");
                } else {
                    tracing::warn!(check = name, %reason, "health check failed");
                }
                format!("[-]{name} failed: reason withheld\n")
            }
        });
    }
    let verdict = if failed { "failed" } else { "passed" };
    out.push_str(&format!("{endpoint} check {verdict}\n"));
    let code = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    Some(response::text(code, out))
}
