//! What to do next for one pod: a pure function from the pod's spec, what the runtime holds of it and the
//! clock to a short list of steps. The worker carries the steps out, looks again and asks again, so a plan
//! need not see further than the next thing that can be done. Corresponds to upstream's
//! `computePodActions` and `killPod`.

pub mod life;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use api::duration;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerState, Pod};

use crate::backoff::Backoff;
use crate::pod_spec::{self, RestartPolicy, Role};
use crate::runtime_state::{ContainerView, PodView, SandboxView, State};

/// What is said of a pod that gets another sandbox.
pub const SANDBOX_CHANGED: &str = "Pod sandbox changed, it will be killed and re-created.";

/// The name under which all containers wait for a sandbox.
pub const NO_SANDBOX: &str = "";

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the pod's sandbox, its volumes before it.
    MakeSandbox {
        /// How many the pod had before.
        attempt: u32,
    },
    /// Pull the image, make and start a container.
    Start {
        /// Its name in the spec.
        name: String,
        /// Its role.
        role: Role,
        /// How often it has been started before.
        attempt: u32,
        /// When the one before it ended; none the first time.
        after_end: Option<Timestamp>,
    },
    /// Stop containers, side by side but for those that come after others.
    Stop(Vec<Stop>),
    /// Stop a sandbox and take its network down.
    StopSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Forget a dead container.
    RemoveContainer {
        /// The runtime's id.
        id: String,
    },
    /// Forget a stopped sandbox.
    RemoveSandbox {
        /// The runtime's id.
        id: String,
    },
    /// Wait until the API has the pod's last status.
    TellEnd,
    /// Free what the pod had of the node: its room among the others, its cgroup.
    Sweep,
    /// Let the API forget the pod.
    Release,
    /// Remove the folders of what the kubelet kept for the pod, and of its logs.
    RemoveFiles,
}

/// A container to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The runtime's id.
    pub id: String,
    /// Its name in the spec.
    pub name: String,
    /// What the event says.
    pub message: String,
    /// Seconds between asking and killing.
    pub grace: i64,
    /// Those of the same step that it outlives, by their ids: it is asked only when they have ended or the grace is
    /// over. Its hook does not wait for them.
    pub after: Vec<String>,
}

/// Why a container does not run yet, as its status shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// One word.
    pub reason: String,
    /// A sentence, or nothing.
    pub message: String,
}

/// A failed start: what the status shows, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What the status shows meanwhile.
    pub waiting: Waiting,
    /// When to try again.
    pub until: Timestamp,
    /// Hash of the container that could not be started: a corrected one does not wait for it.
    pub hash: String,
}

/// What the probes say of one running container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Its startup probe has succeeded (or it has none).
    pub started: bool,
    /// Its readiness probe succeeds (or it has none).
    pub ready: bool,
    /// The probe (`liveness`, `startup`) that demands its end.
    pub failed: Option<&'static str>,
}

/// What the probes say of the pod's containers, by container id.
pub type HealthMap = BTreeMap<String, Health>;

/// All that a plan looks at.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub view: &'a PodView,
    /// How long crashed containers wait, by name.
    pub backoffs: &'a BTreeMap<String, Backoff>,
    /// Starts that failed, by container name.
    pub holds: &'a BTreeMap<String, Hold>,
    /// What the probes say.
    pub health: &'a HealthMap,
    /// The clock.
    pub now: Timestamp,
}

/// What to do, and what to show while it is not done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// To be done in order; the first failure ends the round.
    pub steps: Vec<Step>,
    /// Containers that wait, by name.
    pub waiting: BTreeMap<String, Waiting>,
    /// When the clock alone makes another plan.
    pub look_again: Option<Timestamp>,
    /// Nothing runs and nothing will.
    pub done: bool,
}

impl Plan {
    fn look_at(&mut self, when: Timestamp) {
        self.look_again = Some(self.look_again.map_or(when, |other| other.min(when)));
    }
}

/// Whether a running container counts as started: its startup probe, if any, has succeeded.
pub fn started(container: &Container, health: Option<&Health>) -> bool {
    container.startup_probe.is_none() || health.is_some_and(|health| health.started)
}

/// The steps that bring a pod nearer to running as its spec says.
pub fn next_steps(situation: &Situation<'_>) -> Plan {
    let mut plan = Plan::default();
    match situation.view.ready_sandbox() {
        Some(sandbox) => run_in(situation, sandbox, &mut plan),
        None => without_sandbox(situation, &mut plan),
    }
    tidy(situation.view, &mut plan);
    plan
}

