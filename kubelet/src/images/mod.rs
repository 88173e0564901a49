//! Images of containers: whether to pull, with whose credentials, and how long to wait after a failure.
//! One image is pulled by one container at a time. Corresponds to upstream's `pkg/kubelet/images`.

pub mod collect;
mod credentials;
pub mod reference;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Message, duration, message};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use machinery::events::EventType::{Normal, Warning};
use parking_lot::Mutex;
use proto::cri::Image;

use crate::backoff::Backoff;
use crate::cri::{CriResult, Runtime};
use crate::plan::{Hold, Waiting};
use crate::pod_spec::{self, Role};
use crate::pod_worker::Notes;
use crate::referenced_objects::Objects;

/// How long the first refusal is shown before the wait is.
const SHOWN: SignedDuration = SignedDuration::from_secs(1);
/// When to look again for an image that must already be there.
const NEVER_PULLED: SignedDuration = SignedDuration::from_secs(10);

/// A pull that failed.
#[derive(Debug, Clone)]
struct Failure {
    backoff: Backoff,
    at: Timestamp,
    message: String,
    shown: bool,
}

/// For how long a list of images holds when the kubelet itself changes nothing: others may load images, too.
const LIST_AGE: Duration = Duration::from_secs(60);

/// A list of images, and when it was asked for.
type Listed = (Instant, Arc<Vec<Image>>);

/// The images of the node.
pub struct Images {
    runtime: Arc<Runtime>,
    objects: Arc<Objects>,
    /// By pod and image: another pod may have better credentials.
    failures: Mutex<HashMap<(String, String), Failure>>,
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// The last list, as long as no pull has changed it.
    listed: Mutex<Option<Listed>>,
}

impl Images {
    /// The images that this runtime keeps.
    pub fn new(runtime: Arc<Runtime>, objects: Arc<Objects>) -> Self {
        Self {
            runtime,
            objects,
            failures: Mutex::default(),
            pulls: Mutex::default(),
            listed: Mutex::default(),
        }
    }

    /// All images on the node, asked for anew after a pull and once a minute.
    pub async fn list(&self) -> CriResult<Arc<Vec<Image>>> {
        if let Some((at, images)) = &*self.listed.lock()
            && at.elapsed() < LIST_AGE
        {
            return Ok(Arc::clone(images));
        }
        let asked = Instant::now();
        let images = Arc::new(self.runtime.list_images().await?);
        *self.listed.lock() = Some((asked, Arc::clone(&images)));
        Ok(images)
    }

    /// Forgets the failures of a pod.
    pub fn forget(&self, pod_uid: &str) {
        self.failures.lock().retain(|(uid, _), _| uid != pod_uid);
    }

