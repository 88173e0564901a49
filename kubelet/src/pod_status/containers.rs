//! The statuses of a pod's containers, in the order of the spec.

use std::collections::BTreeMap;

use api::pod;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, Pod, ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Facts;
use crate::plan;
use crate::pod_spec::{self, Role};
use crate::runtime_state::{ContainerView, State, seconds};

/// The most bytes of all containers' last words in a pod's status.
const LAST_WORDS: usize = 12 * 1024;

/// Amounts of resources, by name.
pub(super) type Amounts = BTreeMap<String, Quantity>;

/// The statuses of the pod's own containers.
pub(super) fn of_main(facts: &Facts<'_>) -> Vec<ContainerStatus> {
    pod_spec::spec(facts.pod).containers.iter().map(|c| status(facts, c, Role::Main)).collect()
}

/// The statuses of the init containers.
pub(super) fn of_init(facts: &Facts<'_>) -> Vec<ContainerStatus> {
    pod_spec::init_containers(facts.pod).iter().map(|c| status(facts, c, pod_spec::init_role(c))).collect()
}

/// The statuses of the ephemeral containers.
pub(super) fn of_ephemeral(facts: &Facts<'_>) -> Vec<ContainerStatus> {
    let containers = pod_spec::ephemeral_containers(facts.pod).iter().map(pod_spec::as_container);
    containers
        .map(|c| ContainerStatus { started: None, ready: false, ..status(facts, &c, Role::Ephemeral) })
        .collect()
}

fn status(facts: &Facts<'_>, container: &Container, role: Role) -> ContainerStatus {
    let old = old_status(facts, &container.name);
    let mut of_name = facts.view.of_name(&container.name);
    let Some(view) = of_name.next() else { return without_container(facts, container, old) };
    let (mut state, ready, started) = living(facts, container, role, view);
    let mut last_state = of_name
        .find(|c| c.state == State::Exited)
        .map(|before| terminated(facts, before))
        .or_else(|| old.filter(|o| o.restart_count > 0).and_then(|o| o.last_state.clone()))
        .unwrap_or_default();
    let waits = facts.waiting.get(&container.name).filter(|_| view.state != State::Running && !facts.over);
    if let Some(waiting) = waits {
        if state.terminated.is_some() {
            last_state = state;
        }
        state = waiting_state(&waiting.reason, &waiting.message);
    }
    // What has not been resized shows what it has.
    let kept = old.filter(|old| facts.unresized.is_some() && old.resources.is_some());
    ContainerStatus {
        name: container.name.clone(),
        state: Some(state),
        last_state: Some(last_state),
        ready,
        started: Some(started),
        restart_count: i32::try_from(view.attempt).unwrap_or(i32::MAX),
        image: view.image.clone(),
        image_id: view.image_ref.clone(),
        container_id: Some(full_id(facts, view)),
        resources: kept.and_then(|old| old.resources.clone()).or_else(|| Some(resources(container))),
        allocated_resources: kept.map_or_else(|| allocated(container), |old| old.allocated_resources.clone()),
        volume_mounts: mounts(container, &view.recursive_read_only),
        ..ContainerStatus::default()
    }
}

fn old_status<'a>(facts: &Facts<'a>, name: &str) -> Option<&'a ContainerStatus> {
    let status = facts.pod.status.as_ref()?;
    let lists =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|c| c.name == name)
}

/// The status of a container that the runtime does not hold.
fn without_container(
    facts: &Facts<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let old_state = |o: &ContainerStatus| o.state.clone().unwrap_or_default();
    // What has ended stays ended, even when the runtime has forgotten it.
    if let Some(old) = old.filter(|o| old_state(o).terminated.is_some()) {
        let volume_mounts = old.volume_mounts.clone().or_else(|| mounts(container, &[]));
        return ContainerStatus { volume_mounts, ..old.clone() };
    }
    let mut restart_count = 0;
    let mut last_state = ContainerState::default();
    let mut state = match facts.waiting.get(&container.name) {
        Some(waiting) => waiting_state(&waiting.reason, &waiting.message),
        None => {
            let no_sandbox = facts.waiting.get(plan::NO_SANDBOX);
            waiting_state(first_reason(facts), no_sandbox.map_or("", |waiting| &waiting.message))
        }
    };
    if let Some(old) = old {
        restart_count = old.restart_count;
        last_state = old.last_state.clone().unwrap_or_default();
        if let Some(running) = old_state(old).running {
            let lost = ContainerStateTerminated {
                started_at: running.started_at,
                container_id: old.container_id.clone(),
                ..lost()
            };
            let into = if facts.over { &mut state } else { &mut last_state };
            *into = ContainerState { terminated: Some(lost), ..ContainerState::default() };
        }
    }
    ContainerStatus {
        name: container.name.clone(),
        state: Some(state),
        last_state: Some(last_state),
        started: Some(false),
        restart_count,
        image: container.image.clone().unwrap_or_default(),
        volume_mounts: mounts(container, &[]),
        ..ContainerStatus::default()
    }
}