/// The steps that end a pod: its own containers side by side, sidecars from last to first after them, then the
/// sandbox. `grace` is what is left of the grace period.
pub fn stop_steps(pod: &Pod, view: &PodView, grace: i64) -> Plan {
    let mut plan = Plan::default();
    let alive = |c: &&ContainerView| matches!(c.state, State::Running | State::Unknown);
    let role = |c: &ContainerView| pod_spec::container(pod, &c.name).map(|(_, role)| role);
    let stop = |c: &ContainerView, after: &[String]| Stop {
        id: c.id.clone(),
        name: c.name.clone(),
        message: format!("Stopping container {}", c.name),
        grace,
        after: after.to_vec(),
    };
    let (mut sidecars, others): (Vec<_>, Vec<_>) =
        view.containers.iter().filter(alive).partition(|c| role(c) == Some(Role::Sidecar));
    let mut stops: Vec<Stop> = others.iter().map(|c| stop(c, &[])).collect();
    let mains = others.iter().filter(|c| role(c) == Some(Role::Main));
    let mut before: Vec<String> = mains.map(|c| c.id.clone()).collect();
    sidecars
        .sort_by_key(|c| Reverse(pod_spec::init_containers(pod).iter().position(|init| init.name == c.name)));
    for sidecar in sidecars {
        stops.push(stop(sidecar, &before));
        before = vec![sidecar.id.clone()];
    }
    if !stops.is_empty() {
        plan.steps.push(Step::Stop(stops));
        return plan;
    }
    let ready = view.sandboxes.iter().filter(|s| s.ready);
    plan.steps.extend(ready.map(|s| Step::StopSandbox { id: s.id.clone() }));
    plan.done = plan.steps.is_empty();
    plan
}

fn without_sandbox(s: &Situation<'_>, plan: &mut Plan) {
    let stranded: Vec<Stop> = s
        .view
        .containers
        .iter()
        .filter(|c| matches!(c.state, State::Running | State::Unknown))
        .map(|c| stop_for_restart(s, c, SANDBOX_CHANGED))
        .collect();
    if !stranded.is_empty() {
        plan.steps.push(Step::Stop(stranded));
        return;
    }
    if nothing_left_to_run(s) {
        plan.done = true;
        return;
    }
    if let Some(hold) = s.holds.get(NO_SANDBOX).filter(|hold| hold.until > s.now) {
        if hold.waiting != Waiting::default() {
            plan.waiting.insert(NO_SANDBOX.to_owned(), hold.waiting.clone());
        }
        plan.look_at(hold.until);
        return;
    }
    let attempt = s.view.sandboxes.first().map_or(0, |newest| newest.attempt + 1);
    // A sandbox whose pause program died still holds its network.
    plan.steps.extend(s.view.sandboxes.first().map(|dead| Step::StopSandbox { id: dead.id.clone() }));
    plan.steps.push(Step::MakeSandbox { attempt });
}

/// Whether a pod that has no sandbox needs none any more.
fn nothing_left_to_run(s: &Situation<'_>) -> bool {
    let main = &pod_spec::spec(s.pod).containers;
    let seen = |c: &&Container| s.view.newest(&c.name).is_some();
    let init_gave_up = pod_spec::init_containers(s.pod).iter().any(|c| gave_up(s, c));
    if init_gave_up {
        return true;
    }
    // With `Never`, whatever has not run by the time the sandbox is lost does not run any more.
    let never = main.iter().any(|c| {
        pod_spec::restart_policy(s.pod, c, Role::Main) == RestartPolicy::Never
            && s.view.newest(&c.name).is_some()
    });
    main.iter().filter(seen).count() > 0
        && main.iter().all(|c| match s.view.newest(&c.name) {
            Some(dead) if dead.state == State::Exited => {
                !pod_spec::restarts(s.pod, c, Role::Main, dead.exit_code)
            }
            Some(_) => false,
            None => never,
        })
}

/// Whether a plain init container failed and may not try again.
fn gave_up(s: &Situation<'_>, container: &Container) -> bool {
    pod_spec::init_role(container) == Role::Init
        && s.view.newest(&container.name).is_some_and(|c| {
            c.state == State::Exited
                && c.exit_code != 0
                && !pod_spec::restarts(s.pod, container, Role::Init, c.exit_code)
        })
}

