//! Which pods fit on the node. The scheduler has looked already, but two schedulers, a stale cache or a hand
//! that sets `nodeName` can send a pod that does not fit; it then fails at once instead of pushing others.
//! Corresponds to upstream's `lifecycle/predicate.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::host_port::{HostPort, HostPorts};
use api::placement::wants_node;
use api::quantity::{Amount, Quantity};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use parking_lot::Mutex;

use crate::pod_spec;
use crate::pod_status::Ended;

/// The pods that were let in and have not finished.
#[derive(Default)]
pub struct Admission {
    admitted: Mutex<BTreeMap<String, Arc<Pod>>>,
}

impl Admission {
    /// Lets a pod in that runs already.
    pub fn keep(&self, pod: &Arc<Pod>) {
        self.admitted.lock().insert(pod_spec::uid(pod).to_owned(), Arc::clone(pod));
    }

    /// Lets a pod in if it fits beside the others; else says why not.
    pub fn admit(&self, pod: &Arc<Pod>, node: Option<&Node>) -> Result<(), Ended> {
        let mut admitted = self.admitted.lock();
        let others = others(&admitted, pod);
        if let Some(node) = node {
            check(pod, &others, node)?;
        }
        admitted.insert(pod_spec::uid(pod).to_owned(), Arc::clone(pod));
        Ok(())
    }

    /// Lets a pod have what it asks for now, if there is room.
    pub fn resize(&self, pod: &Arc<Pod>, node: Option<&Node>) -> Room {
        let mut admitted = self.admitted.lock();
        let others = others(&admitted, pod);
        let room = node.map_or(Room::Enough, |node| room(pod, &others, node));
        if room == Room::Enough {
            admitted.insert(pod_spec::uid(pod).to_owned(), Arc::clone(pod));
        }
        room
    }

    /// A pod has finished or is gone.
    pub fn release(&self, uid: &str) {
        self.admitted.lock().remove(uid);
    }
}

fn others<'a>(admitted: &'a BTreeMap<String, Arc<Pod>>, pod: &Pod) -> Vec<&'a Pod> {
    let others = admitted.iter().filter(|(uid, _)| *uid != pod_spec::uid(pod));
    others.map(|(_, pod)| pod.as_ref()).collect()
}

/// Whether there is room for a pod that grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// Once others have gone; the text says what is lacking.
    NotNow(String),
    /// The node is too small.
    Never(String),
}

fn amount_of(list: &BTreeMap<String, Wire>, resource: &str) -> Amount {
    list.get(resource).map_or(Amount::ZERO, |wire| Amount::of(resource, &Quantity::of(wire)))
}

fn requested(pod: &Pod, resource: &str) -> Amount {
    Amount::of(resource, &pod_spec::pod_request(pod, resource))
}

fn used(pods: &[&Pod], resource: &str) -> Amount {
    pods.iter().map(|pod| requested(pod, resource)).sum()
}

/// Whether a pod that runs on a node may have what it asks for beside the others there.
fn room(pod: &Pod, others: &[&Pod], node: &Node) -> Room {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let Some(allocatable) = allocatable else { return Room::Enough };
    for resource in ["cpu", "memory"] {
        let capacity = amount_of(allocatable, resource);
        let (requested, used) = (requested(pod, resource), used(others, resource));
        if requested > capacity {
            let text = format!(
                "Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
            );
            return Room::Never(text);
        }
        if requested > Amount::ZERO && used + requested > capacity {
            let text = format!(
                "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
            );
            return Room::NotNow(text);
        }
    }
    Room::Enough
}

fn refusal(reason: &str, text: String) -> Ended {
    Ended { reason: reason.to_owned(), message: format!("Pod was rejected: {text}") }
}

/// Whether a pod fits on a node beside the others there.
pub fn check(pod: &Pod, others: &[&Pod], node: &Node) -> Result<(), Ended> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let Some(allocatable) = allocatable else { return Ok(()) };
    let enough = |resource: &str, requested: Amount, used: Amount| {
        let capacity = amount_of(allocatable, resource);
        if requested == Amount::ZERO || used + requested <= capacity {
            return Ok(());
        }
        let text = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err(refusal(&format!("OutOf{resource}"), text))
    };
    enough("pods", Amount::count(1), Amount::count(others.len()))?;
    let mut asked: Vec<&str> = ["cpu", "memory"].into_iter().chain(pod_spec::asked(pod)).collect();
    asked.sort_unstable();
    asked.dedup();
    for resource in asked {
        enough(resource, requested(pod, resource), used(others, resource))?;
    }
    if !selected(pod, node) {
        let text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Err(refusal("NodeAffinity", text.to_owned()));
    }
    let taken: HostPorts = others.iter().flat_map(|other| host_ports(other)).collect();
    if host_ports(pod).any(|port| taken.conflict(&port)) {
        let text = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return Err(refusal("NodePorts", text.to_owned()));
    }
    Ok(())
}

