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
    let selecting = |disk: &str| pod(json!({"nodeSelector": {"disk": disk}, "containers": [{"name": "c"}]}));
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
