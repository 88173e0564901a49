//! Watch: a stream of changes, from a revision on, or from the present state.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use api::status::Status;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use kinds::kind::Kind;
use rand::RngExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::list;
use crate::{
    context::Ctx,
    forms::{shown, shown_value},
    publish::table,
    response::{self, Body, Form},
    watch_cache::{CachedObject, Ended, TAIL, WatchEvent, WatchFrom, Watcher},
};

/// How often a watcher that wants bookmarks gets one.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// The last one comes so long before its end.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// When it is tried again because changes are just on their way.
const BOOKMARK_AGAIN: Duration = Duration::from_millis(50);
/// The most events that are taken together.
const TOGETHER: usize = 256;
/// Bytes of events that are sent together.
const PIECE: usize = 64 * 1024;
/// Upstream ends a watch without a timeout after 30 to 60 minutes.
const MIN_TIMEOUT: u64 = 1800;
/// No watch lasts longer, whatever it asks for.
const MAX_TIMEOUT: u64 = 365 * 24 * 3600;

/// `GET …?watch=true`.
///
/// # Errors
/// 400, 422; an expired revision is reported inside the stream, as upstream does.
pub async fn watch(ctx: Ctx) -> Result<Response<Body>, Status> {
    let mut query = ctx.query.clone();
    query.watch = true;
    query.check_list()?;
    let revision = ctx.query.revision().map_err(|s| {
        let text = s.message.trim_start_matches("invalid resource version: ").to_owned();
        Status { reason: String::new(), ..Status::failure(500, "", text) }
    })?;
    let filter = list::Filter::new(&ctx)?;
    let initial = ctx.query.send_initial_events == Some(true);
    let from = match revision {
        // "The present state, then changes": the classic meaning of no version and of version 0.
        None | Some(0) if ctx.query.send_initial_events != Some(false) => WatchFrom::Initial,
        Some(revision) if initial => {
            list::wait_for(&ctx, revision).await?;
            WatchFrom::Initial
        }
        None | Some(0) => WatchFrom::Now,
        Some(revision) => WatchFrom::Revision(revision),
    };
    if revision.is_none() {
        ctx.api.cache.fresh().await?;
    }
    list::check_read(&ctx, &ctx.resource.snapshot().objects, &ctx.scope()).await?;
    let keep: Option<crate::watch_cache::Filter> = if filter.is_everything() {
        None
    } else {
        Some(Arc::new(move |object: &CachedObject| filter.matches(object)))
    };
    let watcher = ctx.resource.watch(from, ctx.scope(), keep);
    let asked = ctx.query.timeout_seconds.filter(|seconds| *seconds > 0);
    let timeout = asked.unwrap_or_else(|| rand::rng().random_range(MIN_TIMEOUT..2 * MIN_TIMEOUT));
    let now = Instant::now();
    let deadline = now + Duration::from_secs(timeout.min(MAX_TIMEOUT));
    let frames = match watcher {
        Ok(watcher) => {
            let stream = Stream {
                watcher,
                render: Render::of(&ctx),
                due: VecDeque::new(),
                end_mark: initial && ctx.query.bookmarks,
                deadline,
                end: Box::pin(sleep_until(deadline)),
                bookmark: ctx.query.bookmarks.then(|| Box::pin(sleep_until(next_bookmark(now, deadline)))),
                stop: ctx.api.stop.clone(),
                stopped: Box::pin(ctx.api.stop.clone().cancelled_owned()),
                over: false,
            };
            futures::stream::unfold(stream, |mut s| async move { s.next().await.map(|bytes| (bytes, s)) })
                .boxed()
        }
        Err(expired) => {
            let text = format!("too old resource version: {} ({})", expired.asked, expired.oldest);
            futures::stream::once(async { error_line(&Status::expired(text)) }).boxed()
        }
    };
    let body = StreamBody::new(frames.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::OK;
    answer.headers_mut().insert(http::header::CONTENT_TYPE, response::JSON);
    Ok(answer)
}

fn error_line(status: &Status) -> Bytes {
    format!("{}\n", json!({"type": "ERROR", "object": status})).into()
}

/// The last line of a watch that cannot go on: the client lists again.
fn ended_line(why: Ended) -> Bytes {
    error_line(&Status::expired(why.to_string()))
}

/// One watcher's stream of lines.
struct Stream {
    watcher: Watcher,
    render: Render,
    /// What is told next.
    due: VecDeque<WatchEvent>,
    /// The initial events are ended by a bookmark of their own.
    end_mark: bool,
    deadline: Instant,
    end: Pin<Box<Sleep>>,
    /// Runs until the next bookmark, where they are wanted.
    bookmark: Option<Pin<Box<Sleep>>>,
    stop: CancellationToken,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl Stream {
    /// The next bytes to send, `None` when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over || self.stop.is_cancelled() || self.end.is_elapsed() {
                return None;
            }
            if let Some(bytes) = self.render.events(&mut self.due, self.end_mark) {
                return Some(bytes);
            }
            let bookmark = async {
                match &mut self.bookmark {
                    Some(bookmark) => bookmark.as_mut().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                events = self.watcher.next(TOGETHER) => match events {
                    Ok(events) => self.due = events.into(),
                    // The kind has gone with all its objects, and the watcher was told of those.
                    Err(Ended::Removed) => return None,
                    Err(ended) => {
                        self.over = true;
                        return Some(ended_line(ended));
                    }
                },
                () = &mut self.stopped => return None,
                () = &mut self.end => return None,
                () = bookmark => {
                    let (now, reached) = (Instant::now(), self.watcher.bookmark());
                    let next = reached.map_or(now + BOOKMARK_AGAIN, |_| next_bookmark(now, self.deadline));
                    if let Some(bookmark) = &mut self.bookmark {
                        bookmark.as_mut().reset(next);
                    }
                    if let Some(revision) = reached {
                        return Some(self.render.bookmark(revision, false));
                    }
                }
            }
        }
    }
}

