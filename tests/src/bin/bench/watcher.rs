//! Follows objects as a client does and says when something is the case.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Resource};
use kube_runtime::watcher::{Config, Error, Event, watcher};
use serde::de::DeserializeOwned;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether a pod's Ready condition is True.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Takes in what the watch tells next. Says whether that was the end of the list it begins with.
async fn hear<K: Resource>(
    events: &mut Pin<&mut impl Stream<Item = Result<Event<K>, Error>>>,
    known: &mut BTreeMap<String, K>,
) -> bool {
    let name = |object: &K| object.meta().name.clone().unwrap_or_default();
    let event = events.try_next().await.expect("the watch goes on").expect("a watch does not end");
    let listed = matches!(event, Event::InitDone);
    match event {
        Event::InitApply(object) | Event::Apply(object) => {
            known.insert(name(&object), object);
        }
        Event::Delete(object) => {
            known.remove(&name(&object));
        }
        Event::Init | Event::InitDone => {}
    }
    listed
}

/// Watches from before `act` begins until `done` holds for all known objects; returns the time
/// between the beginning of `act` and that moment.
pub async fn time<K, F>(
    api: &Api<K>,
    selector: &str,
    act: impl FnOnce() -> F,
    done: impl Fn(&BTreeMap<String, K>) -> bool,
) -> Duration
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    F: Future<Output = ()>,
{
    let mut events = pin!(watcher(api.clone(), Config::default().labels(selector)));
    let mut known = BTreeMap::new();
    while !hear(&mut events, &mut known).await {}
    let began = Instant::now();
    let follow = async {
        loop {
            hear(&mut events, &mut known).await;
            if done(&known) {
                return began.elapsed();
            }
        }
    };
    let both = futures::future::join(act(), follow);
    tokio::time::timeout(PATIENCE, both).await.expect("it does not take that long").1
}
