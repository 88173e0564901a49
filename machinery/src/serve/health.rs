//! Health: the checks behind `/healthz`, `/livez` and `/readyz`, and how they are told.
//!
//! Upstream counterpart: apiserver's `healthz`.

use api::Message;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::Mutex;

use crate::query::Query;

type Check = Arc<dyn Fn() -> Result<(), Message> + Send + Sync>;

/// The checks behind `/healthz`, `/livez` and `/readyz`. Each answers at once.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(String, bool, Check)>,
}

impl Health {
    /// Only `ping`, which succeeds.
    pub fn new() -> Self {
        Self::default().live("ping", || Ok(()))
    }

    /// Adds a check without which the daemon is ill and should be started anew.
    #[must_use]
    pub fn live(
        mut self,
        name: &str,
        check: impl Fn() -> Result<(), Message> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name.to_owned(), true, Arc::new(check)));
        self
    }

    /// Adds a check without which the daemon is well but not ready to serve.
    #[must_use]
    pub fn ready(
        mut self,
        name: &str,
        check: impl Fn() -> Result<(), Message> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name.to_owned(), false, Arc::new(check)));
        self
    }

    /// Answers a request for a health path such as `/readyz?verbose` or `/livez/ping`;
    /// none if it is no health path.
    pub fn answer(&self, path: &str, query: Option<&str>) -> Option<(StatusCode, String)> {
        let asked = Asked::parse(path, query)?;
        let checks = self
            .checks
            .iter()
            .filter(|(_, live, _)| *live || asked.endpoint == "readyz" || asked.one.is_some());
        asked.report(checks.map(|(name, _, check)| (&**name, check())), |check, why| {
            tracing::warn!(endpoint = asked.endpoint, check, %why, "Health check failed");
            why
        })
    }
}

/// A request for a health path.
pub struct Asked<'a> {
    /// `healthz`, `livez` or `readyz`.
    pub endpoint: &'a str,
    /// The check that is asked for alone.
    pub one: Option<&'a str>,
    excluded: Vec<String>,
    verbose: bool,
}

impl<'a> Asked<'a> {
    /// Reads path and query; none if it is no health path.
    pub fn parse(path: &'a str, query: Option<&str>) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(2, '/');
        let endpoint = parts.next().filter(|e| ["healthz", "livez", "readyz"].contains(e))?;
        let query = Query::parse(query);
        Some(Self {
            endpoint,
            one: parts.next(),
            excluded: query.all("exclude"),
            verbose: query.has("verbose"),
        })
    }

    /// The answer, given the results of all checks of the endpoint; none if the one that is asked for is not among
    /// them. `told` makes of a check's name and failure what is said of it.
    pub fn report<'c>(
        &self,
        mut results: impl Iterator<Item = (&'c str, Result<(), Message>)>,
        told: impl Fn(&str, Message) -> Message,
    ) -> Option<(StatusCode, String)> {
        if let Some(one) = self.one {
            let (name, result) = results.find(|(name, _)| one == *name)?;
            return Some(match result {
                Ok(()) => (StatusCode::OK, "ok".to_owned()),
                Err(why) => {
                    let why = told(name, why);
                    (StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n"))
                }
            });
        }
        let mut lines = String::new();
        let mut unknown = self.excluded.clone();
        let mut failed = false;
        for (name, result) in results {
            unknown.retain(|excluded| excluded != name);
            lines += &match result {
                _ if self.excluded.iter().any(|excluded| excluded == name) => {
                    format!("[+]{name} excluded: ok\n")
                }
                Ok(()) => format!("[+]{name} ok\n"),
                Err(why) => {
                    failed = true;
                    format!("[-]{name} failed: {}\n", told(name, why))
                }
            };
        }
        if !unknown.is_empty() {
            unknown.sort_unstable();
            unknown.dedup();
            let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(",");
            lines += &format!("warn: some health checks cannot be excluded: no matches for {names}\n");
        }
        let endpoint = self.endpoint;
        Some(match (failed, self.verbose) {
            (true, _) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{endpoint} check failed\n")),
            (false, true) => (StatusCode::OK, format!("{lines}{endpoint} check passed\n")),
            (false, false) => (StatusCode::OK, "ok".to_owned()),
        })
    }
}

/// What a daemon still waits for, as a readiness check. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<Option<Message>>>);

impl Gate {
    /// Closed, because of what `why` says.
    pub fn closed(why: impl Into<Message>) -> Self {
        Self(Arc::new(Mutex::new(Some(why.into()))))
    }

    /// Closes it.
    pub fn close(&self, why: impl Into<Message>) {
        *self.0.lock() = Some(why.into());
    }

    /// Opens it: nothing is waited for.
    pub fn open(&self) {
        *self.0.lock() = None;
    }

    /// The check: fails while the gate is closed, and says why.
    pub fn check(&self) -> Result<(), Message> {
        self.0.lock().clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
