//! The pods of this node: a worker for each, also for what is left of pods that the API has forgotten.
//!
//! Nothing is done for leftovers before the pods of the API are known: what looks like a leftover may be a
//! running pod. Corresponds to upstream's `pod_workers.go` and `kubelet_pods.go` (`HandlePodCleanups`).

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api::pod::Qos;
use k8s_openapi::api::core::v1::Pod;
use machinery::beneath;
use machinery::tasks;
use parking_lot::Mutex;
use proto::cri::PodSandbox;
use tokio::sync::Notify;

use crate::cri::CriResult;
use crate::kubelet::Kubelet;
use crate::labels;
use crate::log_rotation;
use crate::pod_spec;
use crate::pod_worker::{Subject, Worker};
use crate::sources::{self, Folder, folder, mirrors};

/// How long a pod waits for another worker after one panicked over it.
const AFTER_PANIC: Duration = Duration::from_secs(10);

/// The workers, by pod uid.
pub struct PodWorkers {
    kubelet: Arc<Kubelet>,
    workers: Mutex<HashMap<String, (Subject, Arc<Notify>)>>,
    /// Something of static pods or their mirrors has changed.
    mirrors: Arc<Notify>,
    /// The folder could not be read yet: what was of it may be there still, and runs on.
    folder_unread: AtomicBool,
}

impl PodWorkers {
    /// No workers yet.
    pub fn new(kubelet: Arc<Kubelet>) -> Arc<Self> {
        Arc::new(Self {
            kubelet,
            workers: Mutex::default(),
            mirrors: Arc::default(),
            folder_unread: AtomicBool::new(false),
        })
    }

    /// Starts a worker for every pod of a folder, now and as they come, and ends what is left of others that once were
    /// there. Needs no API server.
    ///
    /// # Errors
    /// When the runtime cannot be asked what is left.
    pub async fn start_folder(self: &Arc<Self>, mut folder: Folder) -> CriResult<()> {
        self.folder_unread.store(true, Ordering::SeqCst);
        self.follow(folder.look().await).await?;
        let (this, clock, stop) = (Arc::clone(self), self.kubelet.clock.clone(), self.kubelet.tasks.token());
        self.kubelet.tasks.spawn("static pods", async move {
            loop {
                let looked = async {
                    clock.sleep_until(clock.instant() + folder::LOOK).await;
                    folder.look().await
                };
                let Some(looked) = stop.run_until_cancelled(looked).await else { return Ok(()) };
                if let Err(error) = this.follow(looked).await {
                    tracing::warn!(%error, "Cannot ask what is left of static pods yet");
                }
            }
        });
        Ok(())
    }

    /// Does as the folder says now.
    async fn follow(self: &Arc<Self>, looked: io::Result<Option<Vec<Arc<Pod>>>>) -> CriResult<()> {
        let Ok(pods) = looked else { return Ok(()) };
        let changed = pods.map(|pods| self.kubelet.pods.replace(pods)).unwrap_or_default();
        let first = self.folder_unread.load(Ordering::SeqCst);
        if first {
            let all = self.kubelet.runtime.list_sandboxes(None).await?;
            all.iter().filter(|one| is_of_folder(one)).for_each(|left| self.work(left_subject(&left.labels)));
            self.folder_unread.store(false, Ordering::SeqCst);
            self.kubelet.pods.of_folder().iter().for_each(|pod| self.work(sources::subject(pod)));
        }
        changed.iter().for_each(|changed| self.look(changed));
        if first || !changed.is_empty() {
            self.mirrors.notify_one();
        }
        Ok(())
    }

    /// Starts a worker for every pod of the API, now and as they come, and clears what is left of others.
    ///
    /// # Errors
    /// When the runtime cannot be asked what is left.
    pub async fn start_api(self: &Arc<Self>) -> CriResult<()> {
        self.kubelet.pods.api.wait_synced().await;
        self.adopt_leftovers().await?;
        let manager = Arc::clone(self);
        self.kubelet.pods.api.on_change(move |change| {
            let now = sources::subject(change.latest());
            // A pod replaced by another of the same name is gone, too.
            let old = change.old.as_ref().map(|old| sources::subject(old)).filter(|old| *old != now);
            old.iter().chain([&now]).for_each(|changed| manager.look(changed));
            if [&change.old, &change.new].into_iter().flatten().any(|pod| sources::mirrored(pod).is_some()) {
                manager.mirrors.notify_one();
            }
        });
        let (this, stop) = (Arc::clone(self), self.kubelet.tasks.token());
        self.kubelet.tasks.spawn("mirrors of static pods", async move {
            let runs = |uid: &str| {
                this.folder_unread.load(Ordering::SeqCst) || this.workers.lock().contains_key(uid)
            };
            let kept = mirrors::keep(Arc::clone(&this.kubelet), Arc::clone(&this.mirrors), runs);
            stop.run_until_cancelled(kept).await;
            Ok(())
        });
        Ok(())
    }

    /// Something of a pod has changed: its worker looks, and if it is there and has none it gets one.
    pub fn look(self: &Arc<Self>, changed: &Subject) {
        match self.kubelet.pods.of(changed) {
            Some(_) => self.work(changed.clone()),
            None => {
                if let Some((_, wake)) = self.workers.lock().get(&changed.uid) {
                    wake.notify_one();
                }
            }
        }
    }

