//! Follows pods as a client does and says when something is the case.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a pod's Ready condition is True.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Watches from before `act` begins until `done` holds for all known pods; returns the time
/// between the beginning of `act` and that moment.
pub async fn time<F: Future<Output = ()>>(
    api: &Api<Pod>,
    selector: &str,
    act: impl FnOnce() -> F,
    done: impl Fn(&BTreeMap<String, Pod>) -> bool,
) -> Duration {
    let list =
        api.list(&kube::api::ListParams::default().labels(selector)).await.expect("pods can be listed");
    let version = list.metadata.resource_version.clone().expect("a list has a version");
    let mut known: BTreeMap<String, Pod> =
        list.items.into_iter().map(|pod| (pod.metadata.name.clone().unwrap_or_default(), pod)).collect();
    let events =
        api.watch(&WatchParams::default().labels(selector), &version).await.expect("pods can be watched");
    let mut events = pin!(events);
    let began = Instant::now();
    let follow = async {
        while let Some(event) = events.try_next().await.expect("the watch goes on") {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                    known.insert(pod.metadata.name.clone().unwrap_or_default(), pod);
                }
                WatchEvent::Deleted(pod) => {
                    known.remove(pod.metadata.name.as_deref().unwrap_or_default());
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => panic!("the watch broke off: {error}"),
            }
            if done(&known) {
                return began.elapsed();
            }
        }
        panic!("the watch ended")
    };
    let both = futures::future::join(act(), follow);
    tokio::time::timeout(PATIENCE, both).await.expect("it does not take that long").1
}
