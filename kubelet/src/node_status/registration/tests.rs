use machinery::tasks::Tasks;
use serde_json::Value;

use super::*;
use crate::node_status::tests::api;

fn machine(id: &str, uuid: &str, address: &str) -> Machine {
    Machine { id: id.into(), uuid: uuid.into(), address: address.into() }
}

#[test]
fn machines_differ_by_what_is_known_of_both() {
    let own = machine("m", "u", "192.0.2.1");
    for (other, same) in [
        (own.clone(), true),
        (machine("m", "", "192.0.2.1"), true),
        (Machine::default(), true),
        (machine("m", "u", "192.0.2.2"), false),
        (machine("n", "u", "192.0.2.1"), false),
        (machine("m", "v", "192.0.2.1"), false),
        (machine("", "", "192.0.2.2"), false),
    ] {
        assert_eq!((own.may_be(&other), other.may_be(&own)), (same, same), "{other}");
    }
}

#[test]
fn a_holder_lives_while_its_lease_changes() {
    let (start, clock) = (Instant::now(), Timestamp::from_second(1000).unwrap());
    let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
    let after = |seconds| start + Duration::from_secs(seconds);
    assert!(!lives(&mut None, None, start, clock), "nobody ever held it");

    let mut seen = None;
    assert!(lives(&mut seen, at(995), start, clock));
    assert!(lives(&mut seen, at(995), after(39), clock));
    assert!(!lives(&mut seen, at(995), after(40), clock), "silent for as long as its lease holds");
    assert!(lives(&mut seen, at(1035), after(41), clock), "it is back");

    // By our clock both leases have run out; that may be the clock's fault.
    for renewed in [500, 1500] {
        let mut seen = None;
        assert!(lives(&mut seen, at(renewed), start, clock));
        assert!(lives(&mut seen, at(renewed + 10), after(10), clock), "it was renewed nevertheless");
        assert!(lives(&mut seen, at(renewed + 10), after(24), clock));
        assert!(!lives(&mut seen, at(renewed + 10), after(25), clock));
    }
}

/// A Node as a machine of this address would register it.
fn node(address: &str) -> Node {
    let value: Value = json!({
        "metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1", "from": address}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "nodeInfo": {"machineID": "m", "systemUUID": "u", "bootID": "b", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
                "operatingSystem": "linux", "architecture": "amd64"},
        },
    });
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_name_that_is_in_use_elsewhere_is_refused_until_its_holder_falls_silent() {
    let tasks = Tasks::new();
    let client = api(&tasks).await;
    let nodes: Api<Node> = Api::all(client.clone());
    let registered_by = async || nodes.get("node-1").await.unwrap().metadata.labels.unwrap()["from"].clone();
    let mut first = Registration::new(&client);
    first.register(&node("192.0.2.1")).await.unwrap();
    heartbeat::Heartbeat::new(client.clone(), "node-1").beat().await.unwrap();

    let mut second = Registration::new(&client);
    let refusal = second.register(&node("192.0.2.2")).await.unwrap_err().to_string();
    assert_eq!(
        refusal,
        "the node \"node-1\" is kept alive by another machine, 192.0.2.1 (machine ID \"m\", system UUID \"u\"); \
         this one is 192.0.2.2 (machine ID \"m\", system UUID \"u\"): stop the kubelet there, or give this one \
         another name with --hostname-override"
    );
    assert_eq!(registered_by().await, "192.0.2.1", "nothing was changed");
    Registration::new(&client).register(&node("192.0.2.1")).await.expect("its own machine need not wait");

    // As if the lease had not changed for as long as it holds.
    second.seen.as_mut().unwrap().since -= QUIET;
    second.register(&node("192.0.2.2")).await.unwrap();
    assert_eq!(registered_by().await, "192.0.2.2");
    tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
}
