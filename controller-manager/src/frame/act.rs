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
use serde_json::{Value, json};
use tracing::{debug, error, warn};

use super::caches::Watched;
use super::plan::{Action, Failure, Kind, Outcome, Propagation, Told};

/// Requests under way at once for one plan.
const SIDE_BY_SIDE: usize = 32;

/// How long to wait for a cache to show what was listed after a write without answer.
const IN_DOUBT: Duration = Duration::from_secs(5);

/// What a controller may write.
#[derive(Clone, Debug)]
pub enum Writes {
    /// Objects of these kinds; each has a cache that shows what was written.
    Kinds(Arc<[Kind]>),
    /// Objects of any kind. Who says so plans on a picture of its own.
    Any,
}

/// Carries out the plans of one controller.
#[derive(Clone)]
pub struct Actor {
    client: kube::Client,
    recorder: Recorder,
    caches: Arc<[Arc<dyn Watched>]>,
    writes: Writes,
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

impl WrittenMeta {
    fn present(self) -> Option<Present> {
        let revision = self.resource_version.parse().ok()?;
        Some(Present { namespace: self.namespace, name: self.name, revision })
    }
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

/// One object as it was at a revision.
#[derive(Clone, Debug)]
pub struct Present {
    pub namespace: String,
    pub name: String,
    pub revision: u64,
}

/// What was written and has to be seen before the next plan.
#[derive(Default)]
struct Wake {
    written: Vec<(Kind, Present)>,
    doomed: Vec<(Kind, Doomed)>,
    /// Where something may have been created though no answer said so.
    doubtful: Option<(Kind, String)>,
}

impl Actor {
    /// An actor that tells events with this recorder and waits for these caches.
    ///
    /// # Panics
    /// When a kind is to be written that none of the caches holds: nobody could wait for what is written of it.
    pub fn new(
        client: kube::Client,
        recorder: Recorder,
        caches: Arc<[Arc<dyn Watched>]>,
        writes: Writes,
    ) -> Self {
        if let Writes::Kinds(kinds) = &writes {
            for kind in kinds.iter() {
                let cached = caches.iter().any(|cache| cache.kind() == kind);
                assert!(cached, "{} is written and there is no cache of it", kind.plural);
            }
        }
        Actor { client, recorder, caches, writes }
    }

    /// Whether this was announced; a plan that does something else is a mistake of its author's.
    fn may(&self, action: &Action) -> Result<(), Failure> {
        let (Writes::Kinds(announced), Some(kind)) = (&self.writes, action.writes()) else { return Ok(()) };
        if announced.contains(kind) {
            return Ok(());
        }
        error!(kind = kind.kind, "a plan writes what its controller has not announced");
        Err(unsent(&Unannounced(kind.kind.clone())))
    }

