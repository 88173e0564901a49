//! The status of a pod, rendered from its spec, what the runtime holds of it and what its containers wait
//! for. Pure; the same input gives the same status, so an unchanged one is never written.
//! Corresponds to upstream's `generateAPIPodStatus`, `convertStatusToAPIStatus` and `getPhase`.

mod containers;
pub mod patch;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api::conditions;
use api::pod::{self, Qos, is_finished};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::plan::{HealthMap, Waiting};
use crate::pod_spec::{self, Role};
use crate::runtime_state::PodView;

/// The conditions that the kubelet writes; others belong to others.
pub const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Why the node ended a pod by itself (`DeadlineExceeded`, `Evicted`) or refused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Whether it was ended for the node's sake and not for what it did: `DisruptionTarget`.
    pub disrupted: bool,
}

impl Ended {
    /// Ended or refused for what the pod is or did.
    pub fn new(reason: &str, message: String) -> Self {
        Self { reason: reason.to_owned(), message, disrupted: false }
    }
}

/// Why running containers do not have the resources that their pod says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresized {
    /// The node has no room.
    Pending {
        /// `Deferred` or `Infeasible`.
        reason: &'static str,
        /// What is lacking.
        message: String,
    },
    /// It was tried.
    Failed {
        /// What went wrong.
        message: String,
    },
}

/// The conditions about resizing, which are there only while there is something to say.
const RESIZE_CONDITIONS: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// All that a status is made from.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The pod as the API has it, with the status last written.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub view: &'a PodView,
    /// Containers that wait, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// What the probes say, by container id.
    pub health: &'a HealthMap,
    /// Addresses of the node.
    pub host_ips: &'a [String],
    /// The runtime's name, for container ids.
    pub runtime: &'a str,
    /// Set when the node ended the pod.
    pub ended: Option<&'a Ended>,
    /// Set when running containers do not have what the pod says.
    pub unresized: Option<&'a Unresized>,
    /// The pod is to end and nothing of it runs any more.
    pub over: bool,
    /// When the kubelet first saw the pod.
    pub seen: Timestamp,
    /// The clock.
    pub now: Timestamp,
}

/// The status that the pod should have.
pub fn render(facts: &Facts<'_>) -> PodStatus {
    let pod = facts.pod;
    let old = pod.status.clone().unwrap_or_default();
    let never_ran = facts.view.is_empty() && old.container_statuses.is_none();
    if facts.ended.is_some() && never_ran {
        return refused(facts, old);
    }
    // Refused by the kubelet that ran before this one.
    if is_finished(pod) && never_ran {
        return old;
    }
    let (mut init, mut main) = (containers::of_init(facts), containers::of_main(facts));
    if facts.over {
        containers::end(pod, &mut init, &mut main);
    }
    let ephemeral = containers::of_ephemeral(facts);
    let phase = match facts.ended {
        Some(_) if facts.over => "Failed",
        _ => phase(facts, &init, &main),
    };
    let phase = match old.phase.as_deref() {
        // A finished pod never goes back.
        Some(old) if pod::is_final(old) => old,
        // It is not finished while anything of it runs, such as a sidecar that is being stopped.
        before if pod::is_final(phase) && facts.view.running().next().is_some() => {
            before.unwrap_or("Pending")
        }
        _ => phase,
    };
    let conditions = conditions(facts, &old, phase, &init, &main);
    let (pod_ip, pod_ips) = addresses(facts, &old);
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: facts.ended.filter(|_| facts.over).map(|e| e.reason.clone()).or(old.reason),
        message: facts.ended.filter(|_| facts.over).map(|e| e.message.clone()).or(old.message),
        conditions: Some(conditions),
        container_statuses: Some(main),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        host_ip: facts.host_ips.first().cloned(),
        host_ips: Some(facts.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip,
        pod_ips,
        start_time: old.start_time.or(Some(Time(whole(facts.seen)))),
        qos_class: Some(Qos::of(pod).word().to_owned()),
        observed_generation: pod.metadata.generation,
        resources: Some(pod_resources(pod)),
        allocated_resources: non_empty(pod_requests(pod)),
        ..old
    }
}

