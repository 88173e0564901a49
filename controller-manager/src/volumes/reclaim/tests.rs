use serde_json::{Value, json};

use super::*;

fn volume(policy: &str, more: Value) -> PersistentVolume {
    let mut volume = json!({
        "metadata": {"name": "v", "uid": "vu", "resourceVersion": "1"},
        "spec": {
            "persistentVolumeReclaimPolicy": policy,
            "capacity": {"storage": "5Gi"},
            "claimRef": {"name": "data", "namespace": "n", "uid": "u1"},
        },
        "status": {"phase": "Released"},
    });
    json_patch::merge(&mut volume, &more);
    serde_json::from_value(volume).expect("a volume")
}

fn host(path: &str) -> Value {
    json!({"spec": {"hostPath": {"path": path}}})
}

fn ours(policy: &str) -> PersistentVolume {
    let metadata = json!({
        "annotations": {"pv.kubernetes.io/provisioned-by": "skiff.local/volumes"},
        "finalizers": ["kubernetes.io/pv-protection", FINALIZER],
    });
    volume(policy, json!({"metadata": metadata, "spec": {"local": {"path": "/n/volumes/pvc-u1"}}}))
}

const FINALIZER: &str = provision::FINALIZER;

fn remover(after: &str, status: Value) -> Pod {
    let pod = json!({
        "metadata": {
            "name": "recycler-for-v", "namespace": "default", "annotations": {AFTER: after},
            "creationTimestamp": "1970-01-01T00:00:00Z",
        },
        "status": status,
    });
    serde_json::from_value(pod).expect("a pod")
}

/// The actions, each in a few words.
fn words(plan: &Plan) -> Vec<String> {
    let word = |action: &Action| match action {
        Action::Create { bodies, namespace, .. } => {
            let spec = &bodies[0]["spec"];
            format!(
                "create {namespace}/{} {} on {}",
                bodies[0]["metadata"]["name"].as_str().unwrap_or_default(),
                spec["containers"][0]["command"],
                spec["volumes"][0]["hostPath"]["path"],
            )
        }
        Action::Delete { kind, name, .. } => format!("delete {} {name}", kind.kind),
        Action::Patch { subresource, body, .. } => {
            let changed = if subresource.is_some() { &body["status"] } else { &body["spec"] };
            let of_meta = &body["metadata"]["finalizers"];
            let changed = if changed.is_null() { of_meta } else { changed };
            format!("patch {changed}")
        }
        Action::Tell { reason, message, .. } => format!("{reason}: {message}"),
        other => format!("{other:?}"),
    };
    plan.actions.iter().map(word).collect()
}

fn released<'a>(volume: &'a PersistentVolume, pod: Option<&'a Pod>) -> Released<'a> {
    Released { volume, users: &[], pod, image: Some("helper"), has_node: true }
}

fn planned(volume: &PersistentVolume, pod: Option<&Pod>) -> Vec<String> {
    words(&plan(&released(volume, pod), Timestamp::UNIX_EPOCH))
}

#[test]
fn what_is_retained_stays() {
    assert!(planned(&volume("Retain", host("/data")), None).is_empty());
}

#[test]
fn a_recycled_volume_is_emptied_and_free_again() {
    let volume = volume("Recycle", host("/data"));
    let scrub = r#"create default/recycler-for-v ["/pause","scrub","/scrub"] on "/data""#;
    assert_eq!(planned(&volume, None), [scrub]);
    assert!(planned(&volume, Some(&remover("u1", json!({"phase": "Running"})))).is_empty());
    let done = [
        "delete Pod recycler-for-v",
        r#"patch {"claimRef":{"uid":null}}"#,
        "VolumeRecycled: Volume recycled",
    ];
    assert_eq!(planned(&volume, Some(&remover("u1", json!({"phase": "Succeeded"})))), done);
    // A pod that is left from an earlier claim says nothing about this one.
    let earlier = remover("u0", json!({"phase": "Succeeded"}));
    assert_eq!(planned(&volume, Some(&earlier)), ["delete Pod recycler-for-v"]);
}

#[test]
fn a_volume_in_use_is_not_emptied() {
    let volume = volume("Recycle", host("/data"));
    let users = ["n/p".to_owned()];
    let plan = plan(&Released { users: &users, ..released(&volume, None) }, Timestamp::UNIX_EPOCH);
    assert_eq!(words(&plan), ["VolumeFailedRecycle: Volume is used by pods: n/p"]);
    assert!(plan.requeue_after.is_some());
}

