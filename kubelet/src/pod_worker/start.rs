//! Starts one container: image, environment, mounts, creation, start, hook.

use api::{Message, message};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use machinery::events::EventType::{Normal, Warning};
use proto::cri::Image;

use super::{Worker, hooks};
use crate::backoff::Backoff;
use crate::node_status::machine;
use crate::plan::{Hold, Waiting};
use crate::pod_spec::{self, Role};
use crate::runtime_config::{container, env};
use crate::runtime_state::{PodView, State};
use crate::security;

/// When to look again for what a container's configuration lacks.
const CONFIG_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// For how long a refusal to run is shown before the back-off is.
const REFUSAL_SHOWN: SignedDuration = SignedDuration::from_secs(2);

/// Why a container was not started, and when to try again.
struct Failed {
    reason: &'static str,
    message: String,
    again: SignedDuration,
}

impl Worker {
    /// Starts a container; on failure notes why and answers when to try again.
    pub(super) async fn start(
        &mut self,
        pod: &Arc<Pod>,
        view: &PodView,
        name: &str,
        role: Role,
        attempt: u32,
        after_end: Option<Timestamp>,
    ) -> Result<(), Timestamp> {
        let Some((container, _)) = pod_spec::container(pod, name) else { return Ok(()) };
        let hash = pod_spec::container_hash(&container);
        let kubelet = Arc::clone(&self.kubelet);
        let image = kubelet.images.ensure(pod, &container, role, &kubelet.notes);
        let image = match self.unless_unwanted(image).await {
            None => return Ok(()),
            Some(Ok(image)) => image,
            Some(Err(hold)) => {
                let told = self.retries.holds.get(name).is_some_and(|old| old.waiting == hold.waiting);
                if !told {
                    let message = format!("Error: {}", hold.waiting.reason);
                    kubelet.notes.container(pod, &container, role, Warning, "Failed", message);
                }
                let until = hold.until;
                self.retries.holds.insert(name.to_owned(), Hold { hash, ..hold });
                return Err(until);
            }
        };
        // The one before it may have ended for another size.
        if attempt > 0
            && let Err(error) = self.limit(pod).await
        {
            tracing::warn!(pod = pod_spec::described(pod), %error, "Cannot limit the pod");
        }
        let made = self.create_and_start(pod, view, &container, role, attempt, &image).await;
        if let Some(ended) = after_end {
            let backoff = Backoff::after(self.retries.backoffs.get(name).copied(), ended, self.now());
            self.retries.backoffs.insert(name.to_owned(), backoff);
        }
        match made {
            Ok(id) => {
                self.retries.holds.remove(name);
                self.after_start(pod, &container, role, &id).await;
                Ok(())
            }
            Err(failed) => {
                let message = format!("Error: {}", failed.message);
                kubelet.notes.container(pod, &container, role, Warning, "Failed", message);
                let waiting = Waiting { reason: failed.reason.to_owned(), message: failed.message };
                let until = self.now() + failed.again;
                self.retries.holds.insert(name.to_owned(), Hold { waiting, until, hash });
                // A container that was made and could not be started has ended: the next plan is about that.
                if failed.reason == "RunContainerError" { Ok(()) } else { Err(until) }
            }
        }
    }

    async fn create_and_start(
        &mut self,
        pod: &Arc<Pod>,
        view: &PodView,
        container: &Container,
        role: Role,
        attempt: u32,
        image: &Image,
    ) -> Result<String, Failed> {
        let kubelet = Arc::clone(&self.kubelet);
        let config_error = |why: Message| Failed {
            reason: "CreateContainerConfigError",
            message: why.into(),
            again: CONFIG_AGAIN,
        };
        let sandbox = view.ready_sandbox().ok_or_else(|| Failed {
            reason: "CreateContainerError",
            message: "the pod's sandbox is gone".to_owned(),
            again: SignedDuration::ZERO,
        })?;
        let handler = self.runtime_handler(pod).await.map_err(config_error)?;
        let abilities =
            kubelet.abilities(pod, &handler).await.map_err(|error| config_error(error.rpc().into()))?;
        security::container(pod, container, &abilities).map_err(config_error)?;
        let pod_ips = self.pod_ips(pod, view);
        let node = kubelet.node_facts();
        let services: Vec<_> = kubelet.services.list();
        let services = env::services(pod, services.iter().map(AsRef::as_ref));
        let objects = self.env_objects(pod, container).await.map_err(config_error)?;
        let input =
            env::Input { pod, pod_ips: &pod_ips, node: &node, services: &services, objects: &objects };
        let env = env::variables(container, &input).map_err(config_error)?;
        let recursive = abilities.recursive_read_only;
        let mounts =
            self.mounts(pod, container, attempt, &env, recursive, &pod_ips).await.map_err(config_error)?;
        let target = target(pod, view, &container.name).map_err(config_error)?;
        let user = image.uid.as_ref().map(|uid| uid.value);
        let unnamed = user.is_none() && image.username.is_empty();
        let prepared = container::Prepared {
            env,
            mounts,
            image: image.id.clone(),
            image_user: if unnamed { Some(0) } else { user },
            image_username: &image.username,
            node_memory: kubelet.memory,
            huge_page_sizes: &machine::huge_page_sizes(Path::new(machine::HUGE_PAGES)),
            target,
            seccomp_profiles: &kubelet.places.root.join("seccomp"),
        };
        let config = container::config(pod, container, role, attempt, prepared).map_err(config_error)?;

        let sandbox_config = self.sandbox_config(pod, sandbox.attempt).map_err(config_error)?;
        let made = kubelet.runtime.create_container(&sandbox.id, config.clone(), sandbox_config).await;
        let id = made.map_err(|error| Failed {
            reason: "CreateContainerError",
            message: error.message,
            again: CONFIG_AGAIN,
        })?;
        self.sizes.made(&id, &config);
        kubelet.notes.container(pod, container, role, Normal, "Created", "Container created");
        kubelet.runtime.start_container(&id).await.map_err(|error| Failed {
            reason: "RunContainerError",
            message: error.message,
            again: REFUSAL_SHOWN,
        })?;
        kubelet.notes.container(pod, container, role, Normal, "Started", "Container started");
        Ok(id)
    }