/// The status of a pod that never got to run here.
fn refused(facts: &Facts<'_>, old: PodStatus) -> PodStatus {
    PodStatus {
        phase: Some("Failed".to_owned()),
        reason: facts.ended.map(|ended| ended.reason.clone()),
        message: facts.ended.map(|ended| ended.message.clone()),
        start_time: old.start_time.or(Some(Time(whole(facts.seen)))),
        qos_class: Some(Qos::of(facts.pod).word().to_owned()),
        observed_generation: facts.pod.metadata.generation,
        ..old
    }
}

fn whole(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn pod_requests(pod: &Pod) -> containers::Amounts {
    let requests = pod::requests(pod_spec::spec(pod)).into_iter();
    let requests = requests.filter(|(name, q)| matches!(*name, "cpu" | "memory") && !q.is_zero());
    requests.map(|(name, q)| (name.to_owned(), q.wire())).collect()
}

fn pod_resources(pod: &Pod) -> ResourceRequirements {
    let limits = ["cpu", "memory"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), pod::bound(pod_spec::spec(pod), name)?.wire())))
        .collect();
    ResourceRequirements {
        requests: non_empty(pod_requests(pod)),
        limits: non_empty(limits),
        ..ResourceRequirements::default()
    }
}

fn non_empty(amounts: containers::Amounts) -> Option<containers::Amounts> {
    (!amounts.is_empty()).then_some(amounts)
}

/// The pod's addresses: those of its sandbox, the node's on the host's network, else the last known.
fn addresses(facts: &Facts<'_>, old: &PodStatus) -> (Option<String>, Option<Vec<PodIP>>) {
    let newest = facts.view.sandboxes.first();
    let ips: &[String] = match newest {
        Some(_) if pod_spec::host_network(facts.pod) => facts.host_ips,
        Some(sandbox) if sandbox.ready => &sandbox.ips,
        _ => &[],
    };
    let Some(first) = ips.first() else { return (old.pod_ip.clone(), old.pod_ips.clone()) };
    (Some(first.clone()), Some(ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()))
}

