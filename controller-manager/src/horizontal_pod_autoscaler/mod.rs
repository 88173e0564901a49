//! HorizontalPodAutoscalers: workloads get as many replicas as what is measured of their pods asks for.
//!
//! What is measured is no object and is asked for when it is time, through the API server, as the scale of the target is,
//! which may be of any kind; so this controller reads before it decides ([`plan`], pure) and writes the scale itself.
//! Upstream: `pkg/controller/podautoscaler`.

mod limits;
mod plan;
mod replicas;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api::{Message, message, selector::LabelSelector};
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::core::Request;
use kube::core::params::{ListParams, PostParams};
use machinery::clock::Clock;
use machinery::queue::Queue;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use crate::Start;
use crate::caches::Caches;
use crate::discovery::discover;
use crate::frame::{Action, Actor, Key, Kind, Writes, failure, queue, reference, run_queue, to_value};
use crate::kit::owners;
use limits::History;
use plan::{Decision, Observed, decide};
use replicas::PodMetrics;

/// How often an autoscaler is looked at.
const AGAIN: Duration = Duration::from_secs(15);
/// How often a scale is written anew that others write, too.
const ATTEMPTS: usize = 5;
const WORKERS: usize = 5;
/// For how long what discovery told holds for kinds that are not known, be they in it or not.
const DISCOVERED: Duration = Duration::from_secs(30);

/// Starts the controller.
pub fn start(start: &Start) {
    let keys: Queue<Key> = queue(start.clock);
    let changed = keys.clone();
    start.caches.autoscalers.on_change(move |change| {
        let spec =
            |scaler: &Option<Arc<HorizontalPodAutoscaler>>| scaler.as_ref().map(|scaler| scaler.spec.clone());
        if spec(&change.old) != spec(&change.new) {
            changed.add(Key::of(&change.latest().metadata));
        }
    });
    let writes = Writes::Kinds([Kind::of::<HorizontalPodAutoscaler>()].into());
    let worker = Arc::new(Worker {
        targets: Targets::new(start.client.clone(), start.clock.clone()),
        client: start.client.clone(),
        actor: start.actor("horizontal-pod-autoscaler", writes),
        caches: start.caches.clone(),
        clock: start.clock.clone(),
        known: Mutex::default(),
    });
    run_queue(start.tasks, "horizontal_pod_autoscaler", WORKERS, keys, start.metrics, move |key: Key| {
        let worker = Arc::clone(&worker);
        async move { Ok::<_, String>(worker.reconcile(&key).await) }
    });
}

struct Worker {
    client: kube::Client,
    actor: Actor,
    caches: Caches,
    clock: Clock,
    targets: Targets,
    /// What may be forgotten of autoscalers.
    known: Mutex<HashMap<Key, Known>>,
}

/// What autoscalers scale.
struct Targets {
    client: kube::Client,
    clock: Clock,
    /// Kinds by group and kind.
    kinds: Mutex<HashMap<(String, String), Kind>>,
    /// What discovery told, and when. Who asks keeps the others waiting, for they want the same.
    discovered: tokio::sync::Mutex<Option<(Instant, Vec<Kind>)>>,
}

/// What is remembered of an autoscaler: what it asked for before, and whom it scales.
#[derive(Clone, Default)]
struct Known {
    history: History,
    selector: Option<LabelSelector>,
}

/// A list of the metrics API.
#[derive(Deserialize)]
struct Listed {
    items: Vec<PodMetrics>,
}

impl Worker {
    async fn reconcile(&self, key: &Key) -> Option<Duration> {
        let Some(scaler) = self.caches.autoscalers.get(Some(&key.namespace), &key.name) else {
            self.known.lock().remove(key);
            return None;
        };
        let decision = match self.targets.scale_of(&scaler).await {
            Err(why) => Decision::without_scale(&scaler, &why, self.clock.now()),
            Ok((kind, scale)) => self.decide(key, &scaler, &kind, scale).await,
        };
        let about = reference(&*scaler);
        let told = decision.events.into_iter().map(|(warning, reason, message)| Action::Tell {
            about: about.clone(),
            warning,
            reason,
            message,
        });
        let old = scaler.status.clone().unwrap_or_default();
        let status =
            Action::status(Kind::of::<HorizontalPodAutoscaler>(), &scaler.metadata, &old, &decision.status);
        let failed = self.actor.carry_out(told.chain(status).collect()).await.failure;
        if let Some(failure) = failed.filter(|failure| !failure.is_passing()) {
            let message = failure.message;
            let tell = Action::Tell { about, warning: true, reason: "FailedUpdateStatus", message };
            self.actor.carry_out(vec![tell]).await;
        }
        Some(AGAIN)
    }

    async fn decide(
        &self,
        key: &Key,
        scaler: &HorizontalPodAutoscaler,
        kind: &Kind,
        scale: Scale,
    ) -> Decision {
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
        let selector = scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let pods = self.pods(key, &selector);
        let measured = match &pods {
            Ok(_) => self.measured(&key.namespace, &selector).await,
            Err(_) => Ok(Vec::new()),
        };
        let observed = Observed { replicas: current, pods, measured };
        let mut history = self.known.lock().get(key).cloned().unwrap_or_default().history;
        let now = self.clock.now();
        let mut decision = decide(scaler, &observed, &mut history, now);
        if let Some((to, _)) = decision.rescale {
            let done = self.rescale(kind, &key.namespace, scale, to).await;
            if done.is_ok() {
                history.rescaled(current, to, now);
            }
            decision.rescaled(current, done);
        }
        self.known.lock().entry(key.clone()).or_default().history = history;
        decision
    }