fn run_in(s: &Situation<'_>, sandbox: &SandboxView, plan: &mut Plan) {
    let strays = s.view.sandboxes.iter().filter(|other| other.ready && other.id != sandbox.id);
    plan.steps.extend(strays.map(|stray| Step::StopSandbox { id: stray.id.clone() }));
    let here = |name: &str| s.view.of_name(name).find(|c| c.sandbox == sandbox.id);
    // What did its work in a sandbox that was lost is not run again.
    let here_or_done = |container: &Container| {
        let before =
            s.view.newest(&container.name).filter(|before| ended_for_good(s, container, Some(before)));
        here(&container.name).or(before)
    };
    let main = &pod_spec::spec(s.pod).containers;
    let main_began = main.iter().any(|c| here(&c.name).is_some());

    if pod_spec::init_containers(s.pod).iter().any(|c| gave_up(s, c)) {
        wind_up(s, plan);
        return;
    }
    if main_began && main.iter().all(|c| ended_for_good(s, c, here_or_done(c))) {
        wind_up(s, plan);
        return;
    }
    // These do not wait for init containers: a pod that cannot start is looked into, too. They run once.
    for ephemeral in pod_spec::ephemeral_containers(s.pod) {
        if s.view.newest(&ephemeral.name).is_none() && !has_ended(s, &ephemeral.name) {
            keep_up(s, &pod_spec::as_container(ephemeral), Role::Ephemeral, None, plan);
        }
    }
    for container in pod_spec::init_containers(s.pod) {
        if !init_lets_pass(s, container, here(&container.name), main_began, plan) {
            return;
        }
    }
    for container in main {
        keep_up(s, container, Role::Main, here_or_done(container), plan);
    }
}

/// Whether a main container has ended and is not started again.
fn ended_for_good(s: &Situation<'_>, container: &Container, view: Option<&ContainerView>) -> bool {
    view.is_some_and(|c| {
        c.state == State::Exited
            && c.hash == pod_spec::container_hash(container)
            && !pod_spec::restarts(s.pod, container, Role::Main, c.exit_code)
    })
}

/// Looks after one init container; answers whether what comes after it may go on.
fn init_lets_pass(
    s: &Situation<'_>,
    container: &Container,
    view: Option<&ContainerView>,
    main_began: bool,
    plan: &mut Plan,
) -> bool {
    let role = pod_spec::init_role(container);
    if role == Role::Sidecar {
        keep_up(s, container, role, view, plan);
        let up = view.is_some_and(|c| c.state == State::Running && started(container, s.health.get(&c.id)));
        return up || main_began;
    }
    if main_began {
        return true;
    }
    if view.is_some_and(|c| c.state == State::Exited && c.exit_code == 0) {
        return true;
    }
    keep_up(s, container, role, view, plan);
    false
}

/// Starts, restarts or leaves alone one container.
fn keep_up(
    s: &Situation<'_>,
    container: &Container,
    role: Role,
    view: Option<&ContainerView>,
    plan: &mut Plan,
) {
    let name = &container.name;
    let start = |attempt: u32, after_end: Option<Timestamp>| Step::Start {
        name: name.clone(),
        role,
        attempt,
        after_end,
    };
    let Some(view) = view else {
        if !held(s, container, plan) {
            plan.steps.push(start(next_attempt(s, name), None));
        }
        return;
    };
    let changed = view.hash != pod_spec::container_hash(container);
    match view.state {
        State::Running => {
            let failed = s.health.get(&view.id).and_then(|health| health.failed);
            if changed && role != Role::Init {
                let message = format!("Container {name} definition changed, will be restarted");
                plan.steps.push(Step::Stop(vec![stop_for_restart(s, view, &message)]));
            } else if let Some(probe) = failed {
                let restarts = pod_spec::restart_policy(s.pod, container, role) != RestartPolicy::Never;
                let intent = if restarts { ", will be restarted" } else { "" };
                let message = format!("Container {name} failed {probe} probe{intent}");
                plan.steps.push(Step::Stop(vec![stop_for_restart(s, view, &message)]));
            }
        }
        State::Created => {
            // Made by a kubelet that died before it could start it.
            if !held(s, container, plan) {
                plan.steps.push(Step::RemoveContainer { id: view.id.clone() });
                plan.steps.push(start(view.attempt, None));
            }
        }
        State::Unknown => {
            let message = format!("Container {name} is in unknown state, try killing it before restart");
            plan.steps.push(Step::Stop(vec![stop_for_restart(s, view, &message)]));
        }
        State::Exited => {
            if !changed && !pod_spec::restarts(s.pod, container, role, view.exit_code) {
                return;
            }
            if held(s, container, plan) {
                return;
            }
            let ended = view.finished_at().unwrap_or(s.now);
            let backoff = s.backoffs.get(name).filter(|_| !changed);
            match backoff.map(|backoff| (backoff, backoff.due(ended))) {
                Some((backoff, due)) if due > s.now => {
                    let message = format!(
                        "back-off {} restarting failed container={name} pod={}",
                        duration::show(backoff.delay().unsigned_abs()),
                        pod_spec::described(s.pod)
                    );
                    plan.waiting
                        .insert(name.clone(), Waiting { reason: "CrashLoopBackOff".to_owned(), message });
                    plan.look_at(due);
                }
                _ => plan.steps.push(start(next_attempt(s, name), Some(ended))),
            }
        }
    }
}