    /// What the container's environment draws on.
    async fn env_objects(&self, pod: &Pod, container: &Container) -> Result<env::Objects, Message> {
        let (maps, secrets) = env::references(container);
        let mut objects = env::Objects::default();
        for name in maps {
            let found = self.kubelet.objects.config_map(pod_spec::namespace(pod), name, Duration::ZERO).await;
            if let Some(map) = found.map_err(Message::of)? {
                objects.config_maps.insert(name.to_owned(), map.data.clone().unwrap_or_default());
            }
        }
        for name in secrets {
            let found = self.kubelet.objects.secret(pod_spec::namespace(pod), name, Duration::ZERO).await;
            if let Some(secret) = found.map_err(Message::of)? {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(&value.0)));
                objects.secrets.insert(name.to_owned(), data.collect());
            }
        }
        objects.files = self.env_files(container).await?;
        Ok(objects)
    }

    /// Runs the hook that follows the start; a container whose hook fails is stopped.
    async fn after_start(&mut self, pod: &Arc<Pod>, container: &Container, role: Role, id: &str) {
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) else { return };
        let kubelet = Arc::clone(&self.kubelet);
        let pod_ips = match self.observer.look(&kubelet.runtime, pod_spec::uid(pod)).await {
            Ok(view) if view.by_id(id).is_some_and(|c| c.state == State::Running) => self.pod_ips(pod, &view),
            _ => return,
        };
        let hooked = hooks::run(&kubelet, pod, container, hook, id, &pod_ips, hooks::LONGEST);
        // A pod that is to end does not wait for the hook; its stop ends the container.
        if let Some(Err(error)) = self.unless_unwanted(hooked).await {
            tracing::info!(
                pod = pod_spec::described(pod),
                container = container.name,
                %error,
                "postStart hook failed"
            );
            kubelet.notes.container(
                pod,
                container,
                role,
                Warning,
                "FailedPostStartHook",
                "PostStartHook failed",
            );
            kubelet.notes.container(pod, container, role, Normal, "Killing", "FailedPostStartHook");
            let grace = u64::try_from(pod_spec::spec(pod).termination_grace_period_seconds.unwrap_or(30));
            let grace = Duration::from_secs(grace.unwrap_or(0));
            let over = kubelet.clock.instant() + grace;
            if !grace.is_zero() {
                hooks::before_stop(&kubelet, pod, container, role, id, grace).await;
            }
            let left = hooks::left(&kubelet.clock, grace, over);
            if let Err(error) = kubelet.runtime.stop_container(id, left).await {
                tracing::warn!(pod = pod_spec::described(pod), %error, "Cannot stop a container after its hook failed");
            }
        }
    }
}

/// The id of the container that an ephemeral one is to look into.
fn target(pod: &Pod, view: &PodView, name: &str) -> Result<Option<String>, Message> {
    let ephemeral = pod_spec::ephemeral_containers(pod).iter().find(|c| c.name == name);
    let wanted = ephemeral.and_then(|c| c.target_container_name.as_deref()).filter(|name| !name.is_empty());
    let Some(wanted) = wanted else { return Ok(None) };
    let running = view.running().find(|c| c.name == wanted);
    running.map(|c| Some(c.id.clone())).ok_or_else(|| message!("unable to find target container {wanted:?}"))
}