    async fn rescale(&self, kind: &Kind, namespace: &str, mut scale: Scale, to: i32) -> Result<(), Message> {
        let name = scale.metadata.name.clone().unwrap_or_default();
        let mut attempt = 1;
        loop {
            scale.spec.get_or_insert_default().replicas = Some(to);
            let body = to_value(&scale).to_string().into_bytes();
            let request = Request::new(kind.path(namespace));
            let request = request.replace_subresource("scale", &name, &PostParams::default(), body);
            let request = request.map_err(Message::of)?;
            match self.client.request::<Scale>(request).await {
                Ok(_) => return Ok(()),
                Err(error) if attempt < ATTEMPTS && failure(&error).reason == "Conflict" => attempt += 1,
                Err(error) => return Err(failure(&error).message.into()),
            }
            let again = self.targets.scale(kind, namespace, &name).await;
            scale = again.map_err(|error| failure(&error).message)?;
        }
    }

    /// The pods of a selector; why it is none, or not this autoscaler's alone, as an event and a condition.
    fn pods(&self, key: &Key, text: &str) -> Result<Vec<Arc<Pod>>, [(&'static str, String); 2]> {
        if text.is_empty() {
            let message = "the HPA target's scale is missing a selector".to_owned();
            return Err([
                ("SelectorRequired", "selector is required".to_owned()),
                ("InvalidSelector", message),
            ]);
        }
        let selector = LabelSelector::parse(text).map_err(|why| {
            let message =
                format!("couldn't convert selector into a corresponding internal selector object: {why}");
            [("InvalidSelector", message.clone()), ("InvalidSelector", message)]
        })?;
        let none = BTreeMap::new();
        let mut pods = self.caches.pods.list_in(&key.namespace);
        let selects = |selector: &LabelSelector, pod: &Pod| {
            selector.matches(pod.metadata.labels.as_ref().unwrap_or(&none))
        };
        pods.retain(|pod| selects(&selector, pod));
        let mut known = self.known.lock();
        known.entry(key.clone()).or_default().selector = Some(selector);
        let others = known.iter().filter(|(other, known)| {
            let selector = known.selector.as_ref().filter(|_| other.namespace == key.namespace);
            selector.is_some_and(|selector| pods.iter().any(|pod| selects(selector, pod)))
        });
        let mut all: Vec<_> =
            others.map(|(other, _)| format!("{{{} {}}}", other.name, other.namespace)).collect();
        if all.len() > 1 {
            all.sort();
            let all = all.join(" ");
            let message = format!("pods by selector {text} are controlled by multiple HPAs: [{all}]");
            return Err([("AmbiguousSelector", message.clone()), ("AmbiguousSelector", message)]);
        }
        Ok(pods)
    }

    /// What the pods of a selector use.
    async fn measured(&self, namespace: &str, selector: &str) -> Result<Vec<PodMetrics>, Message> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let request = Request::new(path).list(&ListParams::default().labels(selector));
        let request = request.map_err(Message::of)?;
        let listed: Result<Listed, _> = self.client.request(request).await;
        let words = |error: kube::Error| {
            let failure = failure(&error);
            let why = match failure.code {
                404 => "the server could not find the requested resource (get pods.metrics.k8s.io)",
                503 => "the server is currently unable to handle the request (get pods.metrics.k8s.io)",
                _ => &failure.message,
            };
            format!("unable to fetch metrics from resource metrics API: {why}")
        };
        let items = listed.map_err(words)?.items;
        if items.is_empty() { Err("no metrics returned from resource metrics API".into()) } else { Ok(items) }
    }
}

impl Targets {
    fn new(client: kube::Client, clock: Clock) -> Self {
        Targets { client, clock, kinds: Mutex::default(), discovered: tokio::sync::Mutex::default() }
    }

    /// The kind of the target, and its scale.
    async fn scale_of(&self, scaler: &HorizontalPodAutoscaler) -> Result<(Kind, Scale), Message> {
        let target = &scaler.spec.scale_target_ref;
        let version = target.api_version.as_deref().unwrap_or_default();
        let group = match version.split('/').collect::<Vec<_>>()[..] {
            [_] => "",
            [group, _] => group,
            _ => return Err(message!("unexpected GroupVersion string: {version}")),
        };
        let wanted = (group.to_owned(), target.kind.clone());
        let known = self.kinds.lock().get(&wanted).cloned();
        let kind = match known {
            Some(kind) => kind,
            None => self.discover(group, &target.kind).await?,
        };
        let namespace = owners::namespace(&scaler.metadata);
        let scale = self.scale(&kind, namespace, &target.name).await;
        match &scale {
            // The kind may have come anew, in another version.
            Err(error) if is_no_resource(error) => self.kinds.lock().remove(&wanted),
            _ => self.kinds.lock().insert(wanted, kind.clone()),
        };
        scale.map(|scale| (kind, scale)).map_err(|error| failure(&error).message.into())
    }

    async fn discover(&self, group: &str, kind: &str) -> Result<Kind, Message> {
        let mut discovered = self.discovered.lock().await;
        let now = self.clock.instant();
        let kinds = match discovered.take().filter(|(at, _)| now.saturating_duration_since(*at) < DISCOVERED)
        {
            Some(recent) => recent,
            None => {
                let served = discover(&self.client).await.map_err(|error| failure(&error).message)?;
                (now, served.resources.into_iter().map(|served| served.kind).collect())
            }
        };
        let (_, kinds) = discovered.insert(kinds);
        let found = kinds.iter().find(|known| known.group == group && known.kind == kind);
        found.cloned().ok_or_else(|| message!("no matches for kind {kind:?} in group {group:?}"))
    }

    async fn scale(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Scale, kube::Error> {
        let request = Request::new(kind.path(namespace)).get_subresource("scale", name);
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }
}

/// Whether nothing is served at a path; of an object that is not there, the answer has the name.
fn is_no_resource(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty())
}