    /// Wakes the worker of a pod, or starts one; a static pod waits for the end of the one before it.
    fn work(self: &Arc<Self>, subject: Subject) {
        let mut workers = self.workers.lock();
        if let Some((_, wake)) = workers.get(&subject.uid) {
            return wake.notify_one();
        }
        let same = |other: &Subject| other.name == subject.name && other.namespace == subject.namespace;
        if self.kubelet.pods.is_of_folder(&subject.uid) && workers.values().any(|(other, _)| same(other)) {
            return;
        }
        let wake = Arc::new(Notify::new());
        workers.insert(subject.uid.clone(), (subject.clone(), Arc::clone(&wake)));
        drop(workers);
        let this = Arc::clone(self);
        let worker = Worker::new(Arc::clone(&self.kubelet), subject.clone(), wake);
        self.kubelet.tasks.spawn_scoped("pod", async move {
            let stop = this.kubelet.tasks.token();
            let panicked = tasks::caught("pod", worker.run()).await.is_none();
            if panicked {
                // Its pod still needs somebody.
                stop.run_until_cancelled(tokio::time::sleep(AFTER_PANIC)).await;
            }
            this.workers.lock().remove(&subject.uid);
            this.mirrors.notify_one();
            if stop.is_cancelled() {
                return;
            }
            // It may have been ending while its pod, or the next of its name, was asked for.
            match this.kubelet.pods.get(&subject.namespace, &subject.name) {
                _ if panicked => this.work(subject),
                Some(present) => this.work(sources::subject(&present)),
                None => {}
            }
        });
    }

    /// Starts workers for pods that are only left in the runtime, and removes what is left on disk and in
    /// cgroups of pods that nobody knows.
    async fn adopt_leftovers(self: &Arc<Self>) -> CriResult<()> {
        let mut known: HashSet<String> = self.workers.lock().keys().cloned().collect();
        known.extend(self.kubelet.pods.list().iter().map(|pod| pod_spec::uid(pod).to_owned()));
        for sandbox in self.kubelet.runtime.list_sandboxes(None).await? {
            let subject = left_subject(&sandbox.labels);
            if subject.uid.is_empty() || known.contains(&subject.uid) {
                continue;
            }
            known.insert(subject.uid.clone());
            if is_of_folder(&sandbox) && self.folder_unread.load(Ordering::SeqCst) {
                continue;
            }
            tracing::info!(pod = subject.name, uid = subject.uid, "Clearing what is left of a pod");
            self.work(subject);
        }
        let left = listed("volumes", self.kubelet.volumes.kept().await);
        let left: Vec<Subject> = left.into_iter().filter(|left| !known.contains(&left.uid)).collect();
        self.remove_logs(&known).await;
        let this = Arc::clone(self);
        let removed = beneath::blocking(move || {
            this.remove_cgroups(&known);
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "Cannot remove the cgroups of forgotten pods");
        }
        for subject in left {
            tracing::info!(pod = subject.name, uid = subject.uid, "Clearing what is left of a pod's volumes");
            self.work(subject);
        }
        Ok(())
    }

    fn remove_cgroups(&self, known: &HashSet<String>) {
        let root = &self.kubelet.places.cgroup_root;
        for qos in Qos::ALL {
            let parent = crate::runtime_config::names::qos_cgroup(root, qos);
            for child in self.kubelet.cgroups.children(&parent) {
                let Some(uid) = child.strip_prefix("pod") else { continue };
                if !known.contains(uid)
                    && let Err(error) = self.kubelet.cgroups.remove(&format!("{parent}/{child}"))
                {
                    tracing::warn!(uid, %error, "Cannot remove the cgroup of a forgotten pod");
                }
            }
        }
    }

    async fn remove_logs(&self, known: &HashSet<String>) {
        let logs = self.kubelet.places.logs.clone();
        for name in listed("logs", beneath::blocking(move || beneath::names_in(&logs)).await) {
            // NAMESPACE_NAME_UID
            let Some(uid) = name.rsplit('_').next().filter(|_| name.matches('_').count() == 2) else {
                continue;
            };
            if !known.contains(uid)
                && let Err(error) = log_rotation::remove_folder(&self.kubelet.places.logs, name.clone()).await
            {
                tracing::warn!(uid, %error, "Cannot remove the logs of a forgotten pod");
            }
        }
    }
}

/// What was found of pods; nothing is cleared where it cannot be listed.
fn listed<T>(what: &str, found: io::Result<Vec<T>>) -> Vec<T> {
    found.unwrap_or_else(|error| {
        tracing::warn!(what, %error, "Cannot list what is left of forgotten pods");
        Vec::new()
    })
}

/// Whether a sandbox is of a static pod.
fn is_of_folder(sandbox: &PodSandbox) -> bool {
    sandbox.annotations.get(labels::CONFIG_SOURCE).is_some_and(|source| source == "file")
}

/// Which pod a sandbox is of.
fn left_subject(of_sandbox: &HashMap<String, String>) -> Subject {
    let label = |name: &str| of_sandbox.get(name).cloned().unwrap_or_default();
    Subject {
        namespace: label(labels::POD_NAMESPACE),
        name: label(labels::POD_NAME),
        uid: label(labels::POD_UID),
    }
}