fn phase(facts: &Facts<'_>, init: &[ContainerStatus], main: &[ContainerStatus]) -> &'static str {
    let state = |c: &ContainerStatus| c.state.clone().unwrap_or_default();
    let last_end = |c: &ContainerStatus| c.last_state.as_ref().and_then(|s| s.terminated.clone());
    let (mut initializing, mut init_failed) = (0, false);
    for (container, status) in pod_spec::init_containers(facts.pod).iter().zip(init) {
        let now = state(status);
        let exit = now.terminated.as_ref().map(|end| end.exit_code);
        if pod_spec::init_role(container) == Role::Sidecar {
            let came_up = now.terminated.is_some()
                || last_end(status).is_some()
                || (now.running.is_some() && status.started.unwrap_or(false));
            initializing += i32::from(!came_up);
            continue;
        }
        match (exit, last_end(status)) {
            (Some(0), _) => {}
            (Some(code), _) => init_failed |= !pod_spec::restarts(facts.pod, container, Role::Init, code),
            (None, Some(_)) if now.waiting.is_some() => {}
            (None, _) => initializing += 1,
        }
    }
    let (mut waiting, mut running, mut ended, mut succeeded) = (0, 0, 0, 0);
    for status in main {
        let now = state(status);
        match (now.running.is_some(), &now.terminated) {
            (true, _) => running += 1,
            (_, Some(end)) => {
                ended += 1;
                succeeded += i32::from(end.exit_code == 0);
            }
            _ if last_end(status).is_some() => ended += 1,
            _ => waiting += 1,
        }
    }
    if init_failed {
        return "Failed";
    }
    if facts.over && waiting + running == 0 && ended > 0 {
        return if ended == succeeded { "Succeeded" } else { "Failed" };
    }
    if facts.over && running == 0 {
        return "Failed";
    }
    if waiting > 0 || (initializing > 0 && running + ended == 0) {
        return "Pending";
    }
    if running > 0 {
        return "Running";
    }
    // Nothing runs, everything ran: finished, unless something is started again.
    let restarts = pod_spec::spec(facts.pod).containers.iter().zip(main).any(|(container, status)| {
        let end = state(status).terminated.or_else(|| last_end(status));
        pod_spec::restarts(facts.pod, container, Role::Main, end.map_or(1, |end| end.exit_code))
    });
    match (restarts, ended == succeeded) {
        (true, _) => "Running",
        (false, true) => "Succeeded",
        (false, false) => "Failed",
    }
}

/// The conditions that the kubelet owns, in the order people know, then those of others.
fn conditions(
    facts: &Facts<'_>,
    old: &PodStatus,
    phase: &str,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
) -> Vec<PodCondition> {
    let finished = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let sandbox = facts.view.ready_sandbox();
    let ready_to_start = sandbox.is_some_and(|s| pod_spec::host_network(facts.pod) || !s.ips.is_empty());

    let incomplete: Vec<&str> = pod_spec::init_containers(facts.pod)
        .iter()
        .zip(init)
        .filter(|(container, status)| match pod_spec::init_role(container) {
            Role::Sidecar => !status.started.unwrap_or(false),
            _ => !status.ready,
        })
        .map(|(container, _)| container.name.as_str())
        .collect();
    let main_began = main.iter().any(|c| c.container_id.is_some());
    let initialized = if finished == Some("PodCompleted") {
        (true, finished.map(str::to_owned), None)
    } else if main_began || incomplete.is_empty() {
        (true, None, None)
    } else {
        let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        (false, Some("ContainersNotInitialized".to_owned()), Some(message))
    };

    let sidecars = pod_spec::init_containers(facts.pod).iter().zip(init);
    let sidecars =
        sidecars.filter(|(c, _)| pod_spec::init_role(c) == Role::Sidecar).map(|(_, status)| status);
    let unready: Vec<&str> = sidecars.chain(main).filter(|c| !c.ready).map(|c| c.name.as_str()).collect();
    let containers_ready = if let Some(reason) = finished {
        (false, Some(reason.to_owned()), None)
    } else if unready.is_empty() {
        (true, None, None)
    } else {
        let message = format!("containers with unready status: [{}]", unready.join(" "));
        (false, Some("ContainersNotReady".to_owned()), Some(message))
    };

    let gates = pod_spec::spec(facts.pod).readiness_gates.iter().flatten();
    let closed: Vec<String> = gates
        .filter(|gate| {
            let of_gate = |c: &&PodCondition| c.type_ == gate.condition_type;
            old.conditions.iter().flatten().find(of_gate).is_none_or(|c| c.status != "True")
        })
        .map(|gate| gate.condition_type.clone())
        .collect();
    let ready = if containers_ready.0 && !closed.is_empty() {
        let first = &closed[0];
        let message = match old.conditions.iter().flatten().any(|c| &c.type_ == first) {
            true => format!("the status of pod readiness gate \"{first}\" is not \"True\", but False"),
            false => format!("corresponding condition of pod readiness gate \"{first}\" does not exist."),
        };
        (false, Some("ReadinessGatesNotReady".to_owned()), Some(message))
    } else {
        containers_ready.clone()
    };

    let own = [
        ("PodReadyToStartContainers", (ready_to_start, None, None)),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", (true, None, None)),
    ];
    let resize = facts.unresized.map(|why| match why {
        Unresized::Pending { reason, message } => ("PodResizePending", *reason, message),
        Unresized::Failed { message } => ("PodResizeInProgress", "Error", message),
    });
    let resize =
        resize.map(|(kind, reason, message)| (kind, (true, Some(reason.to_owned()), Some(message.clone()))));
    let disrupted = facts.ended.filter(|ended| ended.disrupted).map(|ended| {
        let why = (true, Some("TerminationByKubelet".to_owned()), Some(ended.message.clone()));
        ("DisruptionTarget", why)
    });
    let mut all: Vec<PodCondition> = own
        .into_iter()
        .chain(resize)
        .chain(disrupted)
        .map(|(kind, (holds, reason, message))| {
            let status = if holds { "True" } else { "False" };
            let before = old.conditions.iter().flatten().find(|c| c.type_ == kind);
            let told = PodCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason,
                message,
                last_transition_time: Some(Time(whole(facts.now))),
                last_probe_time: None,
                observed_generation: facts.pod.metadata.generation,
            };
            conditions::after(before, told)
        })
        .collect();
    let others = old.conditions.iter().flatten();
    let is_own = |kind: &String| {
        RESIZE_CONDITIONS.contains(&kind.as_str()) || all.iter().any(|own| own.type_ == *kind)
    };
    let others: Vec<PodCondition> = others.filter(|c| !is_own(&c.type_)).cloned().collect();
    all.extend(others);
    all
}
