//! The pods of this node: a worker for each, also for what is left of pods that the API has forgotten.
//!
//! Nothing is done for leftovers before the pods of the API are known: what looks like a leftover may be a
//! running pod. Corresponds to upstream's `pod_workers.go` and `kubelet_pods.go` (`HandlePodCleanups`).

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use api::pod::Qos;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use machinery::beneath;
use machinery::tasks;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cri::CriResult;
use crate::kubelet::Kubelet;
use crate::labels;
use crate::log_rotation;
use crate::pod_spec;
use crate::pod_worker::{Subject, Worker};

/// How long a pod waits for another worker after one panicked over it.
const AFTER_PANIC: Duration = Duration::from_secs(10);

/// The workers, by pod uid.
pub struct PodWorkers {
    kubelet: Arc<Kubelet>,
    workers: Mutex<HashMap<String, Arc<Notify>>>,
}

impl PodWorkers {
    /// Starts a worker for every pod of the API, now and as they come, and clears what is left of others.
    ///
    /// # Errors
    /// When the runtime cannot be asked what is left.
    pub async fn start(kubelet: Arc<Kubelet>) -> CriResult<Arc<Self>> {
        kubelet.pods.wait_synced().await;
        let this = Arc::new(Self { kubelet, workers: Mutex::default() });
        this.adopt_leftovers().await?;
        let manager = Arc::clone(&this);
        this.kubelet.pods.on_change(move |change| {
            let pod = change.latest();
            let gone = change.new.is_none();
            // A pod replaced by another of the same name is gone, too.
            if let Some(old) = change.old.as_ref().filter(|old| pod_spec::uid(old) != pod_spec::uid(pod)) {
                manager.wake(pod_spec::uid(old));
            }
            match gone {
                true => manager.wake(pod_spec::uid(pod)),
                false => manager.work(subject(pod)),
            }
        });
        Ok(this)
    }

    /// Wakes the worker of a pod, if it has one.
    fn wake(&self, uid: &str) {
        if let Some(wake) = self.workers.lock().get(uid) {
            wake.notify_one();
        }
    }

    /// Wakes the worker of a pod, or starts one.
    fn work(self: &Arc<Self>, subject: Subject) {
        let mut workers = self.workers.lock();
        if let Some(wake) = workers.get(&subject.uid) {
            return wake.notify_one();
        }
        let wake = Arc::new(Notify::new());
        workers.insert(subject.uid.clone(), Arc::clone(&wake));
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
            // It may have been ending while its pod was asked for again.
            let present = this.kubelet.pods.get(Some(&subject.namespace), &subject.name);
            let wanted = panicked || present.is_some_and(|p| pod_spec::uid(&p) == subject.uid);
            if wanted && !stop.is_cancelled() {
                this.work(subject);
            }
        });
    }

    /// Starts workers for pods that are only left in the runtime, and removes what is left on disk and in
    /// cgroups of pods that nobody knows.
    async fn adopt_leftovers(self: &Arc<Self>) -> CriResult<()> {
        let mut known: HashSet<String> =
            self.kubelet.pods.list().iter().map(|p| pod_spec::uid(p).to_owned()).collect();
        for sandbox in self.kubelet.runtime.list_sandboxes(None).await? {
            let label = |name: &str| sandbox.labels.get(name).cloned().unwrap_or_default();
            let subject = Subject {
                namespace: label(labels::POD_NAMESPACE),
                name: label(labels::POD_NAME),
                uid: label(labels::POD_UID),
            };
            if subject.uid.is_empty() || known.contains(&subject.uid) {
                continue;
            }
            tracing::info!(pod = subject.name, uid = subject.uid, "Clearing what is left of a pod");
            known.insert(subject.uid.clone());
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

fn subject(pod: &Pod) -> Subject {
    Subject {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod_spec::uid(pod).to_owned(),
    }
}
