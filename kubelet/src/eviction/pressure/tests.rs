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
fn what_is_scarce_is_said_by_share_and_by_amount() {
    let (gib, usual) = (1 << 30, Thresholds::default());
    let of = |free, size| Free { free, size };
    let short = |disk: Free, files: Free, memory: u64| {
        let memory = Free { free: memory, size: 8 * gib };
        let left = Left { memory: Some(memory), disk: Some(disk), files: Some(files), processes: None };
        let short = shortages(&left, &usual).into_iter().map(|shortage| shortage.resource);
        let seen = seen(&left, &usual);
        (short.collect::<Vec<_>>(), seen.disk, seen.memory)
    };
    let (enough, disk) = (of(1_000_000, 1_000_000), "ephemeral-storage");
    assert_eq!(
        short(of(gib / 4, 10 * gib), enough, gib),
        (vec![disk], true, false),
        "a twentieth of a small disk"
    );
    assert_eq!(short(of(gib, 10 * gib), enough, gib), (vec![], false, false));
    assert_eq!(
        short(of(2 * gib, 1000 * gib), enough, gib),
        (vec![], false, false),
        "little of a big disk, but enough"
    );
    assert_eq!(short(of(gib - 1, 1000 * gib), enough, 99 << 20), (vec!["memory", disk], true, true));
    // Nobody is ended for want of files, and some file systems do not count them.
    assert_eq!(short(of(gib, 10 * gib), of(9_999, 1_000_000), gib), (vec![], true, false));
    assert_eq!(short(of(gib, 10 * gib), of(0, 0), gib), (vec![], false, false));

    let left = Left { memory: Some(of(99 << 20, gib)), ..Left::default() };
    let shortage = Shortage { resource: "memory", threshold: 100 << 20, available: 99 << 20 };
    assert_eq!(shortages(&left, &usual), [shortage]);
    assert_eq!(Pressures::new("memory.available<5%".parse().expect("it is good")).shortage(&left), None);
    assert!(seen(&Left { processes: Some(of(9, 100)), ..Left::default() }, &usual).pids);
}

#[test]
fn a_pressure_is_told_of_for_a_while_and_keeps_pods_out() {
    let at = |seconds: i64| Timestamp::from_second(seconds).expect("a time");
    let (pressures, none) = (Pressures::default(), Pressure::default());
    let memory = Pressure { memory: true, ..none };
    let (enough, little) =
        (Left::default(), Left { memory: Some(Free { free: 0, size: 100 }), ..Left::default() });
    let (plain, asks) = (pod("plain", json!({"containers": [{"name": "c"}]})), asking("asks", "1Mi", 0));
    let critical = pod("critical", json!({"priority": 2_000_000_000, "containers": [{"name": "c"}]}));
    let bears = json!({"containers": [{"name": "c"}],
        "tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]});
    let bears = pod("bears", bears);
    let out = |pressures: &Pressures, pod: &Pod| pressures.admit(pod).err().map(|why| why.message);

    assert_eq!(pressures.note(&enough, at(0)), none);
    assert_eq!(out(&pressures, &plain), None);
    assert_eq!(pressures.note(&little, at(10)), memory);
    assert_eq!(pressures.note(&enough, at(309)), memory);
    assert_eq!(out(&pressures, &plain).as_deref(), Some("The node had condition: [MemoryPressure]. "));
    for fits in [&asks, &critical, &bears] {
        assert_eq!(out(&pressures, fits), None, "{}", pod_spec::name(fits));
    }
    assert_eq!(pressures.note(&enough, at(310)), none);
    assert_eq!(out(&pressures, &plain), None);

    pressures.note(&Left { disk: Some(Free { free: 0, size: 100 }), ..little }, at(400));
    let words = "The node had condition: [DiskPressure MemoryPressure]. ";
    assert_eq!(out(&pressures, &asks).as_deref(), Some(words));
    assert_eq!(out(&pressures, &critical), None);
}
