//! The loop that fills a cache: LIST, then WATCH from there; after a lost connection WATCH
//! from the last revision; LIST again when the server has forgotten it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::Resource;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ListMeta, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Selectors, Shared};
use crate::backoff::Backoff;
use crate::logging::chain;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Objects that are read at a time: as many are in memory twice.
const PAGE: u32 = 200;
/// A watch is opened anew at least so often (seconds).
const WATCH_LIFE: u32 = 290;

pub(super) struct Reflection<K> {
    pub(super) client: kube::Client,
    pub(super) url: String,
    pub(super) selectors: Selectors,
    /// Takes from an object what nobody behind the cache needs.
    pub(super) slim: fn(&mut K),
    pub(super) shared: Arc<Shared<K>>,
}

/// Where the loop goes on from.
enum State {
    List,
    Watch(u64),
    /// After a lost connection: another server, or another store behind it, may answer now.
    Resume(u64),
}

/// Why a watch ended.
#[derive(Debug, thiserror::Error)]
enum WatchEnd {
    #[error("the server has forgotten revision {0}")]
    Forgotten(u64),
    #[error("the server is at revision {now}, before {seen} that was seen: its store started anew")]
    Reset { seen: u64, now: u64 },
    #[error("the server refuses the watch")]
    Refused(#[source] Box<kube::core::Status>),
    #[error("no answer")]
    Lost(#[source] kube::Error),
}

#[derive(Deserialize)]
struct List<K> {
    #[serde(default)]
    metadata: ListMeta,
    items: Option<Vec<K>>,
}

impl<K> List<K> {
    fn revision(&self) -> u64 {
        self.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

impl<K> Reflection<K>
where
    K: Resource + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut state = State::List;
        loop {
            state = match state {
                State::List => match self.list().await {
                    Ok(revision) => State::Watch(revision),
                    Err(error) => {
                        self.pause(&mut backoff, "LIST", &WatchEnd::Lost(error)).await;
                        State::List
                    }
                },
                State::Watch(revision) => match self.watch(revision, &mut backoff).await {
                    Ok(revision) => State::Watch(revision),
                    Err((_, end @ (WatchEnd::Forgotten(_) | WatchEnd::Reset { .. }))) => {
                        tracing::info!(url = self.url, reason = chain(&end), "Listing again");
                        tokio::time::sleep(backoff.pause()).await;
                        State::List
                    }
                    Err((_, end @ WatchEnd::Refused(_))) => {
                        self.pause(&mut backoff, "WATCH", &end).await;
                        State::List
                    }
                    Err((revision, end @ WatchEnd::Lost(_))) => {
                        self.pause(&mut backoff, "WATCH", &end).await;
                        State::Resume(revision)
                    }
                },
                State::Resume(seen) => match self.page(1, None).await {
                    Ok(page) if page.revision() < seen => {
                        let now = page.revision();
                        let end = WatchEnd::Reset { seen, now };
                        tracing::info!(url = self.url, reason = chain(&end), "Listing again");
                        State::List
                    }
                    Ok(_) => State::Watch(seen),
                    Err(error) => {
                        self.pause(&mut backoff, "LIST", &WatchEnd::Lost(error)).await;
                        State::Resume(seen)
                    }
                },
            };
        }
    }

    /// Waits before the next try. What will not pass by itself is said aloud each time, a lost
    /// connection only when it is new.
    async fn pause(&self, backoff: &mut Backoff, verb: &str, error: &WatchEnd) {
        let words = chain(error);
        let refused = !matches!(error, WatchEnd::Lost(kube::Error::Service(_) | kube::Error::HyperError(_)));
        if refused {
            tracing::warn!(verb, url = self.url, error = words, "Trying again");
        } else if backoff.is_fresh() {
            tracing::info!(verb, url = self.url, error = words, "Trying again");
        } else {
            tracing::debug!(verb, url = self.url, error = words, "Trying again");
        }
        tokio::time::sleep(backoff.pause()).await;
    }

    async fn list(&self) -> Result<u64, kube::Error> {
        let (mut objects, mut next, mut revision) = (Vec::new(), None, None);
        loop {
            let page = self.page(PAGE, next).await?;
            // Changes since the first page are told by the watch, whatever other pages show of them.
            let revision = *revision.get_or_insert(page.revision());
            objects.extend(page.items.into_iter().flatten().map(|object| self.kept(object)));
            next = page.metadata.continue_.filter(|token| !token.is_empty());
            if next.is_none() {
                self.shared.replace(objects, revision);
                return Ok(revision);
            }
        }
    }

    /// What is remembered of an object. Nobody needs to know who set which field, and it is much.
    fn kept(&self, mut object: K) -> Arc<K> {
        object.meta_mut().managed_fields = None;
        (self.slim)(&mut object);
        Arc::new(object)
    }

    /// The first objects, or those that follow a page.
    async fn page(&self, limit: u32, follows: Option<String>) -> Result<List<K>, kube::Error> {
        let params = ListParams {
            label_selector: self.selectors.labels.clone(),
            field_selector: self.selectors.fields.clone(),
            limit: Some(limit),
            continue_token: follows,
            ..ListParams::default()
        };
        let request = Request::new(&self.url);
        let request = if K::metadata_api() { request.list_metadata(&params) } else { request.list(&params) };
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Follows the changes after a revision until the watch ends; returns the revision reached.
    async fn watch(&self, from: u64, backoff: &mut Backoff) -> Result<u64, (u64, WatchEnd)> {
        let params = WatchParams {
            label_selector: self.selectors.labels.clone(),
            field_selector: self.selectors.fields.clone(),
            timeout: Some(WATCH_LIFE),
            bookmarks: true,
            send_initial_events: false,
        };
        let request = Request::new(&self.url);
        let version = from.to_string();
        let request = if K::metadata_api() {
            request.watch_metadata(&params, &version)
        } else {
            request.watch(&params, &version)
        };
        let request = request.map_err(|error| (from, WatchEnd::Lost(kube::Error::BuildRequest(error))))?;
        let events =
            self.client.request_events::<K>(request).await.map_err(|error| (from, watch_end(error, from)))?;
        let mut events = std::pin::pin!(events);
        loop {
            let reached = self.shared.progress.borrow().revision;
            let event = events.try_next().await.map_err(|error| (reached, watch_end(error, reached)))?;
            match event {
                None if reached == from => {
                    // A server that ends watches at once must not be asked in a tight loop.
                    tokio::time::sleep(backoff.pause()).await;
                    return Ok(reached);
                }
                None => return Ok(reached),
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.shared.apply(self.kept(object), false);
                }
                Some(WatchEvent::Deleted(object)) => self.shared.apply(self.kept(object), true),
                Some(WatchEvent::Bookmark(bookmark)) => {
                    let now = bookmark.metadata.resource_version.parse().unwrap_or(reached);
                    if now < reached {
                        return Err((reached, WatchEnd::Reset { seen: reached, now }));
                    }
                    self.shared.bookmark(now);
                }
                Some(WatchEvent::Error(status)) => {
                    return Err((reached, watch_end(kube::Error::Api(status), reached)));
                }
            }
            backoff.reset();
        }
    }
}

/// What the end of a watch means for what to do next.
fn watch_end(error: kube::Error, revision: u64) -> WatchEnd {
    match error {
        kube::Error::Api(status) => match status.code {
            410 => WatchEnd::Forgotten(revision),
            429 | 500 | 502 | 503 => WatchEnd::Lost(kube::Error::Api(status)),
            _ => WatchEnd::Refused(status),
        },
        error => WatchEnd::Lost(error),
    }
}
