//! The node's status, from what was observed. No I/O.

use api::{Message, conditions};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proto::cri::{Image, RuntimeCondition};

use super::machine::{self, Resources};
use crate::args::Config;
use crate::cri::RuntimeVersion;
use crate::eviction::Pressure;

/// How many images the status lists.
const IMAGES: usize = 50;
/// How many names of an image it lists.
const NAMES: usize = 5;

/// What the status is rendered from.
pub struct Observed<'a> {
    /// The command line.
    pub config: &'a Config,
    /// What the node has.
    pub resources: &'a Resources,
    /// Which runtime it is.
    pub version: &'a RuntimeVersion,
    /// What the runtime says of itself, or why it does not.
    pub runtime: &'a Result<Vec<RuntimeCondition>, Message>,
    /// How much is free.
    pub pressure: Pressure,
    /// The images on the node.
    pub images: &'a [Image],
    /// What was written last.
    pub before: Option<&'a NodeStatus>,
    /// The clock.
    pub now: Timestamp,
}

/// Renders the status.
pub fn render(o: &Observed<'_>) -> NodeStatus {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let p = o.pressure;
    let table = [
        (
            "MemoryPressure",
            p.memory,
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
        ),
        (
            "DiskPressure",
            p.disk,
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
            "KubeletHasDiskPressure",
            "kubelet has disk pressure",
        ),
        (
            "PIDPressure",
            p.pids,
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
            "KubeletHasInsufficientPID",
            "kubelet has insufficient PID available",
        ),
    ];
    let mut conditions: Vec<NodeCondition> = table
        .into_iter()
        .map(|(kind, pressed, fine, fine_words, bad, bad_words)| match pressed {
            true => condition(o, kind, "True", bad, bad_words.to_owned()),
            false => condition(o, kind, "False", fine, fine_words.to_owned()),
        })
        .collect();
    // Tools read the last condition as Ready.
    conditions.push(match unready(o.runtime) {
        None => condition(o, "Ready", "True", "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(why) => condition(o, "Ready", "False", "KubeletNotReady", why),
    });
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", o.config.node_ip.to_string()),
            address("Hostname", o.config.node.clone()),
        ]),
        allocatable: Some(o.resources.allocatable.clone()),
        capacity: Some(o.resources.capacity.clone()),
        conditions: Some(conditions),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(o.config.listen.port()) }),
        }),
        images: Some(images(o.images)),
        node_info: Some(machine::info(o.version)),
        ..NodeStatus::default()
    }
}

fn condition(o: &Observed<'_>, kind: &str, status: &str, reason: &str, message: String) -> NodeCondition {
    let before = o.before.and_then(|b| b.conditions.iter().flatten().find(|c| c.type_ == kind));
    let told = NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(Time(o.now)),
        last_transition_time: Some(Time(o.now)),
    };
    conditions::after(before, told)
}

/// Why the node cannot run pods, if it cannot.
fn unready(runtime: &Result<Vec<RuntimeCondition>, Message>) -> Option<String> {
    let conditions = match runtime {
        Ok(conditions) => conditions,
        Err(error) => return Some(format!("container runtime is down: {error}")),
    };
    for (kind, what) in [("RuntimeReady", "container runtime"), ("NetworkReady", "container runtime network")]
    {
        match conditions.iter().find(|c| c.r#type == kind) {
            Some(c) if c.status => {}
            Some(c) => {
                let (reason, message) = (&c.reason, &c.message);
                return Some(format!("{what} not ready: {kind}=false reason:{reason} message:{message}"));
            }
            None => return Some(format!("{what} status check may not have completed yet")),
        }
    }
    None
}

fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut listed: Vec<ContainerImage> = images
        .iter()
        .map(|image| ContainerImage {
            names: Some(image.repo_digests.iter().chain(&image.repo_tags).take(NAMES).cloned().collect()),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect();
    listed.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    listed.truncate(IMAGES);
    listed
}

/// Whether the node is ready.
pub fn is_ready(status: &NodeStatus) -> bool {
    status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether two statuses say the same, heartbeats and what others write aside.
pub fn same(before: &NodeStatus, now: &NodeStatus) -> bool {
    let told = |status: &NodeStatus, kind: &str| -> Option<NodeCondition> {
        let found = status.conditions.iter().flatten().find(|c| c.type_ == kind)?;
        Some(NodeCondition { last_heartbeat_time: None, last_transition_time: None, ..found.clone() })
    };
    let conditions = now.conditions.iter().flatten().all(|c| told(before, &c.type_) == told(now, &c.type_));
    conditions
        && before.addresses == now.addresses
        && before.allocatable == now.allocatable
        && before.capacity == now.capacity
        && before.images == now.images
        && before.node_info == now.node_info
        && before.daemon_endpoints == now.daemon_endpoints
}

/// The reason of the event that tells of a condition's change.
pub fn event_reason(condition: &NodeCondition) -> Option<&'static str> {
    Some(match (condition.type_.as_str(), condition.status.as_str()) {
        ("MemoryPressure", "False") => "NodeHasSufficientMemory",
        ("MemoryPressure", "True") => "NodeHasInsufficientMemory",
        ("DiskPressure", "False") => "NodeHasNoDiskPressure",
        ("DiskPressure", "True") => "NodeHasDiskPressure",
        ("PIDPressure", "False") => "NodeHasSufficientPID",
        ("PIDPressure", "True") => "NodeHasInsufficientPID",
        ("Ready", "True") => "NodeReady",
        ("Ready", "False") => "NodeNotReady",
        _ => return None,
    })
}
