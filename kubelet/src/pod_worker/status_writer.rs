//! Writes the status of one pod, always the newest: while a write is under way, newer ones replace each
//! other. It is the only writer of the pod's status on this node.
//! Corresponds to upstream's `status.Manager`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use machinery::backoff::Backoff;
use machinery::cache::revision_of;
use tokio::sync::watch;

use crate::kubelet::Kubelet;
use crate::pod_spec;
use crate::pod_status::patch;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the writer is asked for and how far it is.
#[derive(Debug, Clone, Default)]
struct Progress {
    written: u64,
    /// The pod's revision after the last write.
    revision: u64,
}

/// A status to be written.
#[derive(Debug, Clone)]
struct Wish {
    status: PodStatus,
    /// What the API holds instead, when somebody else wrote over ours.
    over: Option<PodStatus>,
}

/// The status of one pod on its way to the API.
pub(super) struct StatusWriter {
    uid: String,
    wanted: watch::Sender<(u64, Option<Wish>)>,
    progress: watch::Receiver<Progress>,
}

impl StatusWriter {
    /// Starts to write for a pod whose status in the API is `known`.
    pub(super) fn start(kubelet: &Arc<Kubelet>, pod: &Pod, known: PodStatus) -> Self {
        let (wanted, wishes) = watch::channel((0, None));
        let (report, progress) = watch::channel(Progress::default());
        let api = Api::namespaced(kubelet.client.clone(), pod_spec::namespace(pod));
        let (name, uid) = (pod_spec::name(pod).to_owned(), pod_spec::uid(pod).to_owned());
        let (of, stop) = (uid.clone(), kubelet.tasks.token());
        kubelet.tasks.spawn_scoped("pod status", async move {
            stop.run_until_cancelled(write_newest(api, name, uid, known, wishes, report)).await;
        });
        Self { uid: of, wanted, progress }
    }

    /// Whether it writes for this one.
    pub(super) fn is_for(&self, pod: &Pod) -> bool {
        pod_spec::uid(pod) == self.uid
    }

    /// Asks for a status.
    pub(super) fn write(&self, status: PodStatus) {
        self.wish(Wish { status, over: None });
    }

    /// Asks for a status again where the API holds `present` instead, because somebody else wrote over it.
    pub(super) fn write_over(&self, status: PodStatus, present: PodStatus) {
        self.wish(Wish { status, over: Some(present) });
    }

    fn wish(&self, wish: Wish) {
        self.wanted.send_modify(|(count, wanted)| {
            *count += 1;
            *wanted = Some(wish);
        });
    }

    /// Whether all that was asked for is written, and `pod` is not older than that.
    pub(super) fn settled(&self, pod: &Pod) -> bool {
        let progress = self.progress.borrow();
        progress.written == self.wanted.borrow().0
            && revision_of(pod).is_some_and(|now| now >= progress.revision)
    }

    /// Waits until what was asked for last is written, or the pod is gone.
    pub(super) async fn flush(&mut self) {
        let asked = self.wanted.borrow().0;
        // An error means that the writer has ended, because the pod is gone or the process stops.
        let _ended = self.progress.wait_for(|progress| progress.written >= asked).await;
    }
}

async fn write_newest(
    api: Api<Pod>,
    name: String,
    uid: String,
    mut known: PodStatus,
    mut wishes: watch::Receiver<(u64, Option<Wish>)>,
    report: watch::Sender<Progress>,
) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    while wishes.changed().await.is_ok() {
        loop {
            let (count, wanted) = wishes.borrow_and_update().clone();
            let Some(Wish { status: wanted, over }) = wanted else { break };
            known = over.unwrap_or(known);
            let Some(patch) = patch::between(&uid, &known, &wanted) else {
                report.send_modify(|progress| progress.written = count);
                break;
            };
            match api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
                Ok(pod) => {
                    known = wanted;
                    backoff.reset();
                    let revision = revision_of(&pod).unwrap_or_default();
                    report.send_replace(Progress { written: count, revision });
                    break;
                }
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {
                    tracing::debug!(
                        pod = name,
                        uid,
                        answer = answer.message,
                        "The pod is gone, its status too"
                    );
                    return;
                }
                Err(error) => {
                    tracing::warn!(pod = name, %error, "Cannot write the pod's status yet");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }
}