/// When a watcher gets its next bookmark: in a while, or a little before its watch ends.
fn next_bookmark(now: Instant, deadline: Instant) -> Instant {
    let last = deadline.checked_sub(BOOKMARK_BEFORE_END).filter(|last| *last > now);
    (now + BOOKMARK_EVERY).min(last.unwrap_or(deadline))
}

/// How events are put into words for one watcher.
struct Render {
    kind: Arc<Kind>,
    form: Form,
    api_version: &'static str,
    include: Option<String>,
    /// A table's columns are told once.
    columns_told: bool,
}

impl Render {
    fn of(ctx: &Ctx) -> Self {
        Self {
            kind: ctx.kind.clone(),
            form: ctx.accept.form,
            api_version: ctx.accept.api_version,
            include: ctx.query.include_object.clone(),
            columns_told: false,
        }
    }

    /// The lines of events that are due, together up to a size; `None` when there is nothing to tell.
    fn events(&mut self, due: &mut VecDeque<WatchEvent>, end_mark: bool) -> Option<Bytes> {
        let mut together = BytesMut::new();
        while together.len() < PIECE
            && let Some(event) = due.pop_front()
        {
            let line = self.event(&event, end_mark);
            if together.is_empty() && due.is_empty() {
                // It is shared by all who watch.
                return Some(line).filter(|line| !line.is_empty());
            }
            together.extend_from_slice(&line);
        }
        (!together.is_empty()).then(|| together.freeze())
    }

    fn event(&mut self, event: &WatchEvent, end_mark: bool) -> Bytes {
        match event {
            WatchEvent::InitialEnd(revision) if end_mark => self.bookmark(*revision, true),
            WatchEvent::InitialEnd(_) => Bytes::new(),
            WatchEvent::Object { line, .. } if self.form == Form::Object && self.kind.is_stored_form() => {
                line.clone()
            }
            WatchEvent::Object { verb, object, .. } if self.form == Form::Object => {
                match shown(&self.kind, object) {
                    Ok(bytes) => [verb.head(), &bytes, TAIL].concat().into(),
                    Err(status) => error_line(&status),
                }
            }
            WatchEvent::Object { verb, object, .. } => match shown_value(&self.kind, object) {
                Ok(object) => {
                    let shaped = self.shape(&object);
                    format!("{}\n", json!({"type": verb.as_str(), "object": shaped})).into()
                }
                Err(status) => error_line(&status),
            },
        }
    }

    fn shape(&mut self, object: &Value) -> Value {
        if self.form == Form::Metadata {
            return table::partial(self.api_version, object);
        }
        let cells = self.kind.cells(object, machinery::clock::now());
        let (columns, include) = (self.kind.columns(), self.include.as_deref());
        let mut whole = table::of_one(self.api_version, columns, cells, object, include);
        if std::mem::replace(&mut self.columns_told, true) {
            whole["columnDefinitions"] = Value::Null;
        }
        whole
    }

    fn bookmark(&mut self, revision: u64, initial_end: bool) -> Bytes {
        let mut meta = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_end {
            meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object =
            json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": meta});
        match self.form {
            Form::Object => {}
            Form::Metadata => object = table::partial(self.api_version, &object),
            Form::Table => {
                let row = json!({"cells": [], "object": table::partial(self.api_version, &object)});
                object = table::table(
                    self.api_version,
                    self.kind.columns(),
                    json!({"resourceVersion": revision.to_string()}),
                    vec![row],
                );
                object["columnDefinitions"] = Value::Null;
            }
        }
        format!("{}\n", json!({"type": "BOOKMARK", "object": object})).into()
    }
}

#[cfg(test)]
mod tests;