/// Whether a failed start holds the next one back; shows why.
fn held(s: &Situation<'_>, container: &Container, plan: &mut Plan) -> bool {
    let hold = s.holds.get(&container.name);
    let Some(hold) = hold.filter(|hold| hold.hash == pod_spec::container_hash(container)) else {
        return false;
    };
    plan.waiting.insert(container.name.clone(), hold.waiting.clone());
    if hold.until > s.now {
        plan.look_at(hold.until);
        return true;
    }
    false
}

/// Whether the API remembers the end of an ephemeral container.
fn has_ended(s: &Situation<'_>, name: &str) -> bool {
    let statuses = s.pod.status.as_ref().and_then(|status| status.ephemeral_container_statuses.as_ref());
    let ended = |state: &ContainerState| state.terminated.is_some();
    statuses.into_iter().flatten().any(|c| c.name == name && c.state.as_ref().is_some_and(ended))
}

/// The attempt after all that the runtime or, when the runtime lost them, the API remembers.
fn next_attempt(s: &Situation<'_>, name: &str) -> u32 {
    if let Some(newest) = s.view.newest(name) {
        return newest.attempt + 1;
    }
    let status = s.pod.status.as_ref();
    let lists = status.map(|s| [&s.init_container_statuses, &s.container_statuses]);
    let mut known = lists.into_iter().flatten().flatten().flatten();
    match known.find(|c| c.name == name) {
        Some(status) if status.container_id.as_deref().is_some_and(|id| !id.is_empty()) => {
            u32::try_from(status.restart_count).unwrap_or(0) + 1
        }
        _ => 0,
    }
}

fn stop_for_restart(s: &Situation<'_>, view: &ContainerView, message: &str) -> Stop {
    let spec = pod_spec::spec(s.pod);
    let of_probe = pod_spec::container(s.pod, &view.name).and_then(|(container, _)| {
        let probe = match s.health.get(&view.id)?.failed? {
            "startup" => container.startup_probe.as_ref(),
            _ => container.liveness_probe.as_ref(),
        };
        probe?.termination_grace_period_seconds
    });
    let grace = of_probe.or(spec.termination_grace_period_seconds).unwrap_or(30).max(1);
    Stop {
        id: view.id.clone(),
        name: view.name.clone(),
        message: message.to_owned(),
        grace,
        after: Vec::new(),
    }
}

/// The pod's work is done: stops what is left, keeping the dead for their logs.
fn wind_up(s: &Situation<'_>, plan: &mut Plan) {
    let rest =
        stop_steps(s.pod, s.view, pod_spec::spec(s.pod).termination_grace_period_seconds.unwrap_or(30));
    plan.steps.extend(rest.steps);
    plan.done = plan.steps.is_empty();
}

/// Forgets the dead that nobody asks for: of each name the last two are kept, for `logs -p`.
fn tidy(view: &PodView, plan: &mut Plan) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for container in &view.containers {
        let count = seen.entry(&container.name).or_default();
        *count += 1;
        if *count > 2 && container.state == State::Exited {
            plan.steps.push(Step::RemoveContainer { id: container.id.clone() });
        }
    }
    let old = view.sandboxes.iter().skip(1).filter(|sandbox| {
        !sandbox.ready && !view.containers.iter().any(|container| container.sandbox == sandbox.id)
    });
    plan.steps.extend(old.map(|sandbox| Step::RemoveSandbox { id: sandbox.id.clone() }));
}