    /// Carries actions out in order, until one fails; then waits for the caches.
    pub async fn carry_out(&self, actions: Vec<Action>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut wake = Wake::default();
        let mut actions = actions.into_iter().peekable();
        while let Some(action) = actions.next() {
            if let Err(failure) = self.may(&action) {
                outcome.failure = Some(failure);
                break;
            }
            let failure = match action {
                Action::Tell { about, warning, reason, message } => {
                    self.recorder.event_at(about, event_type(warning), reason, message);
                    None
                }
                Action::CatchUp { kind, namespace } => self.catch_up(&kind, &namespace).await,
                Action::Create { kind, namespace, bodies, told } => {
                    let (tried, failure) =
                        self.create(&mut wake, &kind, &namespace, &bodies, told.as_ref()).await;
                    outcome.created += tried;
                    failure
                }
                Action::Patch { kind, namespace, name, subresource, body, told } => {
                    let result = self.patch(&kind, &namespace, &name, subresource, &body).await;
                    self.settle(&mut wake, &kind, &name, result, told.as_ref())
                }
                Action::Delete { .. } => {
                    let mut batch = vec![action];
                    while let Some(next) = actions.next_if(|next| matches!(next, Action::Delete { .. })) {
                        batch.push(next);
                    }
                    self.delete_all(&mut wake, batch).await
                }
                Action::Release { .. } => {
                    let mut batch = vec![action];
                    while let Some(next) = actions.next_if(|next| matches!(next, Action::Release { .. })) {
                        batch.push(next);
                    }
                    self.release_all(&mut wake, batch).await
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

    /// Creates side by side, in batches that grow while all goes well; says how many it created.
    async fn create(
        &self,
        wake: &mut Wake,
        kind: &Kind,
        namespace: &str,
        bodies: &[Arc<Value>],
        told: Option<&Told>,
    ) -> (usize, Option<Failure>) {
        let (mut created, mut size) = (0, 1);
        let mut left = bodies;
        while !left.is_empty() {
            let batch;
            (batch, left) = left.split_at(size.min(left.len()));
            let create = |body: Arc<Value>| async move {
                let result = self.create_one(kind, namespace, &body).await;
                (body, result)
            };
            let mut results = stream::iter(batch.to_vec()).map(create).buffer_unordered(SIDE_BY_SIDE);
            let mut failed = None;
            while let Some((body, result)) = results.next().await {
                created += usize::from(result.is_ok());
                let name = body["metadata"]["name"].as_str().unwrap_or_default();
                failed = self.settle(wake, kind, name, result, told).or(failed);
            }
            if failed.as_ref().is_some_and(Failure::is_doubtful) {
                wake.doubtful = Some((kind.clone(), namespace.to_owned()));
            }
            if failed.is_some() {
                return (created, failed);
            }
            size *= 2;
        }
        (created, None)
    }

    async fn create_one(&self, kind: &Kind, namespace: &str, body: &Value) -> Result<WrittenMeta, Failure> {
        let body = body.to_string().into_bytes();
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
                    self.tell(told.as_ref(), &doomed.name, None);
                    wake.doomed.push((kind, doomed));
                }
                Err(failure) if failure.reason == "NotFound" => {}
                Err(failure) => {
                    self.tell(told.as_ref(), &doomed.name, Some(&failure));
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

    /// Takes finalizers off side by side; what is gone has none.
    async fn release_all(&self, wake: &mut Wake, batch: Vec<Action>) -> Option<Failure> {
        let mut results =
            stream::iter(batch).map(|action| self.release_one(action)).buffer_unordered(SIDE_BY_SIDE);
        let mut failed = None;
        while let Some((kind, name, result)) = results.next().await {
            let failure = self.settle(wake, &kind, &name, result, None);
            failed = failure.filter(|failure| failure.reason != "NotFound").or(failed);
        }
        failed
    }

    async fn release_one(&self, action: Action) -> (Kind, String, Result<WrittenMeta, Failure>) {
        let Action::Release { kind, namespace, name, uid, finalizer } = action else {
            unreachable!("only releases are batched as releases")
        };
        let body = json!({"metadata": {"uid": uid, "$deleteFromPrimitiveList/finalizers": [finalizer]}});
        let (params, patch) = (PatchParams::default(), Patch::Strategic(&body));
        let request = Request::new(kind.path(&namespace)).patch(&name, &params, &patch);
        let result = self.send(request).await;
        (kind, name, result)
    }

    /// Notes a success, tells of either, hands a failure on. `name` is the one asked for, if any was.
    fn settle(
        &self,
        wake: &mut Wake,
        kind: &Kind,
        name: &str,
        result: Result<WrittenMeta, Failure>,
        told: Option<&Told>,
    ) -> Option<Failure> {
        match result {
            Ok(written) => {
                self.tell(told, &written.name, None);
                wake.written.extend(written.present().map(|present| (kind.clone(), present)));
                None
            }
            Err(failure) => {
                self.tell(told, name, Some(&failure));
                Some(failure)
            }
        }
    }

    fn tell(&self, told: Option<&Told>, name: &str, failure: Option<&Failure>) {
        let Some(told) = told else { return };
        let (said, warning) = match failure {
            None => (&told.done, false),
            Some(failure) if failure.is_passing() || failure.is_already_exists() => return,
            Some(_) => (&told.failed, true),
        };
        if let Some((reason, text)) = said {
            let error = failure.map(|failure| failure.message.as_str()).unwrap_or_default();
            let message = text.replace("{name}", name).replace("{error}", error);
            self.recorder.event_at(told.about.clone(), event_type(warning), reason, message);
        }
    }

    /// What exists of a kind, by the API server's word; asks until there is an answer.
    async fn ask(&self, kind: &Kind, namespace: &str) -> Vec<Present> {
        let mut pauses = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            let request = Request::new(kind.path(namespace)).list_metadata(&ListParams::default());
            let listed = match request {
                Ok(request) => self.client.request::<Listed>(request).await,
                Err(error) => Err(kube::Error::BuildRequest(error)),
            };
            match listed {
                Ok(listed) => {
                    return listed.items.into_iter().filter_map(|item| item.metadata.present()).collect();
                }
                Err(error) => debug!(%error, kind = kind.kind, "cannot ask what there is"),
            }
            tokio::time::sleep(pauses.pause()).await;
        }
    }

    /// Waits until the cache shows all that there is of a kind.
    async fn catch_up(&self, kind: &Kind, namespace: &str) -> Option<Failure> {
        let cache = self.caches.iter().find(|cache| cache.kind() == kind)?;
        let mut present = self.ask(kind, namespace).await;
        present.retain(|present| cache.covers(&present.namespace, &present.name));
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
            let shown = |present: &&Present| cache.covers(&present.namespace, &present.name);
            let written = wake.written.iter().filter(|(written, _)| written == kind);
            let revision =
                written.map(|(_, present)| present).filter(shown).map(|present| present.revision).max();
            let doomed = wake.doomed.iter().filter(|(deleted, _)| deleted == kind);
            let doomed: Vec<Doomed> = doomed.map(|(_, doomed)| doomed.clone()).collect();
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

#[derive(Debug, thiserror::Error)]
#[error("the controller has not announced that it writes a {0}")]
struct Unannounced(String);

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
