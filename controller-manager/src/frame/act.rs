//! Carries plans out: the one place that writes to the API server. It has no
//! choices left; it counts what was written and then waits until the caches
//! show it, so that the next plan never stands on a world from before.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use kube::core::params::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::{Request, Status};
use machinery::backoff::Backoff;
use machinery::events::{EventType, Recorder};
use serde::Deserialize;
use serde_json::Value;
use tracing::{debug, warn};

use super::caches::Watched;
use super::plan::{Action, Failure, Kind, Outcome, Propagation, Told};

/// Requests under way at once for one plan.
const SIDE_BY_SIDE: usize = 32;

/// How long to wait for a cache to show what was listed after a write without answer.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// Carries out the plans of one controller.
#[derive(Clone)]
pub struct Actor {
    client: kube::Client,
    recorder: Recorder,
    caches: Arc<[Arc<dyn Watched>]>,
}

/// As much of an answer as matters.
#[derive(Debug, Deserialize)]
struct Written {
    metadata: WrittenMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WrittenMeta {
    namespace: String,
    name: String,
    resource_version: String,
}

/// Metadata of all objects of a kind in a namespace.
#[derive(Debug, Deserialize)]
struct Listed {
    items: Vec<Written>,
}

/// One object that has to vanish from a cache, or be seen going.
#[derive(Clone, Debug)]
pub struct Doomed {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// One object that has to appear in a cache.
#[derive(Clone, Debug)]
pub struct Created {
    pub namespace: String,
    pub name: String,
    pub revision: u64,
}

/// What was written and has to be seen before the next plan.
#[derive(Default)]
struct Wake {
    revisions: Vec<(Kind, u64)>,
    doomed: Vec<(Kind, Doomed)>,
    /// Where something may have been created though no answer said so.
    doubtful: Option<(Kind, String)>,
}

impl Wake {
    fn written(&mut self, kind: &Kind, written: &WrittenMeta) {
        let Ok(revision) = written.resource_version.parse::<u64>() else { return };
        match self.revisions.iter_mut().find(|(known, _)| known == kind) {
            Some((_, highest)) => *highest = revision.max(*highest),
            None => self.revisions.push((kind.clone(), revision)),
        }
    }
}

impl Actor {
    /// An actor that tells events with this recorder and waits for these caches.
    pub fn new(client: kube::Client, recorder: Recorder, caches: Arc<[Arc<dyn Watched>]>) -> Self {
        Actor { client, recorder, caches }
    }

    /// Carries actions out in order, until one fails; then waits for the caches.
    pub async fn carry_out(&self, actions: Vec<Action>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut wake = Wake::default();
        let mut actions = actions.into_iter().peekable();
        while let Some(action) = actions.next() {
            let failure = match action {
                Action::Tell { about, warning, reason, message } => {
                    self.recorder.event_at(about, event_type(warning), reason, message);
                    None
                }
                Action::CatchUp { kind, namespace } => self.catch_up(&kind, &namespace).await,
                Action::Create { kind, namespace, body, count, told } => {
                    self.create(&mut wake, &mut outcome, &kind, &namespace, &body, count, told.as_ref()).await
                }
                Action::Patch { kind, namespace, name, subresource, body, told } => {
                    let result = self.patch(&kind, &namespace, &name, subresource, &body).await;
                    self.settle(&mut wake, &kind, result, told.as_ref())
                }
                Action::Delete { .. } => {
                    let mut batch = vec![action];
                    while let Some(next) = actions.next_if(|next| matches!(next, Action::Delete { .. })) {
                        batch.push(next);
                    }
                    self.delete_all(&mut wake, batch).await
                }
            };
            if let Some(failure) = failure {
                outcome.failure = Some(failure);
                break;
            }
        }
        self.wait(wake).await;
        outcome
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one action and the two places that hear of it"
    )]
    async fn create(
        &self,
        wake: &mut Wake,
        outcome: &mut Outcome,
        kind: &Kind,
        namespace: &str,
        body: &Value,
        count: usize,
        told: Option<&Told>,
    ) -> Option<Failure> {
        let body = body.to_string().into_bytes();
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let mut results = stream::iter(0..size)
                .map(|_| self.create_one(kind, namespace, body.clone()))
                .buffer_unordered(SIDE_BY_SIDE);
            let mut failed = None;
            while let Some(result) = results.next().await {
                outcome.created += usize::from(result.is_ok());
                failed = self.settle(wake, kind, result, told).or(failed);
            }
            if failed.as_ref().is_some_and(Failure::is_doubtful) {
                wake.doubtful = Some((kind.clone(), namespace.to_owned()));
            }
            if failed.is_some() {
                return failed;
            }
            left -= size;
            batch *= 2;
        }
        None
    }

