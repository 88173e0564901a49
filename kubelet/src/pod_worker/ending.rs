//! How a pod ends: by itself, by a deletion, or by having vanished from the API. In each case its containers
//! are stopped first, the API is told then, and nothing of it stays on the node.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::pod::Qos;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use machinery::beneath;

use super::{Next, PAUSE, Subject, Worker};
use crate::log_rotation;
use crate::plan::{self, Step};
use crate::pod_spec;
use crate::runtime_config::names;
use crate::runtime_state::PodView;
use crate::volumes::VolumeError;

/// Seconds to end in that a pod is left which vanished from the API.
pub(super) const GRACE_OF_VANISHED: i64 = 1;

impl Worker {
    /// The pod has run to its end, or the node ended it: nothing of it may run; its dead stay for their logs.
    pub(super) async fn finish(&mut self, pod: &Arc<Pod>, view: &PodView) -> Next {
        self.probes.stop();
        let grace = pod_spec::spec(pod).termination_grace_period_seconds.unwrap_or(30);
        let plan = plan::stop_steps(Some(pod), view, grace);
        if plan.done && !self.swept {
            self.kubelet.admission.release(&self.subject.uid);
            if let Err(until) = self.drop_volumes(pod).await {
                return Next::Wait(Some(until));
            }
        }
        self.show(pod, view, &BTreeMap::new(), plan.done);
        if !plan.done {
            return match self.carry_out(pod, view, &plan.steps).await {
                Ok(()) => Next::Again,
                Err(until) => Next::Wait(Some(until)),
            };
        }
        if !self.swept {
            self.swept = true;
            self.remove_cgroup().await;
        }
        Next::Wait(None)
    }

    /// The pod is being deleted: it gets its grace period; when nothing of it runs the API may forget it.
    pub(super) async fn terminate(&mut self, pod: &Arc<Pod>, view: &PodView) -> Next {
        let grace = self.grace_left(pod_spec::grace_period(pod));
        let plan = plan::stop_steps(Some(pod), view, grace);
        if !plan.done {
            self.probes.stop_liveness();
            self.probes.keep(pod, view);
            self.show(pod, view, &BTreeMap::new(), false);
            return match self.carry_out(pod, view, &plan.steps).await {
                Ok(()) => Next::Again,
                Err(until) => Next::Wait(Some(until)),
            };
        }
        self.probes.stop();
        if !self.deleted {
            // Whoever sees the pod gone may use its volumes.
            if let Err(until) = self.drop_volumes(pod).await {
                return Next::Wait(Some(until));
            }
            self.show(pod, view, &BTreeMap::new(), true);
            if let Some(writer) = &mut self.writer {
                writer.flush().await;
            }
            if let Err(error) = self.delete_from_api().await {
                tracing::warn!(pod = self.subject.name, %error, "Cannot delete the pod yet");
                return Next::Wait(Some(Timestamp::now() + PAUSE));
            }
            self.deleted = true;
        }
        self.clear(view).await
    }

    async fn delete_from_api(&self) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.kubelet.client.clone(), &self.subject.namespace);
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: Some(self.subject.uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(&self.subject.name, &params).await {
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The pod is gone from the API: nothing of it may stay here.
    pub(super) async fn leave(&mut self, view: &PodView) -> Next {
        self.probes.stop();
        self.writer = None;
        let grace = match self.stopping_since {
            Some(_) => {
                self.grace_left(self.known.as_deref().map_or(GRACE_OF_VANISHED, pod_spec::grace_period))
            }
            None => self.grace_left(GRACE_OF_VANISHED),
        };
        let known = self.known.clone();
        let plan = plan::stop_steps(known.as_deref(), view, grace);
        if !plan.done {
            let nobody = Arc::new(Pod::default());
            let pod = known.unwrap_or(nobody);
            return match self.carry_out(&pod, view, &plan.steps).await {
                Ok(()) => Next::Again,
                Err(until) => Next::Wait(Some(until)),
            };
        }
        if let next @ Next::Wait(Some(_)) = self.clear(view).await {
            return next;
        }
        match self.remove_files().await {
            Ok(()) => Next::End,
            Err(error) => {
                tracing::warn!(pod = self.subject.name, %error, "Cannot remove what is left of a pod");
                Next::Wait(Some(self.unmounting.failed()))
            }
        }
    }

    async fn remove_files(&self) -> Result<(), VolumeError> {
        let Subject { namespace, name, uid } = &self.subject;
        self.kubelet.volumes.remove(uid).await?;
        let logs = format!("{namespace}_{name}_{uid}");
        Ok(log_rotation::remove_folder(&self.kubelet.places.logs, logs).await?)
    }

    /// Forgets all of the pod in the runtime and in cgroups. Nothing of it runs any more.
    async fn clear(&mut self, view: &PodView) -> Next {
        self.mounts = None;
        self.kubelet.admission.release(&self.subject.uid);
        self.kubelet.images.forget(&self.subject.uid);
        self.kubelet.objects.forget(&self.subject.uid);
        let containers = view.containers.iter().map(|c| Step::RemoveContainer { id: c.id.clone() });
        let sandboxes = view.sandboxes.iter().map(|s| Step::RemoveSandbox { id: s.id.clone() });
        let steps: Vec<Step> = containers.chain(sandboxes).collect();
        let pod = self.known.clone().unwrap_or_default();
        if let Err(until) = self.carry_out(&pod, view, &steps).await {
            return Next::Wait(Some(until));
        }
        self.remove_cgroup().await;
        Next::Wait(None)
    }

    async fn remove_cgroup(&self) {
        for qos in Qos::ALL {
            let kubelet = Arc::clone(&self.kubelet);
            let path = names::cgroup(&kubelet.places.cgroup_root, qos, &self.subject.uid);
            let gone = path.clone();
            if let Err(error) = beneath::blocking(move || kubelet.cgroups.remove(&gone)).await {
                tracing::info!(path, %error, "A pod's cgroup stays until the next cleaning");
            }
        }
    }

    /// What is left of a grace period that began when the worker first saw the end of the pod.
    pub(super) fn grace_left(&mut self, grace: i64) -> i64 {
        let since = *self.stopping_since.get_or_insert_with(Timestamp::now);
        grace.saturating_sub(Timestamp::now().duration_since(since).as_secs().max(0)).max(0)
    }
}
