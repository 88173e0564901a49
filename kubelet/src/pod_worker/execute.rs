//! Carries out the steps of a plan. A step that fails says when to try again; the plan after it looks at
//! what became of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::{Message, message, pod::Qos};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use machinery::beneath::{self, Below, Handle};
use machinery::events::EventType::{Normal, Warning};

use tokio_util::sync::CancellationToken;

use super::{PAUSE, Subject, Worker, hooks};
use crate::cri::CriError;
use crate::dns;
use crate::log_rotation;
use crate::plan::life::{self, Life};
use crate::plan::{Hold, NO_SANDBOX, SANDBOX_CHANGED, Step, Stop, Waiting};
use crate::pod_spec::{self, Role};
use crate::runtime_config::{names, resources, sandbox};
use crate::runtime_state::PodView;
use crate::security::{self, Refusal};
use crate::volumes::VolumeError;

impl Worker {
    /// Carries out steps in order; on failure answers when to try again.
    pub(super) async fn carry_out(
        &mut self,
        pod: &Arc<Pod>,
        view: &PodView,
        steps: &[Step],
    ) -> Result<(), Timestamp> {
        let (mut retry, mut progressed): (Option<Timestamp>, _) = (None, false);
        for step in steps {
            if let Step::MakeSandbox { .. } = step {
                self.volumes.forget();
            }
            if let Step::MakeSandbox { .. } | Step::Start { .. } = step {
                self.keep_volumes(pod).await?;
                if self.asked_to_end().is_some() {
                    return Ok(());
                }
            }
            let (done, goes_on) = match step {
                Step::MakeSandbox { attempt } => (self.make_sandbox(pod, *attempt).await, false),
                Step::Start { name, role, attempt, after_end } => {
                    let started = self.start(pod, view, name, *role, *attempt, *after_end).await;
                    (started, matches!(role, Role::Main | Role::Ephemeral))
                }
                Step::Stop(stops) => (self.stop(pod, stops).await, false),
                Step::StopSandbox { id } => (self.asked(self.kubelet.runtime.stop_sandbox(id).await), false),
                Step::RemoveContainer { id } => {
                    let removed = self.asked(self.kubelet.runtime.remove_container(id).await);
                    self.remove_log(view, id).await;
                    (removed, true)
                }
                Step::RemoveSandbox { id } => {
                    (self.asked(self.kubelet.runtime.remove_sandbox(id).await), true)
                }
                Step::TellEnd => {
                    self.reporter.flush().await;
                    (Ok(()), false)
                }
                Step::Sweep => {
                    self.sweep().await;
                    (Ok(()), false)
                }
                Step::Release => (self.release().await, false),
                Step::RemoveFiles => (self.remove_files().await, false),
            };
            match done {
                Ok(()) => progressed = true,
                Err(until) if goes_on => retry = Some(retry.map_or(until, |other| other.min(until))),
                Err(until) => return Err(until),
            }
        }
        // What was done may make room for more; the next look tells.
        match retry {
            Some(until) if !progressed => Err(until),
            _ => Ok(()),
        }
    }

    /// What the runtime answered; that something is not there any more is as good as done.
    fn asked(&self, answer: crate::cri::CriResult<()>) -> Result<(), Timestamp> {
        match answer {
            Err(error) if !error.not_found() => {
                tracing::warn!(pod = self.subject.name, %error, "The runtime refused a step");
                Err(self.now() + PAUSE)
            }
            _ => Ok(()),
        }
    }

    /// The seconds that the pod has to end in, if it is to end by now.
    fn asked_to_end(&self) -> Option<i64> {
        life::grace(self.current().as_deref(), Some(&self.known))
    }

