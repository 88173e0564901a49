use serde_json::{Value, json};

use super::*;

fn chosen(state: Value, last: Value, previous: bool) -> Result<String, String> {
    let pod = json!({"metadata": {"name": "web"},
            "spec": {"containers": [{"name": "c"}, {"name": "new"}]},
            "status": {"containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "containerID": "containerd://now", "state": state, "lastState": last}]}});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    choose(&pod, "c", previous).map_err(|refusal| format!("{} {}", refusal.status.as_u16(), refusal.words))
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
        (none.clone(), none, false, no("container \"c\" in pod \"web\" is waiting to start - no logs yet")),
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
