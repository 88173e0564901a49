//! Events: what happened to an object, for people to read.
//!
//! Recording never waits: events go through a bounded queue to one task, which writes the
//! first occurrence and counts up later ones. Events that the API server refuses are
//! dropped; while it cannot be reached they are tried again. Upstream counterpart:
//! client-go's `tools/record`.

mod correlate;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams, Resource};
use tokio::sync::mpsc;

use correlate::{Correlator, Occurrence, Write};

use crate::backoff::Backoff;
use crate::logging::chain;
use crate::tasks::Tasks;

/// How many events may wait to be written.
const CAPACITY: usize = 4096;
/// How often writing one event is tried.
const TRIES: usize = 12;

/// Whether an event tells of normal life or of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// All is well.
    Normal,
    /// Somebody may want to look at this.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records events in the name of a component. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// A recorder for a component such as `kubelet`, on a host if that matters.
    pub fn new(client: kube::Client, component: &str, host: Option<&str>, tasks: &Tasks) -> Self {
        let (queue, occurrences) = mpsc::channel(CAPACITY);
        let writer = Writer {
            client,
            source: EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) },
            correlator: Correlator::default(),
        };
        let stop = tasks.token();
        tasks.spawn_finite("events", async move {
            stop.run_until_cancelled(writer.run(occurrences)).await;
        });
        Self { queue }
    }

    /// A recorder whose events reach nobody, for tests.
    pub fn deaf() -> Self {
        Self { queue: mpsc::channel(1).0 }
    }

    /// Records an event about an object.
    pub fn event<K>(&self, about: &K, event_type: EventType, reason: &str, message: impl Into<String>)
    where
        K: Resource<DynamicType = ()>,
    {
        self.event_at(reference(about), event_type, reason, message);
    }

    /// Records an event about whatever the reference names, such as one container of a pod
    /// (`fieldPath: spec.containers{web}`).
    pub fn event_at(
        &self,
        about: ObjectReference,
        event_type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            about,
            event_type,
            reason: reason.to_owned(),
            message: message.into(),
            at: crate::clock::now(),
        };
        tracing::debug!(
            object = format!(
                "{}/{}",
                occurrence.about.namespace.as_deref().unwrap_or_default(),
                occurrence.about.name.as_deref().unwrap_or_default()
            ),
            reason,
            note = occurrence.message,
            "Event occurred"
        );
        if self.queue.try_send(occurrence).is_err() {
            tracing::debug!(reason, "Event dropped: too many wait, or the process stops");
        }
    }
}

/// A reference to an object, as events carry it.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        resource_version: meta.resource_version.clone(),
        uid: meta.uid.clone(),
        field_path: None,
    }
}

struct Writer {
    client: kube::Client,
    source: EventSource,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = occurrences.recv().await {
            let namespace = occurrence.about.namespace.clone().filter(|namespace| !namespace.is_empty());
            let api = Api::namespaced(self.client.clone(), namespace.as_deref().unwrap_or("default"));
            let Some(write) = self.correlator.observe(occurrence) else { continue };
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
            for _ in 0..TRIES {
                match self.write(&api, &write).await {
                    Ok(()) => break,
                    Err(kube::Error::Api(status)) if !matches!(status.code, 429 | 500..) => {
                        tracing::debug!(error = chain(&*status), "Event refused");
                        break;
                    }
                    Err(error) => tracing::debug!(error = chain(&error), "Event not written yet"),
                }
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }

    async fn write(&self, api: &Api<Event>, write: &Write) -> Result<(), kube::Error> {
        if write.count > 1 {
            let again = serde_json::json!({
                "count": write.count,
                "lastTimestamp": Time(write.last),
                "message": write.message,
            });
            match api.patch(&write.name, &PatchParams::default(), &Patch::Merge(&again)).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => return other.map(drop),
            }
        }
        api.create(&PostParams::default(), &self.event(api, write)).await.map(drop)
    }

    fn event(&self, api: &Api<Event>, write: &Write) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(write.name.clone()),
                namespace: api.namespace().map(str::to_owned),
                ..ObjectMeta::default()
            },
            involved_object: write.about.clone(),
            type_: Some(write.event_type.as_str().to_owned()),
            reason: Some(write.reason.clone()),
            message: Some(write.message.clone()),
            count: Some(write.count),
            first_timestamp: Some(Time(write.first)),
            last_timestamp: Some(Time(write.last)),
            source: Some(self.source.clone()),
            reporting_component: self.source.component.clone(),
            reporting_instance: Some(self.source.host.clone().unwrap_or_default()),
            ..Event::default()
        }
    }
}
