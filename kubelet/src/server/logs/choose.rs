//! Which container's log is meant: the present one's or the one's before it, going by the
//! pod's status, and the words when there is none. Pure. Upstream counterpart: the
//! kubelet's `validateContainerLogStatus`.

use http::StatusCode;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::super::Refusal;
use crate::pod_spec;

/// The runtime's id of the container whose log is meant.
pub(super) fn choose(pod: &Pod, container: &str, previous: bool) -> Result<String, Refusal> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    if !has_container(pod, container) {
        let words = format!("container {container:?} not found in pod {name:?}\n");
        return Err(Refusal::new(StatusCode::NOT_FOUND, words));
    }
    let refusal = |words: String| Refusal::new(StatusCode::BAD_REQUEST, words);
    let Some(status) = status_of(pod, container) else {
        return Err(refusal(format!("container {container:?} in pod {name:?} is not available")));
    };
    let id_of = |ended: Option<&ContainerStateTerminated>| {
        ended.and_then(|ended| ended.container_id.clone()).filter(|id| !id.is_empty())
    };
    let last = id_of(status.last_state.as_ref().and_then(|state| state.terminated.as_ref()));
    if previous {
        return last.map(bare).ok_or_else(|| {
            refusal(format!("previous terminated container {container:?} in pod {name:?} not found"))
        });
    }
    let state = status.state.clone().unwrap_or_default();
    let present = if state.running.is_some() {
        status.container_id.clone().filter(|id| !id.is_empty())
    } else {
        id_of(state.terminated.as_ref()).or(last)
    };
    present.map(bare).ok_or_else(|| {
        let waiting = state.waiting.and_then(|waiting| waiting.reason).unwrap_or_default();
        let why = match waiting.as_str() {
            "" => " - no logs yet",
            "ErrImagePull" => ": image can't be pulled",
            "ImagePullBackOff" => ": trying and failing to pull image",
            reason => &format!(": {reason}"),
        };
        refusal(format!("container {container:?} in pod {name:?} is waiting to start{why}"))
    })
}

/// Whether the pod's spec has a container of that name, of whichever sort.
pub(in super::super) fn has_container(pod: &Pod, container: &str) -> bool {
    pod_spec::container(pod, container).is_some()
}

/// Whether the container of that name was started with a terminal.
pub(in super::super) fn has_terminal(pod: &Pod, container: &str) -> bool {
    pod_spec::container(pod, container).is_some_and(|(container, _)| container.tty == Some(true))
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == container)
}

/// The id without the runtime's name before it.
fn bare(id: String) -> String {
    id.split_once("://").map_or(id.clone(), |(_, id)| id.to_owned())
}

#[cfg(test)]
mod tests;
