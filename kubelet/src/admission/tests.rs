use serde_json::{Value, json};

use super::*;

fn pod(mut spec: Value) -> Pod {
    if spec["tolerations"].is_null() {
        spec["tolerations"] = json!([{"key": "out", "operator": "Exists"}]);
    }
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
        "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "9"}},
    }))
    .expect("the test's node is well-formed");
    let other = cpu("1");
    assert_eq!(room(&cpu("1"), &[&other], &node), Room::Enough);
    let text = "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000";
    assert_eq!(room(&cpu("1500m"), &[&other], &node), Room::NotNow(text.to_owned()));
    let text = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
    assert_eq!(room(&cpu("3"), &[&other], &node), Room::Never(text.to_owned()));

    // What is refused for good is held by nobody.
    let mut refused = cpu("1900m");
    refused.metadata.uid = Some("other".to_owned());
    refused.status = serde_json::from_value(json!({
        "conditions": [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}],
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": {"cpu": "1"}, "resources": {"requests": {"cpu": "1"}}}],
    }))
    .expect("the test's status is well-formed");
    let admission = Admission::default();
    let refused = Arc::new(refused);
    admission.keep(&refused);
    assert_eq!(admission.admit(&Arc::new(cpu("1")), Some(&node)), Ok(()));
    // What is granted is held, though the status does not say so yet.
    admission.release("u");
    assert_eq!(admission.resize(&refused, Some(&node)), Room::Enough);
    let late = admission.admit(&Arc::new(cpu("1")), Some(&node));
    assert_eq!(late.expect_err("there is no room").reason, "OutOfcpu");
}

#[test]
fn says_why_a_pod_does_not_fit() {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "n", "labels": {"disk": "ssd"}},
        "spec": {"taints": [{"key": "out", "effect": "NoExecute"}, {"key": "no", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3", "here.com/gpu": "1"}},
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
    let asking = |resource: &str| {
        let resources = json!({"requests": {resource: "2"}});
        pod(json!({"containers": [{"name": "c", "resources": resources}]}))
    };
    let driven_out = || pod(json!({"containers": [{"name": "c"}], "tolerations": []}));
    let mut of_folder = driven_out();
    of_folder.metadata.annotations =
        Some([("kubernetes.io/config.source".to_owned(), "file".to_owned())].into());
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
        (asking("here.com/gpu"), vec![], Some("OutOfhere.com/gpu"), None),
        (asking("elsewhere.com/gpu"), vec![], None, None),
        (asking("hugepages-2Mi"), vec![], Some("OutOfhugepages-2Mi"), None),
        (
            driven_out(),
            vec![],
            Some("TaintToleration"),
            Some(
                "Pod was rejected: Predicate TaintToleration failed: \
                 node(s) had taints that the pod didn't tolerate"
                    .to_owned(),
            ),
        ),
        (of_folder, vec![], None, None),
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