    async fn create_one(&self, kind: &Kind, namespace: &str, body: Vec<u8>) -> Result<WrittenMeta, Failure> {
        let request = Request::new(kind.path(namespace)).create(&PostParams::default(), body);
        self.send(request).await
    }

    async fn patch(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        subresource: Option<&str>,
        body: &Value,
    ) -> Result<WrittenMeta, Failure> {
        let request = Request::new(kind.path(namespace));
        let (params, patch) = (PatchParams::default(), Patch::Merge(body));
        let request = match subresource {
            Some(subresource) => request.patch_subresource(subresource, name, &params, &patch),
            None => request.patch(name, &params, &patch),
        };
        self.send(request).await
    }

    async fn send(
        &self,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<WrittenMeta, Failure> {
        let request = request.map_err(|error| unsent(&error))?;
        let written: Written = self.client.request(request).await.map_err(|error| failure(&error))?;
        Ok(written.metadata)
    }

    /// Deletes side by side; what is gone already counts as deleted.
    async fn delete_all(&self, wake: &mut Wake, batch: Vec<Action>) -> Option<Failure> {
        let mut results =
            stream::iter(batch).map(|action| self.delete_one(action)).buffer_unordered(SIDE_BY_SIDE);
        let mut failed = None;
        while let Some((kind, doomed, told, result)) = results.next().await {
            match result {
                Ok(()) => {
                    self.tell(told.as_ref(), Ok(&doomed.name));
                    wake.doomed.push((kind, doomed));
                }
                Err(failure) if failure.reason == "NotFound" => {}
                Err(failure) => {
                    self.tell(told.as_ref(), Err(&failure));
                    failed = Some(failure);
                }
            }
        }
        failed
    }

    async fn delete_one(&self, action: Action) -> (Kind, Doomed, Option<Told>, Result<(), Failure>) {
        let Action::Delete { kind, namespace, name, uid, resource_version, propagation, grace, told } =
            action
        else {
            unreachable!("only deletions are batched as deletions")
        };
        let params = DeleteParams {
            grace_period_seconds: grace.and_then(|seconds| u32::try_from(seconds).ok()),
            propagation_policy: propagation.map(|propagation| match propagation {
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version }),
            ..Default::default()
        };
        let request =
            Request::new(kind.path(&namespace)).delete(&name, &params).map_err(|error| unsent(&error));
        let result = match request {
            Ok(request) => {
                self.client.request_status::<Value>(request).await.map(drop).map_err(|error| failure(&error))
            }
            Err(failure) => Err(failure),
        };
        (kind, Doomed { namespace, name, uid }, told, result)
    }

    /// Notes a success, tells of either, hands a failure on.
    fn settle(
        &self,
        wake: &mut Wake,
        kind: &Kind,
        result: Result<WrittenMeta, Failure>,
        told: Option<&Told>,
    ) -> Option<Failure> {
        match result {
            Ok(written) => {
                self.tell(told, Ok(&written.name));
                wake.written(kind, &written);
                None
            }
            Err(failure) => {
                self.tell(told, Err(&failure));
                Some(failure)
            }
        }
    }

    fn tell(&self, told: Option<&Told>, result: Result<&str, &Failure>) {
        let Some(told) = told else { return };
        let event = match result {
            Ok(name) => {
                told.done.as_ref().map(|(reason, text)| (reason, text.replace("{name}", name), false))
            }
            Err(failure) if failure.is_passing() || failure.is_already_exists() => None,
            Err(failure) => told
                .failed
                .as_ref()
                .map(|(reason, text)| (reason, text.replace("{error}", &failure.message), true)),
        };
        if let Some((reason, message, warning)) = event {
            self.recorder.event_at(told.about.clone(), event_type(warning), reason, message);
        }
    }

    /// What exists of a kind, by the API server's word; asks until there is an answer.
    async fn ask(&self, kind: &Kind, namespace: &str) -> Vec<Created> {
        let mut pauses = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let request = Request::new(kind.path(namespace)).list_metadata(&ListParams::default());
            let listed = match request {
                Ok(request) => self.client.request::<Listed>(request).await,
                Err(error) => Err(kube::Error::BuildRequest(error)),
            };
            match listed {
                Ok(listed) => {
                    let created = |item: Written| {
                        let WrittenMeta { namespace, name, resource_version } = item.metadata;
                        Some(Created { namespace, name, revision: resource_version.parse().ok()? })
                    };
                    return listed.items.into_iter().filter_map(created).collect();
                }
                Err(error) => debug!(%error, kind = kind.kind, "cannot ask what there is"),
            }
            tokio::time::sleep(pauses.pause()).await;
        }
    }