#[test]
fn a_failure_is_said_once_and_tried_again_after_a_while() {
    let volume = volume("Recycle", host("/data"));
    let pod = remover("u1", json!({"phase": "Failed", "message": "disk on fire"}));
    let plan_at = |volume: &PersistentVolume, second: i64| {
        plan(&released(volume, Some(&pod)), Timestamp::from_second(second).expect("a time"))
    };
    let why = "Recycle failed: failed to recycle volume: disk on fire";
    let first = plan_at(&volume, 1);
    let said =
        [format!(r#"patch {{"message":"{why}","phase":"Failed"}}"#), format!("VolumeFailedRecycle: {why}")];
    assert_eq!(words(&first), said);
    assert_eq!(first.requeue_after, Some(Duration::from_secs(14)));
    let mut failed = volume.clone();
    failed.status.get_or_insert_default().phase = Some("Failed".to_owned());
    assert_eq!(words(&plan_at(&failed, 20)), ["delete Pod recycler-for-v"]);
}

#[test]
fn deleting_depends_on_what_the_volume_is() {
    let failed = |why: &str| {
        let shown = serde_json::to_string(&json!({"message": why, "phase": "Failed"})).expect("JSON");
        vec![format!("patch {shown}"), format!("VolumeFailedDelete: {why}")]
    };
    let matched = "error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched";
    let unknown = "error getting deleter volume plugin for volume \"v\": no volume plugin matched";
    let cases = [
        (
            host("/tmp/x"),
            vec![r#"create kube-system/recycler-for-v ["/pause","scrub","/scrub","x"] on "/tmp""#.to_owned()],
        ),
        (host("/data/x"), failed("host_path deleter only supports /tmp/.+ but received provided /data/x")),
        (host("/tmp/"), failed("host_path deleter only supports /tmp/.+ but received provided /tmp/")),
        (host("/tmp/."), failed("host_path deleter only supports /tmp/.+ but received provided /tmp/.")),
        (host("/tmpx/y"), failed("host_path deleter only supports /tmp/.+ but received provided /tmpx/y")),
        (json!({"spec": {"local": {"path": "/tmp/x"}}}), failed(matched)),
        (json!({"spec": {"nfs": {"path": "/tmp/x", "server": "s"}}}), failed(matched)),
        (json!({"spec": {"gcePersistentDisk": {"pdName": "d"}}}), failed(unknown)),
        (json!({"spec": {"csi": {"driver": "d", "volumeHandle": "h"}}}), vec![]),
        (
            json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": "rancher.io/local-path"}}, "spec": {"hostPath": {"path": "/x"}}}),
            vec![],
        ),
    ];
    for (more, expected) in cases {
        assert_eq!(planned(&volume("Delete", more), None), expected);
    }
}

#[test]
fn a_volume_made_to_order_goes_with_its_data() {
    let made = ours("Delete");
    let scrub = r#"create kube-system/recycler-for-v ["/pause","scrub","/scrub","pvc-u1"] on "/n/volumes""#;
    assert_eq!(planned(&made, None), [scrub]);
    let done = remover("u1", json!({"phase": "Succeeded"}));
    assert_eq!(planned(&made, Some(&done)), ["delete PersistentVolume v"]);
    let mut going = made.clone();
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::UNIX_EPOCH));
    assert_eq!(planned(&going, Some(&done)), [r#"patch ["kubernetes.io/pv-protection"]"#]);
    // Nobody can remove what lay on a node that is gone.
    let gone = plan(&Released { has_node: false, ..released(&made, None) }, Timestamp::UNIX_EPOCH);
    assert_eq!(words(&gone), ["delete PersistentVolume v"]);
    assert!(planned(&ours("Retain"), None).is_empty());
}

#[test]
fn without_an_image_the_volume_says_what_is_missing() {
    let volume = volume("Recycle", host("/data"));
    let plan = plan(&Released { image: None, ..released(&volume, None) }, Timestamp::UNIX_EPOCH);
    let [_, Action::Tell { message, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
    assert!(message.ends_with("--volume-helper-image is not given"), "{message}");
}

#[test]
fn unbinding_leaves_what_the_user_has_chosen() {
    let kept = unbound(&volume("Recycle", host("/data")));
    let claim = claim_ref(&kept).expect("kept for the name");
    assert_eq!((claim.name.as_deref(), claim.uid.as_deref()), (Some("data"), None));
    let chosen = json!({"metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}}});
    let freed = unbound(&volume("Recycle", chosen));
    assert!(claim_ref(&freed).is_none() && freed.metadata.annotations.is_none());
}
