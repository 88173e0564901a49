//! Writes the status of one pod, always the newest: while a write is under way, newer ones replace each
//! other. It is the only writer of the pod's status on this node.
//! Corresponds to upstream's `status.Manager`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::Api;
use kube::api::{Patch, PatchParams};
use tokio::sync::watch;

use crate::host::Host;
use crate::status::patch;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the writer is asked for and how far it is.
#[derive(Debug, Clone, Default)]
struct Progress {
    written: u64,
}

/// The status of one pod on its way to the API.
pub(super) struct StatusWriter {
    wanted: watch::Sender<(u64, Option<PodStatus>)>,
    progress: watch::Receiver<Progress>,
}

impl StatusWriter {
    /// Starts to write for a pod whose status in the API is `known`.
    pub(super) fn start(host: &Arc<Host>, namespace: &str, name: &str, uid: &str, known: PodStatus) -> Self {
        let (wanted, wishes) = watch::channel((0, None));
        let (report, progress) = watch::channel(Progress::default());
        let api = Api::namespaced(host.client.clone(), namespace);
        let (name, uid, stop) = (name.to_owned(), uid.to_owned(), host.tasks.token());
        host.tasks.spawn_scoped("pod status", async move {
            stop.run_until_cancelled(write_newest(api, name, uid, known, wishes, report)).await;
        });
        Self { wanted, progress }
    }

    /// Asks for a status.
    pub(super) fn write(&self, status: PodStatus) {
        self.wanted.send_modify(|(count, wanted)| {
            *count += 1;
            *wanted = Some(status);
        });
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
    mut wishes: watch::Receiver<(u64, Option<PodStatus>)>,
    report: watch::Sender<Progress>,
) {
    let mut pause = FIRST_PAUSE;
    while wishes.changed().await.is_ok() {
        loop {
            let (count, wanted) = wishes.borrow_and_update().clone();
            let Some(wanted) = wanted else { break };
            let Some(patch) = patch::between(&uid, &known, &wanted) else {
                report.send_modify(|progress| progress.written = count);
                break;
            };
            match api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
                Ok(_) => {
                    known = wanted;
                    pause = FIRST_PAUSE;
                    report.send_modify(|progress| progress.written = count);
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
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}