    /// Waits until the cache shows all that there is of a kind.
    async fn catch_up(&self, kind: &Kind, namespace: &str) -> Option<Failure> {
        let cache = self.caches.iter().find(|cache| cache.kind() == kind)?;
        let present = self.ask(kind, namespace).await;
        // What has gone since it was listed never shows: so not for ever.
        let shown = tokio::time::timeout(IN_DOUBT, cache.shows(present)).await;
        shown.is_err().then(|| unsent(&NotShown))
    }

    /// Waits until the caches show what was written.
    async fn wait(&self, wake: Wake) {
        if let Some((kind, namespace)) = &wake.doubtful
            && let Some(failure) = self.catch_up(kind, namespace).await
        {
            debug!(kind = kind.kind, "{}", failure.message);
        }
        for cache in self.caches.iter() {
            let kind = cache.kind();
            let revision =
                wake.revisions.iter().find(|(written, _)| written == kind).map(|(_, revision)| *revision);
            let doomed: Vec<Doomed> = wake
                .doomed
                .iter()
                .filter(|(deleted, _)| deleted == kind)
                .map(|(_, doomed)| doomed.clone())
                .collect();
            if revision.is_none() && doomed.is_empty() {
                continue;
            }
            let mut seen = std::pin::pin!(cache.seen(revision, doomed));
            while tokio::time::timeout(Duration::from_secs(10), &mut seen).await.is_err() {
                warn!(
                    kind = kind.kind,
                    ?revision,
                    "the cache does not yet show what was written; still waiting"
                );
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the cache does not show all that was listed")]
struct NotShown;

fn event_type(warning: bool) -> EventType {
    if warning { EventType::Warning } else { EventType::Normal }
}

fn unsent(error: &dyn std::error::Error) -> Failure {
    Failure { code: 0, reason: String::new(), message: error.to_string(), namespace_terminating: false }
}

/// A client error as plans see it.
pub fn failure(error: &kube::Error) -> Failure {
    debug!(%error, "the API server did not do it");
    match error {
        kube::Error::Api(status) => refusal(status),
        other => unsent(other),
    }
}

fn refusal(status: &Status) -> Failure {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    Failure {
        code: status.code,
        reason: status.reason.clone(),
        message: status.message.clone(),
        namespace_terminating: causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating"),
    }
}