fn selected(pod: &Pod, node: &Node) -> bool {
    let (name, labels) = (node.metadata.name.as_deref().unwrap_or_default(), node.metadata.labels.as_ref());
    wants_node(pod_spec::spec(pod), name, labels.unwrap_or(&BTreeMap::new()))
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort> {
    let sidecars =
        pod_spec::init_containers(pod).iter().filter(|c| pod_spec::init_role(c) == pod_spec::Role::Sidecar);
    let ports = sidecars.chain(&pod_spec::spec(pod).containers).flat_map(|c| c.ports.iter().flatten());
    ports.filter_map(HostPort::of)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": spec});
        serde_json::from_value(pod).expect("the test's pod is well-formed")
    }

    fn cpu(amount: &str) -> Pod {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]}))
    }

    fn port(number: i32, ip: &str) -> Pod {
        let ports = json!([{"containerPort": 80, "hostPort": number, "hostIP": ip}]);
        pod(json!({"containers": [{"name": "c", "ports": ports}]}))
    }

    #[test]
    fn says_whether_a_pod_may_grow() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
        }))
        .expect("the test's node is well-formed");
        let other = cpu("1");
        assert_eq!(room(&cpu("1"), &[&other], &node), Room::Enough);
        let text = "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000";
        assert_eq!(room(&cpu("1500m"), &[&other], &node), Room::NotNow(text.to_owned()));
        let text = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        assert_eq!(room(&cpu("3"), &[&other], &node), Room::Never(text.to_owned()));
    }

    #[test]
    fn says_why_a_pod_does_not_fit() {
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}},
        }))
        .expect("the test's node is well-formed");
        let plain = || pod(json!({"containers": [{"name": "c"}]}));
        let memory = |amount: &str| {
            pod(json!({"containers": [{"name": "c", "resources": {"requests": {"memory": amount}}}]}))
        };
        let selecting =
            |disk: &str| pod(json!({"nodeSelector": {"disk": disk}, "containers": [{"name": "c"}]}));
        let wanting = |operator: &str, disk: &str| {
            let term = json!({"matchExpressions": [{"key": "disk", "operator": operator, "values": [disk]}]});
            let terms = json!({"nodeSelectorTerms": [term]});
            pod(json!({"containers": [{"name": "c"}],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}))
        };
        let out = |text: &str| Some(format!("Pod was rejected: Node didn't have enough resource: {text}"));
        for (new, others, reason, message) in [
            (plain(), vec![], None, None),
            (cpu("1"), vec![cpu("1")], None, None),
            (
                cpu("1500m"),
                vec![cpu("1")],
                Some("OutOfcpu"),
                out("cpu, requested: 1500, used: 1000, capacity: 2000"),
            ),
            (
                memory("9223372036854775807"),
                vec![memory("1Ki")],
                Some("OutOfmemory"),
                out("memory, requested: 9223372036854775807, used: 1024, capacity: 1073741824"),
            ),
            (memory("1"), vec![memory("8Ei"), memory("8Ei")], Some("OutOfmemory"), None),
            (
                pod(json!({"containers": [{"name": "c"}], "resources": {"requests": {"memory": "1Gi"}},
                    "overhead": {"memory": "1"}})),
                vec![],
                Some("OutOfmemory"),
                out("memory, requested: 1073741825, used: 0, capacity: 1073741824"),
            ),
            (cpu("100E"), vec![cpu("100E")], Some("OutOfcpu"), None),
            (
                plain(),
                vec![plain(), plain(), plain()],
                Some("OutOfpods"),
                out("pods, requested: 1, used: 3, capacity: 3"),
            ),
            (selecting("ssd"), vec![], None, None),
            (selecting("hdd"), vec![], Some("NodeAffinity"), None),
            (port(80, ""), vec![port(81, "")], None, None),
            (port(80, ""), vec![port(80, "10.0.0.1")], Some("NodePorts"), None),
            (port(80, "10.0.0.2"), vec![port(80, "10.0.0.1")], None, None),
            (port(80, "::"), vec![port(80, "10.0.0.1")], Some("NodePorts"), None),
            (port(80, "0:0::1"), vec![port(80, "::1")], Some("NodePorts"), None),
            (wanting("In", "ssd"), vec![], None, None),
            (wanting("NotIn", "ssd"), vec![], Some("NodeAffinity"), None),
        ] {
            let others: Vec<&Pod> = others.iter().collect();
            let refused = check(&new, &others, &node).err();
            assert_eq!(refused.as_ref().map(|r| r.reason.as_str()), reason);
            if message.is_some() {
                assert_eq!(refused.map(|r| r.message), message);
            }
        }
    }
}