/// An end that nobody saw.
fn lost() -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: 137,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        ..ContainerStateTerminated::default()
    }
}

/// Gives an end to containers of a pod that is over and that never had one: to all when it was initialized, else to the init
/// containers up to the last that was begun, at least the first. Upstream's `TerminatePod`.
pub(super) fn end(of: &Pod, init: &mut [ContainerStatus], main: &mut [ContainerStatus]) {
    let has_ended = |state: &Option<ContainerState>| state.as_ref().is_some_and(|s| s.terminated.is_some());
    let was_begun = |status: &ContainerStatus| {
        has_ended(&status.last_state) || status.state.as_ref().is_some_and(|state| state.waiting.is_none())
    };
    let ended_well = |status: &ContainerStatus| {
        let ends = [&status.state, &status.last_state].into_iter().flatten();
        ends.filter_map(|state| state.terminated.as_ref()).any(|end| end.exit_code == 0)
    };
    let last_is_sidecar = pod_spec::init_containers(of).last().is_some_and(pod::is_sidecar);
    let is_through =
        |last: &ContainerStatus| if last_is_sidecar { was_begun(last) } else { ended_well(last) };
    let initialized = init.last().is_none_or(is_through) || main.iter().any(was_begun);
    let begun = init.iter().rposition(was_begun).map_or(1, |last| last + 1).min(init.len());
    let main = if initialized { main } else { &mut [] };
    for status in main.iter_mut().chain(&mut init[..begun]).filter(|status| !has_ended(&status.state)) {
        status.state = Some(ContainerState { terminated: Some(lost()), ..ContainerState::default() });
    }
}

/// Why a container waits that nothing is wrong with: in a pod with init containers for these, also the first of
/// them.
fn first_reason(facts: &Facts<'_>) -> &'static str {
    match pod_spec::init_containers(facts.pod).is_empty() {
        true => "ContainerCreating",
        false => "PodInitializing",
    }
}

/// State, readiness and whether it counts as started, of a container that the runtime holds.
fn living(
    facts: &Facts<'_>,
    container: &Container,
    role: Role,
    view: &ContainerView,
) -> (ContainerState, bool, bool) {
    match view.state {
        State::Running => {
            let health = facts.health.get(&view.id);
            let started = match role {
                Role::Init => false,
                _ => plan::started(container, health),
            };
            let ready = match (role, &container.readiness_probe) {
                (Role::Init, _) => false,
                (_, None) => started,
                (_, Some(_)) => started && health.is_some_and(|h| h.ready),
            };
            let running = ContainerStateRunning { started_at: Some(Time(seconds(view.started))) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, ready, started)
        }
        State::Exited => (terminated(facts, view), role == Role::Init && view.exit_code == 0, false),
        State::Created | State::Unknown => (waiting_state(first_reason(facts), ""), false, false),
    }
}

fn terminated(facts: &Facts<'_>, view: &ContainerView) -> ContainerState {
    let reason = match (view.reason.as_str(), view.exit_code) {
        ("", 0) => "Completed".to_owned(),
        ("", _) => "Error".to_owned(),
        (reason, _) => reason.to_owned(),
    };
    let terminated = ContainerStateTerminated {
        exit_code: view.exit_code,
        signal: None,
        reason: Some(reason),
        message: Some(cut(&view.message, longest_message(facts.pod))).filter(|m| !m.is_empty()),
        started_at: Some(Time(seconds(view.started))),
        finished_at: Some(Time(seconds(view.finished))),
        container_id: Some(full_id(facts, view)),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// How many bytes of a pod's status the last words of one container may take, so that all together stay bounded.
fn longest_message(pod: &Pod) -> usize {
    let containers = pod_spec::spec(pod).containers.len()
        + pod_spec::init_containers(pod).len()
        + pod_spec::ephemeral_containers(pod).len();
    LAST_WORDS / containers.max(1)
}

fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let text = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    let waiting = ContainerStateWaiting { reason: text(reason), message: text(message) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn full_id(facts: &Facts<'_>, view: &ContainerView) -> String {
    format!("{}://{}", facts.runtime, view.id)
}

fn resources(container: &Container) -> ResourceRequirements {
    container.resources.clone().unwrap_or_default()
}

fn allocated(container: &Container) -> Option<Amounts> {
    container.resources.as_ref()?.requests.clone().filter(|amounts| !amounts.is_empty())
}

/// The mounts of a container, of which those at some paths are read-only with all that is mounted below.
fn mounts(container: &Container, recursive: &[String]) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?.iter().map(|mount| {
        let read_only = mount.read_only.filter(|read_only| *read_only);
        let mode = if recursive.contains(&mount.mount_path) { "Enabled" } else { "Disabled" };
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| mode.to_owned()),
            ..VolumeMountStatus::default()
        }
    });
    Some(mounts.collect())
}
