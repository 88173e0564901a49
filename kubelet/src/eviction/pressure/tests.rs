use serde_json::{Value, json};

use super::*;

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let pod = json!({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": spec});
    Arc::new(serde_json::from_value(pod).expect("the test's pod is well-formed"))
}

/// A pod of one container that asks for memory.
fn asking(name: &str, memory: &str, priority: i32) -> Arc<Pod> {
    let resources = json!({"requests": {"memory": memory}});
    pod(name, json!({"priority": priority, "containers": [{"name": "c", "resources": resources}]}))
}

#[test]
fn who_takes_more_than_he_asked_for_goes_first() {
    let taken = |pod: Arc<Pod>, mib: u64| Taken { pod, all: mib << 20, containers: Vec::new() };
    let goes = |all: Vec<Taken>| first(all, "memory").map(|taken| pod_spec::name(&taken.pod).to_owned());
    let modest = || taken(asking("modest", "500Mi", 0), 400);
    let greedy = || taken(asking("greedy", "10Mi", 1000), 20);
    let greedier = || taken(asking("greedier", "10Mi", 1000), 30);
    let worthless = || taken(asking("worthless", "10Mi", -1), 11);
    let frugal = || taken(asking("frugal", "500Mi", 0), 100);
    assert_eq!(goes(vec![greedier(), modest(), greedy(), worthless()]).as_deref(), Some("worthless"));
    assert_eq!(goes(vec![greedy(), greedier(), modest()]).as_deref(), Some("greedier"));
    assert_eq!(goes(vec![frugal(), modest()]).as_deref(), Some("modest"));
    assert_eq!(goes(vec![taken(asking("idle", "1Mi", 0), 0)]), None);
    assert_eq!(goes(Vec::new()), None);
}

#[test]
fn the_reason_is_upstreams() {
    let two = json!({"containers": [
        {"name": "a", "resources": {"requests": {"memory": "1Mi"}}},
        {"name": "b", "resources": {"requests": {"memory": "1Gi"}}},
        {"name": "c"},
    ]});
    let containers =
        [("a", 3_u64 << 20), ("b", 3 << 20), ("c", 4096)].map(|(name, used)| (name.to_owned(), used));
    let taken = Taken { pod: pod("p", two), all: 6 << 20, containers: containers.into() };
    let ended = reason(&Shortage { resource: "memory", threshold: 100 << 20, available: 50 << 10 }, &taken);
    assert_eq!((ended.reason.as_str(), ended.disrupted), ("Evicted", true));
    assert_eq!(
        ended.message,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Ki. \
         Container a was using 3Mi, request is 1Mi, has larger consumption of memory. \
         Container c was using 4Ki, request is 0, has larger consumption of memory. "
    );
}

#[test]
fn a_pressure_is_told_of_for_a_while_and_keeps_pods_out() {
    let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
    let (pressures, none) = (Pressures::default(), Pressure::default());
    let memory = Pressure { memory: true, ..none };
    let (plain, asks) = (pod("plain", json!({"containers": [{"name": "c"}]})), asking("asks", "1Mi", 0));
    let critical = pod("critical", json!({"priority": 2_000_000_000, "containers": [{"name": "c"}]}));
    let bears = json!({"containers": [{"name": "c"}],
        "tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]});
    let bears = pod("bears", bears);
    let out = |pressures: &Pressures, pod: &Pod| pressures.admit(pod).err().map(|why| why.message);

    assert_eq!(pressures.note(none, at(0)), none);
    assert_eq!(out(&pressures, &plain), None);
    assert_eq!(pressures.note(memory, at(10)), memory);
    assert_eq!(pressures.note(none, at(309)), memory);
    assert_eq!(out(&pressures, &plain).as_deref(), Some("The node had condition: [MemoryPressure]. "));
    for fits in [&asks, &critical, &bears] {
        assert_eq!(out(&pressures, fits), None, "{}", pod_spec::name(fits));
    }
    assert_eq!(pressures.note(none, at(310)), none);
    assert_eq!(out(&pressures, &plain), None);

    pressures.note(Pressure { disk: true, ..memory }, at(400));
    let words = "The node had condition: [DiskPressure MemoryPressure]. ";
    assert_eq!(out(&pressures, &asks).as_deref(), Some(words));
    assert_eq!(out(&pressures, &critical), None);
}