    /// Makes sure that the image of a container is on the node.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        role: Role,
        notes: &Notes,
    ) -> Result<Image, Hold> {
        let asked = container.image.as_deref().unwrap_or_default();
        let now = machinery::clock::now();
        let name = reference::normalize(asked).map_err(|error| {
            let message = format!(
                "Failed to apply default image tag {asked:?}: couldn't parse image name {asked:?}: {error}"
            );
            notes.container(pod, container, role, Warning, "InspectFailed", message.clone());
            hold("InvalidImageName", message, now + NEVER_PULLED)
        })?;
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let present = self.present(&name).await.map_err(|error| {
            let message = format!("Failed to inspect image {asked:?}: {error}");
            notes.container(pod, container, role, Warning, "InspectFailed", message.clone());
            hold("ImageInspectError", message, now + NEVER_PULLED)
        })?;
        match (present, policy) {
            (None, "Never") => {
                let message = format!("Container image {asked:?} is not present with pull policy of Never");
                notes.container(pod, container, role, Warning, "ErrImageNeverPull", message.clone());
                Err(hold("ErrImageNeverPull", message, now + NEVER_PULLED))
            }
            (Some(image), "Never" | "IfNotPresent") => {
                let message = format!(
                    "Container image {asked:?} already present on machine and can be accessed by the pod"
                );
                notes.container(pod, container, role, Normal, "Pulled", message);
                Ok(image)
            }
            _ => self.pull(pod, container, role, &name, notes).await,
        }
    }

    /// Deletes an image.
    async fn remove(&self, id: &str) -> CriResult<()> {
        *self.listed.lock() = None;
        self.runtime.remove_image(id).await
    }

    async fn present(&self, name: &str) -> CriResult<Option<Image>> {
        self.runtime.image_status(name).await
    }

    async fn pull(
        &self,
        pod: &Pod,
        container: &Container,
        role: Role,
        name: &str,
        notes: &Notes,
    ) -> Result<Image, Hold> {
        let asked = container.image.as_deref().unwrap_or_default();
        let key = (pod_spec::uid(pod).to_owned(), name.to_owned());
        let now = machinery::clock::now();
        if let Some(failure) = self.failures.lock().get_mut(&key) {
            let due = failure.backoff.due(failure.at);
            if due > now {
                if !failure.shown {
                    failure.shown = true;
                    let message = format!("Back-off pulling image {asked:?}");
                    notes.container(pod, container, role, Normal, "BackOff", message);
                }
                let message = format!("Back-off pulling image {asked:?}: ErrImagePull: {}", failure.message);
                return Err(hold("ImagePullBackOff", message, due));
            }
        }
        notes.container(pod, container, role, Normal, "Pulling", format!("Pulling image {asked:?}"));
        let began = Instant::now();
        let turn = Arc::clone(self.pulls.lock().entry(name.to_owned()).or_default());
        let (pulled, took) = {
            let _turn = turn.lock().await;
            let own = Instant::now();
            let policy = container.image_pull_policy.as_deref();
            // Somebody else may have pulled it while this container waited for its turn.
            let there = match policy {
                Some("Always") => None,
                _ => self.present(name).await.ok().flatten(),
            };
            let pulled = match there {
                Some(image) => Ok(image),
                None => self.fetch(pod, name).await,
            };
            (pulled, own.elapsed())
        };
        self.pulls.lock().retain(|_, turn| Arc::strong_count(turn) > 1);
        match pulled {
            Ok(image) => {
                self.failures.lock().remove(&key);
                let message = format!(
                    "Successfully pulled image {asked:?} in {} ({} including waiting). Image size: {} bytes.",
                    duration::show(took),
                    duration::show(began.elapsed()),
                    image.size
                );
                notes.container(pod, container, role, Normal, "Pulled", message);
                Ok(image)
            }
            Err(message) => {
                let failed = machinery::clock::now();
                let before = self.failures.lock().remove(&key).map(|failure| failure.backoff);
                let backoff = Backoff::after(before, failed, failed);
                let failure = Failure { backoff, at: failed, message: message.clone().into(), shown: false };
                self.failures.lock().insert(key, failure);
                let text = format!("Failed to pull image {asked:?}: {message}");
                notes.container(pod, container, role, Warning, "Failed", text);
                Err(hold("ErrImagePull", message.into(), failed + SHOWN))
            }
        }
    }

    /// Pulls with each of the pod's credentials for that registry, or with none.
    async fn fetch(&self, pod: &Pod, name: &str) -> Result<Image, Message> {
        let mut credentials = credentials::of_pod(&self.objects, pod, name).await;
        let last = credentials.pop();
        for auth in credentials {
            match self.runtime.pull_image(name, Some(auth)).await {
                Ok(_) => return self.pulled(name).await,
                Err(error) => tracing::debug!(name, %error, "Trying the next credentials"),
            }
        }
        self.runtime.pull_image(name, last).await.map_err(|error| error.message)?;
        self.pulled(name).await
    }

    async fn pulled(&self, name: &str) -> Result<Image, Message> {
        *self.listed.lock() = None;
        let image = self.present(name).await.map_err(|error| error.message)?;
        image.ok_or_else(|| message!("image {name:?} is gone again"))
    }
}

fn hold(reason: &str, message: String, until: Timestamp) -> Hold {
    Hold { waiting: Waiting { reason: reason.to_owned(), message }, until, hash: String::new() }
}
