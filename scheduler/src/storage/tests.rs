use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};

use super::*;
use crate::cluster::Cluster;
use crate::testing::{cluster, judged, pod};

fn volume(name: &str, zone: &str, size: &str) -> Value {
    json!({"metadata": {"name": name}, "status": {"phase": "Available"}, "spec": {
        "storageClassName": "late", "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
        "nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}]}}}})
}

fn claim(name: &str, class: &str, more: &Value) -> Value {
    let mut claim = json!({"metadata": {"name": name, "namespace": "default", "uid": name}, "spec": {
        "storageClassName": class, "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    crate::testing::merge(&mut claim, more);
    claim
}

fn bound(volume: &str) -> Value {
    json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": volume}})
}

/// Two zones of one node, a class that waits, one that also makes volumes, and one that does not wait.
fn world(volumes: &[Value], claims: &[Value]) -> Cluster {
    let mut cluster = cluster(&["a/a1", "b/b1"], &[]);
    for (name, provisioner, mode, zone) in [
        ("late", "kubernetes.io/no-provisioner", "WaitForFirstConsumer", None),
        ("made", "example.com/disks", "WaitForFirstConsumer", None),
        ("made-in-b", "example.com/disks", "WaitForFirstConsumer", Some("b")),
        ("soon", "example.com/disks", "Immediate", None),
    ] {
        let topologies =
            zone.map(|zone| json!([{"matchLabelExpressions": [{"key": "zone", "values": [zone]}]}]));
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": mode, "allowedTopologies": topologies});
        cluster.storage.set_class(None, Some(&Arc::new(serde_json::from_value(class).unwrap())));
    }
    for volume in volumes {
        let volume: PersistentVolume = serde_json::from_value(volume.clone()).unwrap();
        cluster.storage.set_volume(None, Some(&Arc::new(volume)));
    }
    for claim in claims {
        let claim: PersistentVolumeClaim = serde_json::from_value(claim.clone()).unwrap();
        cluster.storage.set_claim(None, Some(&Arc::new(claim)));
    }
    cluster
}

fn using(claims: &[&str]) -> Arc<Needs> {
    let volumes: Vec<Value> = claims
        .iter()
        .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    pod("p", &json!({"spec": {"volumes": volumes}}))
}

#[test]
fn some_claims_keep_a_pod_from_all_nodes() {
    let refused = |claim: Value, pod: &Needs| world(&[], &[claim]).storage.claims(pod).unwrap_err().0;
    let plain = json!({});
    for (claim, expected) in [
        (claim("other", "late", &plain), "persistentvolumeclaim \"c\" not found"),
        (claim("c", "soon", &plain), "pod has unbound immediate PersistentVolumeClaims"),
        (claim("c", "", &plain), "pod has unbound immediate PersistentVolumeClaims"),
        (
            claim("c", "late", &json!({"spec": {"volumeName": "v"}})),
            "pod has unbound immediate PersistentVolumeClaims",
        ),
        (
            claim("c", "late", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
            "persistentvolumeclaim \"c\" is being deleted",
        ),
        (
            claim("c", "late", &json!({"spec": {"volumeName": "v"}, "status": {"phase": "Lost"}})),
            "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"v\"",
        ),
    ] {
        assert_eq!(refused(claim, &using(&["c"])), expected);
    }
    let scratch = pod("p", &json!({"spec": {"volumes": [{"name": "scratch", "ephemeral": {}}]}}));
    assert_eq!(
        refused(claim("c", "late", &plain), &scratch),
        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-scratch\""
    );
    assert_eq!(
        refused(claim("p-scratch", "late", &plain), &scratch),
        "PVC default/p-scratch was not created for pod default/p (pod is not owner)"
    );
}

#[test]
fn volumes_say_where_pods_can_be() {
    let (unreachable, unfound) = (
        "node(s) didn't match PersistentVolume's node affinity",
        "node(s) didn't find available persistent volumes to bind",
    );
    let gone = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";
    let plain = json!({});
    let selected = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "a1"}}});
    let volumes = [volume("va", "a", "1Gi"), volume("vb", "b", "5Gi")];
    for (claims, expected) in [
        (vec![claim("c", "late", &bound("va"))], ["", unreachable]),
        (vec![claim("c", "late", &bound("none"))], [gone, gone]),
        (vec![claim("c", "late", &plain)], ["", ""]),
        (
            vec![claim("c", "late", &json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}))],
            [unfound, ""],
        ),
        // Each claim needs a volume of its own.
        (vec![claim("c", "late", &plain), claim("d", "late", &plain)], [unfound, unfound]),
        (vec![claim("c", "late", &bound("va")), claim("d", "late", &plain)], ["", unreachable]),
        (vec![claim("c", "made", &plain)], ["", ""]),
        (vec![claim("c", "made-in-b", &plain)], [unfound, ""]),
        (vec![claim("c", "made", &selected)], ["", unfound]),
    ] {
        let names: Vec<String> =
            claims.iter().map(|claim| claim["metadata"]["name"].as_str().unwrap().to_owned()).collect();
        let pod = using(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let said: Vec<String> =
            judged(&world(&volumes, &claims), &pod).into_iter().map(|(_, said)| said).collect();
        assert_eq!(said, expected, "{claims:?}");
    }
}

#[test]
fn what_is_promised_to_one_pod_is_not_promised_to_another() {
    let claims = [claim("c", "late", &json!({})), claim("d", "late", &json!({}))];
    let mut cluster = world(&[volume("va", "a", "1Gi"), volume("vb", "b", "1Gi")], &claims);
    let first = using(&["c"]);
    let bindings = cluster.bindings(&first, "a1");
    assert_eq!(bindings.volumes[0].0.metadata.name.as_deref(), Some("va"));
    cluster.assume("p", "a1", &first);
    cluster.storage.promise("p", "a1", &bindings);
    let fits = |cluster: &Cluster, claim: &str| {
        judged(cluster, &using(&[claim])).iter().map(|(_, said)| said.is_empty()).collect::<Vec<_>>()
    };
    assert_eq!(fits(&cluster, "d"), [false, true], "the volume is taken");
    assert_eq!(fits(&cluster, "c"), [true, false], "the claim will be there");
    assert_eq!(cluster.bindings(&first, "a1").awaited.len(), 1);
    cluster.unassume("p");
    assert_eq!(fits(&cluster, "d"), [true, true]);
}

#[test]
fn a_claim_for_one_pod_has_one() {
    let mode = json!({"spec": {"accessModes": ["ReadWriteOncePod"]}});
    let mut claims = [claim("c", "late", &bound("va"))];
    crate::testing::merge(&mut claims[0], &mode);
    let mut cluster = world(&[volume("va", "a", "1Gi")], &claims);
    assert_eq!(judged(&cluster, &using(&["c"]))[0].1, "");
    let holder = json!({"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    cluster.confirm("holder", "b1", &pod("holder", &holder));
    let said = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";
    assert_eq!(judged(&cluster, &using(&["c"]))[0].1, said);
    cluster.remove_pod("holder");
    assert_eq!(judged(&cluster, &using(&["c"]))[0].1, "");
}
