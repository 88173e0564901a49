//! `/containerLogs`: what a container wrote, from the files that the runtime writes.
//!
//! The file is read as it grows and across its rotation; a follower ends when the container
//! has ended and everything was shown. Upstream counterpart: `kuberuntime/logs`.

mod choose;
mod read;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use machinery::beneath::Below;
use tokio::sync::mpsc;

pub(super) use choose::{has_container, has_terminal};

use super::{Backend, Query, Refusal};
use crate::log_line::Filter;

/// How long to wait before looking for more in a file that is followed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often to ask whether the container still runs.
const ASK_RUNTIME: Duration = Duration::from_millis(500);

/// What of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    follow: bool,
    previous: bool,
    tail: Option<u64>,
    limit: Option<u64>,
    filter: Filter,
}

impl Options {
    /// Reads the options of a request.
    pub(super) fn parse(query: &Query, now: Timestamp) -> Result<Self, Refusal> {
        let wrong = |name: &str, value: &str| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("{name}: Invalid value: {value:?}"))
        };
        let number = |name: &str, least: u64| match query.get(name) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if number >= least => Ok(Some(number)),
                _ => Err(wrong(name, text)),
            },
        };
        let since = match (number("sinceSeconds", 1)?, query.get("sinceTime")) {
            (Some(seconds), _) => now.checked_sub(Duration::from_secs(seconds)).ok(),
            (None, Some(time)) => Some(time.parse().map_err(|_| wrong("sinceTime", time))?),
            (None, None) => None,
        };
        Ok(Self {
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            tail: number("tailLines", 0)?,
            limit: number("limitBytes", 1)?,
            filter: Filter { since, timestamps: query.flag("timestamps") },
        })
    }
}

/// A log that can be shown.
pub(super) struct Log {
    file: Below,
    container: String,
    options: Options,
}

/// Finds the log that a request means.
pub(super) async fn find(
    backend: &dyn Backend,
    pod: &Pod,
    container: &str,
    options: Options,
) -> Result<Log, Refusal> {
    let id = choose::choose(pod, container, options.previous)?;
    let found = backend.container(&id).await.map_err(Refusal::internal)?;
    Ok(Log { file: found.log, container: id, options })
}

/// Sends a log until its end, or until nobody listens any more.
pub(super) async fn show(backend: Arc<dyn Backend>, log: Log, to: mpsc::Sender<Bytes>) {
    let shown = read::show(&log.file, &log.options, &to, || async {
        // A runtime that cannot be asked right now does not end a follower.
        backend.container(&log.container).await.is_ok_and(|found| !found.running)
    });
    if let Err(error) = shown.await {
        tracing::debug!(log = %log.file, %error, "Log ended early");
    }
}
