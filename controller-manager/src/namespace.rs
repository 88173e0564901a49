//! Deletion of namespaces: everything in them goes first, pods before the rest,
//! then the finalizer `kubernetes` is taken off. What there is comes from
//! discovery, so custom resources go too. Upstream: `pkg/controller/namespace`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{Message, conditions};
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Request;
use kube::core::params::{DeleteParams, ListParams, PostParams};
use machinery::clock::Clock;
use machinery::queue::Queue;
use serde::Deserialize;

use crate::Start;
use crate::caches::Caches;
use crate::discovery::{Served, discover};
use crate::frame::{
    Action, Actor, Key, Kind, Timestamp, Writes, api_time, failure, queue, run_queue, to_value,
};
use crate::kit::owners;

/// The finalizer that this controller takes off.
const FINALIZER: &str = "kubernetes";
/// When to look again at what other finalizers hold up.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const WORKERS: usize = 4;

/// What is left of a namespace's content.
#[derive(Debug, Default, PartialEq)]
struct Content {
    /// Why discovery failed.
    undiscovered: Option<String>,
    /// Why deletions failed.
    undeleted: Vec<String>,
    /// How many objects of each resource are left, as `pods.` or `deployments.apps`.
    left: BTreeMap<String, usize>,
    /// How many of them each finalizer holds up.
    finalizers: BTreeMap<String, usize>,
}

impl Content {
    fn is_gone(&self) -> bool {
        *self == Content::default()
    }
}

