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
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chosen(state: Value, last: Value, previous: bool) -> Result<String, String> {
        let pod = json!({"metadata": {"name": "web"},
            "spec": {"containers": [{"name": "c"}, {"name": "new"}]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "containerID": "containerd://now", "state": state, "lastState": last}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        choose(&pod, "c", previous)
            .map_err(|refusal| format!("{} {}", refusal.status.as_u16(), refusal.words))
    }

    fn ended(id: &str) -> Value {
        json!({"terminated": {"exitCode": 1, "containerID": format!("containerd://{id}")}})
    }

    fn waiting(reason: &str) -> Value {
        json!({"waiting": {"reason": reason}})
    }

    #[test]
    fn containers() {
        let none = json!({});
        let running = json!({"running": {}});
        let no = |words: &str| Err(format!("400 {words}"));
        let cases = [
            (running.clone(), none.clone(), false, Ok("now")),
            (running.clone(), ended("before"), false, Ok("now")),
            (running.clone(), ended("before"), true, Ok("before")),
            (running, none.clone(), true, no("previous terminated container \"c\" in pod \"web\" not found")),
            (ended("now"), none.clone(), false, Ok("now")),
            (ended("now"), ended("before"), true, Ok("before")),
            (waiting("CrashLoopBackOff"), ended("before"), false, Ok("before")),
            (waiting("CrashLoopBackOff"), ended("before"), true, Ok("before")),
            (
                waiting("ContainerCreating"),
                none.clone(),
                false,
                no("container \"c\" in pod \"web\" is waiting to start: ContainerCreating"),
            ),
            (
                waiting("ImagePullBackOff"),
                none.clone(),
                false,
                no("container \"c\" in pod \"web\" is waiting to start: trying and failing to pull image"),
            ),
            (
                none.clone(),
                none,
                false,
                no("container \"c\" in pod \"web\" is waiting to start - no logs yet"),
            ),
        ];
        for (state, last, previous, expected) in cases {
            let said = chosen(state.clone(), last.clone(), previous);
            assert_eq!(said, expected.map(str::to_owned), "{state} {last} {previous}");
        }
    }

    #[test]
    fn a_container_that_is_not_there() {
        let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let words = |container| {
            let refusal = choose(&pod, container, false).unwrap_err();
            (refusal.status.as_u16(), refusal.words)
        };
        assert_eq!(words("x"), (404, "container \"x\" not found in pod \"web\"\n".to_owned()));
        assert_eq!(words("c"), (400, "container \"c\" in pod \"web\" is not available".to_owned()));
    }
}