    /// Runs until done or until the pod is to end.
    pub(super) async fn unless_unwanted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        let mut woken = false;
        let done = loop {
            if self.asked_to_end().is_some() {
                break None;
            }
            tokio::select! {
                done = &mut work => break Some(done),
                () = self.wake.notified() => woken = true,
            }
        };
        // The change that it was woken for may be about more than the pod's end.
        if woken {
            self.wake.notify_one();
        }
        done
    }

    async fn remove_log(&self, view: &PodView, id: &str) {
        let Some(path) = view.by_id(id).map(|c| c.log_path.as_str()).filter(|path| !path.is_empty()) else {
            return;
        };
        let removed = match Below::new(&self.kubelet.places.logs, Path::new(path)) {
            Ok(log) => beneath::blocking(move || log_rotation::remove(&log)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(path, %error, "Cannot remove the log of a container");
        }
    }

    async fn make_sandbox(&mut self, pod: &Arc<Pod>, attempt: u32) -> Result<(), Timestamp> {
        if attempt > 0 {
            self.kubelet.notes.pod(pod, Normal, "SandboxChanged", SANDBOX_CHANGED);
        }
        let handler = match self.allowed_handler(pod).await {
            Ok(handler) => handler,
            Err(refusal) => return Err(self.no_sandbox(pod, refusal.reason, refusal.message)),
        };
        let made = match self.prepare_node(pod).await {
            Ok(()) => self.run_sandbox(pod, attempt, &handler).await,
            Err(error) => Err(message!("cannot prepare the node: {error}")),
        };
        match made {
            Ok(()) => {
                self.retries.holds.remove(NO_SANDBOX);
                self.retries.sandbox.reset();
                Ok(())
            }
            Err(error) => {
                let refusal = no_sandbox(&error);
                Err(self.no_sandbox(pod, refusal.reason, refusal.message))
            }
        }
    }

    /// Tells why there is no sandbox, by an event and in the pod's status, and when there is another try.
    fn no_sandbox(&mut self, pod: &Pod, reason: &str, message: String) -> Timestamp {
        self.kubelet.notes.pod(pod, Warning, reason, message.clone());
        self.hold_sandbox(message)
    }

    /// Holds the next try back, longer each time. What the containers wait for is shown with each of them.
    fn hold_sandbox(&mut self, message: String) -> Timestamp {
        let until = self.now() + self.retries.sandbox.pause();
        self.retries.holds.insert(
            NO_SANDBOX.to_owned(),
            Hold { waiting: Waiting { reason: String::new(), message }, until, hash: String::new() },
        );
        until
    }

    /// The runtime's handler for a pod, if the node enforces what the pod says.
    async fn allowed_handler(&self, pod: &Pod) -> Result<String, Refusal> {
        let handler = self.runtime_handler(pod).await.map_err(|error| no_sandbox(&error))?;
        let abilities = self.kubelet.abilities(pod, &handler).await;
        security::sandbox(pod, &abilities.map_err(|error| no_sandbox(&error.rpc()))?)?;
        Ok(handler)
    }

    /// The pod's cgroup and log folder.
    async fn prepare_node(&self, pod: &Pod) -> std::io::Result<()> {
        let kubelet = Arc::clone(&self.kubelet);
        let path = names::cgroup(&kubelet.places.cgroup_root, Qos::of(pod), pod_spec::uid(pod));
        let limits = resources::of_pod(pod);
        let logs = names::log_dir(Path::new(""), pod);
        beneath::blocking(move || {
            kubelet.cgroups.create(&path)?;
            kubelet.cgroups.limit(&path, &limits)?;
            if let Some(most) = kubelet.pod_processes {
                kubelet.cgroups.bound_processes(&path, most)?;
            }
            Handle::open(&kubelet.places.logs)?.make_dirs(logs, 0o755).map(drop)
        })
        .await
    }

    pub(super) fn sandbox_config(
        &self,
        pod: &Pod,
        attempt: u32,
    ) -> Result<proto::cri::PodSandboxConfig, Message> {
        let places = &self.kubelet.places;
        let mut resolver = dns::for_pod(pod, &places.node_dns(), &places.cluster_dns, &places.cluster_domain);
        for told in dns::fit(&mut resolver) {
            self.kubelet.notes.pod(pod, Warning, "DNSConfigForming", told);
        }
        let around = sandbox::Around {
            log_root: &places.logs,
            cgroup_root: &places.cgroup_root,
            dns: &resolver,
            cluster_domain: &places.cluster_domain,
        };
        sandbox::config(pod, attempt, &around)
    }

    async fn run_sandbox(&self, pod: &Pod, attempt: u32, handler: &str) -> Result<(), Message> {
        let config = self.sandbox_config(pod, attempt)?;
        self.kubelet
            .runtime
            .run_sandbox(config, handler)
            .await
            .map(drop)
            .map_err(|error| error.rpc())
            .map_err(Message::from)
    }

    /// What the pod's RuntimeClass calls its handler in the runtime; the default one has no name.
    pub(super) async fn runtime_handler(&self, pod: &Pod) -> Result<String, Message> {
        let class = pod_spec::spec(pod).runtime_class_name.as_deref().filter(|name| !name.is_empty());
        let Some(name) = class else { return Ok(String::new()) };
        let classes: Api<RuntimeClass> = Api::all(self.kubelet.client.clone());
        match classes.get_opt(name).await {
            Ok(Some(class)) => Ok(class.handler),
            Ok(None) => Err(message!("runtimeclasses.node.k8s.io {name:?} not found")),
            Err(error) => Err(message!("failed to lookup RuntimeClass {name}: {error}")),
        }
    }

    /// Stops containers: their hooks at once, the signal when it is their turn, then the kill.
    async fn stop(&mut self, pod: &Arc<Pod>, stops: &[Stop]) -> Result<(), Timestamp> {
        for stop in stops {
            if let Some((container, role)) = pod_spec::container(pod, &stop.name) {
                self.kubelet.notes.container(pod, &container, role, Normal, "Killing", stop.message.clone());
            }
        }
        let ended = stops.iter().map(|stop| (stop.id.as_str(), CancellationToken::new()));
        let (kubelet, ended) = (&self.kubelet, &ended.collect::<BTreeMap<_, _>>());
        let all = join_all(stops.iter().map(|stop| async move {
            let grace = Duration::from_secs(u64::try_from(stop.grace).unwrap_or(0));
            let over = kubelet.clock.instant() + grace;
            if let Some((container, role)) = pod_spec::container(pod, &stop.name)
                && !grace.is_zero()
            {
                hooks::before_stop(kubelet, pod, &container, role, &stop.id, grace).await;
            }
            let before = stop.after.iter().filter_map(|id| ended.get(id.as_str()));
            tokio::select! {
                _ = join_all(before.map(CancellationToken::cancelled)) => {}
                () = kubelet.clock.sleep_until(over) => {}
            }
            let left = hooks::left(&kubelet.clock, grace, over);
            let answer = kubelet.runtime.stop_container(&stop.id, left).await;
            if answer.as_ref().err().is_none_or(CriError::not_found) {
                ended[stop.id.as_str()].cancel();
            }
            answer
        }));
        // A deletion may leave less time than that; the stop is then asked for again.
        let longest = stops.iter().map(|stop| stop.grace).max().unwrap_or(0);
        let hurried = async {
            while self.asked_to_end().is_none_or(|grace| grace.max(1) >= longest) {
                self.wake.notified().await;
            }
        };
        let answers = tokio::select! {
            answers = all => answers,
            () = hurried => return Ok(()),
        };
        answers.into_iter().try_for_each(|answer| self.asked(answer))
    }

    /// Frees the pod's room on the node. Nothing of it runs any more.
    async fn sweep(&mut self) {
        self.kubelet.admission.release(&self.subject.uid);
        self.kubelet.evictions.lock().remove(&self.subject.uid);
        self.kubelet.images.forget(&self.subject.uid);
        self.kubelet.objects.forget(&self.subject.uid);
        for qos in Qos::ALL {
            let kubelet = Arc::clone(&self.kubelet);
            let path = names::cgroup(&kubelet.places.cgroup_root, qos, &self.subject.uid);
            let gone = path.clone();
            if let Err(error) = beneath::blocking(move || kubelet.cgroups.remove(&gone)).await {
                tracing::info!(path, %error, "A pod's cgroup stays until the next cleaning");
            }
        }
        if let Life::Finished { swept, .. } = &mut self.life {
            *swept = true;
        }
    }

    /// Lets the API forget the pod.
    async fn release(&mut self) -> Result<(), Timestamp> {
        if self.current().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some()) {
            let api: Api<Pod> = Api::namespaced(self.kubelet.client.clone(), &self.subject.namespace);
            let uid = Some(self.subject.uid.clone());
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid, resource_version: None }),
                ..DeleteParams::default()
            };
            match api.delete(&self.subject.name, &params).await {
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
                Err(error) => {
                    tracing::warn!(pod = self.subject.name, %error, "Cannot delete the pod yet");
                    return Err(self.now() + PAUSE);
                }
                Ok(_) => {}
            }
        }
        if let Life::Ending { released, .. } = &mut self.life {
            *released = true;
        }
        Ok(())
    }

    async fn remove_files(&mut self) -> Result<(), Timestamp> {
        let Subject { namespace, name, uid } = &self.subject;
        let logs = format!("{namespace}_{name}_{uid}");
        let removed = async {
            self.kubelet.volumes.remove(uid).await?;
            Ok::<_, VolumeError>(log_rotation::remove_folder(&self.kubelet.places.logs, logs).await?)
        };
        if let Err(error) = removed.await {
            tracing::warn!(pod = name, %error, "Cannot remove what is left of a pod");
            return Err(self.volumes.stay(self.now()));
        }
        if let Life::Ending { cleared, .. } = &mut self.life {
            *cleared = true;
        }
        Ok(())
    }
}

fn no_sandbox(error: &str) -> Refusal {
    Refusal { reason: "FailedCreatePodSandBox", message: format!("Failed to create pod sandbox: {error}") }
}