/// The conditions that tell of the content, beside those of other writers.
fn conditions(old: &NamespaceStatus, content: &Content, now: Timestamp) -> NamespaceStatus {
    let list = |counts: &BTreeMap<String, usize>, middle: &str| {
        counts
            .iter()
            .map(|(name, count)| format!("{name} {middle} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let failed = |reason: &'static str, message: String| Some((reason, message));
    let undeleted = (!content.undeleted.is_empty()).then(|| content.undeleted.join(", "));
    let told = [
        (
            "NamespaceDeletionDiscoveryFailure",
            content.undiscovered.clone().and_then(|why| {
                failed("DiscoveryFailed", format!("Discovery failed for some groups, {why}"))
            }),
            ("ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            undeleted.and_then(|why| {
                failed(
                    "ContentDeletionFailed",
                    format!(
                        "Failed to delete all resource types, {} remaining: {why}",
                        content.undeleted.len()
                    ),
                )
            }),
            ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
        ),
        (
            "NamespaceContentRemaining",
            (!content.left.is_empty()).then(|| {
                (
                    "SomeResourcesRemain",
                    format!("Some resources are remaining: {}", list(&content.left, "has")),
                )
            }),
            ("ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            (!content.finalizers.is_empty()).then(|| {
                (
                    "SomeFinalizersRemain",
                    format!(
                        "Some content in the namespace has finalizers remaining: {}",
                        list(&content.finalizers, "in")
                    ),
                )
            }),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let mut status = old.clone();
    let list = status.conditions.get_or_insert_default();
    for (kind, problem, (fine, well)) in told {
        let (state, reason, message) = match problem {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", fine, well.to_owned()),
        };
        let condition = NamespaceCondition {
            type_: kind.to_owned(),
            status: state.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(api_time(now)),
        };
        conditions::set(list, condition);
    }
    status
}

/// What is said of groups and versions whose servers do not tell what there is of them.
fn undiscovered(stale: &[String]) -> Option<String> {
    let each: Vec<_> =
        stale.iter().map(|name| format!("{name}: stale GroupVersion discovery: {name}")).collect();
    let all = format!("unable to retrieve the complete list of server APIs: {}", each.join(", "));
    (!stale.is_empty()).then(|| format!("{} failing: {all}", stale.len()))
}

/// Whether this controller has work with the namespace.
fn is_ending(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    namespace.metadata.deletion_timestamp.is_some() && finalizers.into_iter().any(|name| name == FINALIZER)
}

/// Starts the controller.
pub fn start(start: &Start) {
    let caches = start.caches;
    let queue: Queue<Key> = queue(start.clock);
    let keys = queue.clone();
    caches.namespaces.on_change(move |change| {
        if change.new.as_deref().is_some_and(is_ending) {
            keys.add(Key::of(&change.latest().metadata));
        }
    });
    let (keys, namespaces) = (queue.clone(), caches.namespaces.clone());
    caches.pods.on_change(move |change| {
        let namespace = owners::namespace(&change.latest().metadata);
        if change.new.is_none()
            && namespaces.get(None, namespace).is_some_and(|namespace| is_ending(&namespace))
        {
            keys.add(Key::cluster(namespace));
        }
    });
    let worker = Arc::new(Worker {
        client: start.client.clone(),
        actor: start.actor("namespace-controller", Writes::Kinds([Kind::of::<Namespace>()].into())),
        caches: caches.clone(),
        clock: start.clock.clone(),
    });
    run_queue(start.tasks, "namespace", WORKERS, queue, start.metrics, move |key: Key| {
        let worker = Arc::clone(&worker);
        async move { worker.reconcile(&key).await }
    });
}

struct Worker {
    client: kube::Client,
    actor: Actor,
    caches: Caches,
    clock: Clock,
}

/// Metadata of the objects of one resource in a namespace.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    items: Vec<ListedItem>,
}

#[derive(Debug, Deserialize)]
struct ListedItem {
    metadata: ObjectMeta,
}

impl Worker {
    async fn reconcile(&self, key: &Key) -> Result<Option<Duration>, Message> {
        let Some(namespace) = self.caches.namespaces.get(None, &key.name).filter(|found| is_ending(found))
        else {
            return Ok(None);
        };
        let content = self.empty(&key.name).await;
        if content.is_gone() {
            return self.finalize(&namespace).await;
        }
        let old = namespace.status.clone().unwrap_or_default();
        let new = conditions(&old, &content, self.clock.now());
        let report = Action::status(Kind::of::<Namespace>(), &namespace.metadata, &old, &new);
        let reported = self.actor.carry_out(report.into_iter().collect()).await;
        match reported.failure.filter(|failure| !failure.is_passing()) {
            Some(failure) => Err(failure.message.into()),
            None => Ok(Some(LOOK_AGAIN)),
        }
    }

    /// Deletes all there is, and tells what is left.
    async fn empty(&self, namespace: &str) -> Content {
        let mut content = Content::default();
        let served = match discover(&self.client).await {
            Ok(served) => served,
            Err(error) => {
                content.undiscovered = Some(format!("1 failing: {error}"));
                return content;
            }
        };
        content.undiscovered = undiscovered(&served.stale);
        let (pods, rest): (Vec<_>, Vec<_>) = served
            .resources
            .into_iter()
            .filter(|served| served.namespaced && served.can(&["list", "delete"]))
            .partition(|served| served.kind.group.is_empty() && served.kind.plural == "pods");
        for served in pods {
            self.empty_of(&served, namespace, &mut content).await;
        }
        // What is not known of other servers' groups keeps the namespace, and none of what is known.
        if content.left.is_empty() && content.undeleted.is_empty() {
            for served in rest {
                self.empty_of(&served, namespace, &mut content).await;
            }
        }
        content
    }

    async fn empty_of(&self, served: &Served, namespace: &str, content: &mut Content) {
        let name = format!("{}.{}", served.kind.plural, served.kind.group);
        let left = match self.delete_all(served, namespace).await {
            Ok(left) => left,
            Err(error) => {
                content.undeleted.push(format!("{name}: {}", failure(&error).message));
                return;
            }
        };
        if left.is_empty() {
            return;
        }
        content.left.insert(name, left.len());
        for finalizer in left.iter().flat_map(|meta| meta.finalizers.iter().flatten()) {
            *content.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }

    async fn delete_all(&self, served: &Served, namespace: &str) -> Result<Vec<ObjectMeta>, kube::Error> {
        let found = self.list(served, namespace).await?;
        if found.is_empty() {
            return Ok(found);
        }
        let path = served.kind.path(namespace);
        if served.can(&["deletecollection"]) {
            let request = Request::new(path)
                .delete_collection(&DeleteParams::background(), &ListParams::default())
                .map_err(kube::Error::BuildRequest)?;
            self.client.request_status::<serde_json::Value>(request).await?;
        } else {
            for name in found
                .iter()
                .filter(|meta| meta.deletion_timestamp.is_none())
                .filter_map(|meta| meta.name.as_deref())
            {
                let request = Request::new(path.clone())
                    .delete(name, &DeleteParams::background())
                    .map_err(kube::Error::BuildRequest)?;
                match self.client.request_status::<serde_json::Value>(request).await {
                    Err(error) if failure(&error).reason != "NotFound" => return Err(error),
                    _ => {}
                }
            }
        }
        self.list(served, namespace).await
    }

    async fn list(&self, served: &Served, namespace: &str) -> Result<Vec<ObjectMeta>, kube::Error> {
        let request = Request::new(served.kind.path(namespace))
            .list_metadata(&ListParams::default())
            .map_err(kube::Error::BuildRequest)?;
        let listed: Listed = self.client.request(request).await?;
        Ok(listed.items.into_iter().map(|item| item.metadata).collect())
    }

    /// Takes the finalizer off; the API server then removes the namespace.
    async fn finalize(&self, namespace: &Namespace) -> Result<Option<Duration>, Message> {
        let mut free = namespace.clone();
        if let Some(finalizers) = free.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|name| name != FINALIZER);
        }
        let body = to_value(&free).to_string().into_bytes();
        let request = Request::new(Kind::of::<Namespace>().path(""))
            .replace_subresource("finalize", owners::name(&namespace.metadata), &PostParams::default(), body)
            .map_err(Message::of)?;
        match self.client.request::<Namespace>(request).await {
            Ok(_) => Ok(None),
            Err(error) => {
                let failure = failure(&error);
                if failure.is_passing() {
                    Ok(Some(Duration::from_millis(20)))
                } else {
                    Err(failure.message.into())
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
