//! Volumes, claims and storage classes as a person meets them: bound, made to order, grown, given back.

#![allow(missing_docs, clippy::unwrap_used)]

use e2e::{Cluster, busybox, eventually};
use serde_json::Value;

/// A claim that names no class.
const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: mongodb-pvc}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
";

const HURRY: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: hurry}
provisioner: skiff.local/volumes
volumeBindingMode: Immediate
allowVolumeExpansion: true
";

/// A pod that keeps its words in a volume.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: mongodb}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: mongodb
    image: busybox:v1
    command: [sh, -c, 'busybox touch /data/db/words; cat /data/db/words; echo kept >> /data/db/words; busybox sleep 1000']
    volumeMounts: [{name: data, mountPath: /data/db}]
  volumes:
  - {name: data, persistentVolumeClaim: {claimName: mongodb-pvc}}
";

const STATEFUL_SET: &str = "
apiVersion: v1
kind: Service
metadata: {name: nginx}
spec: {clusterIP: None, selector: {app: nginx}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: nginx
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: busybox:v1
        command: [sh, -c, 'hostname >> /www/index; busybox sleep 1000']
        volumeMounts: [{name: www, mountPath: /www}]
  volumeClaimTemplates:
  - metadata: {name: www}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
";

/// A volume that an administrator made, of the class `manual`.
fn volume(name: &str, path: &str, policy: &str) -> String {
    format!(
        "
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {name}}}
spec:
  capacity: {{storage: 5Mi}}
  accessModes: [ReadWriteOnce]
  storageClassName: manual
  persistentVolumeReclaimPolicy: {policy}
  hostPath: {{path: {path}}}
"
    )
}

fn claim(name: &str, class: &str, size: &str) -> String {
    let named = format!("{{name: {name}}}");
    let spec = format!("spec:\n  storageClassName: {class}\n");
    CLAIM.replace("{name: mongodb-pvc}", &named).replace("spec:\n", &spec).replace("1Mi", size)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn phase(cluster: &Cluster, what: &str, wanted: &str) -> Value {
    eventually(&format!("{what} is {wanted}"), 60, || {
        let object = cluster.json(&format!("get {what}"));
        if text(&object, "/status/phase") == wanted { Ok(object) } else { Err(object.to_string()) }
    })
}

fn told(cluster: &Cluster, about: &str, reason: &str, words: &str) {
    let line = format!("get events -A --field-selector involvedObject.name={about},reason={reason}");
    eventually(&format!("{about} says {reason}"), 60, || {
        let events = cluster.items(&line);
        let said: Vec<&str> = events.iter().map(|event| text(event, "/message")).collect();
        if said.contains(&words) { Ok(()) } else { Err(format!("{said:?}")) }
    });
}

fn gone(cluster: &Cluster, what: &str) {
    eventually(&format!("{what} is gone"), 60, || {
        let answer = cluster.kubectl(&format!("get {what}"));
        if answer.err.contains("NotFound") { Ok(()) } else { Err(answer.out) }
    });
}

fn log(cluster: &Cluster, pod: &str) -> String {
    cluster.kubectl(&format!("wait pod/{pod} --for=condition=Ready --timeout=60s")).ok();
    cluster.kubectl(&format!("logs {pod}")).ok()
}

/// A claim alone is enough: the default class makes its volume on the node that the pod is put on.
fn the_default_class_waits_for_a_pod(cluster: &Cluster) {
    let classes = cluster.kubectl("get storageclass").ok();
    let words: Vec<&str> = classes.lines().last().unwrap().split_whitespace().collect();
    let expected = ["standard", "(default)", "skiff.local/volumes", "Delete", "WaitForFirstConsumer", "true"];
    assert_eq!(words[..6], expected);
    cluster.apply(CLAIM);
    let words = "waiting for first consumer to be created before binding";
    told(cluster, "mongodb-pvc", "WaitForFirstConsumer", words);
    data_outlive_the_pod(cluster);
}

/// A class that does not wait has a node chosen for it.
fn a_class_may_be_in_a_hurry(cluster: &Cluster) {
    cluster.apply(HURRY);
    cluster.apply(&claim("mongodb-pvc", "hurry", "1Mi"));
    data_outlive_the_pod(cluster);
}

fn data_outlive_the_pod(cluster: &Cluster) {
    cluster.apply(POD);
    assert_eq!(log(cluster, "mongodb"), "");
    let bound = phase(cluster, "pvc mongodb-pvc", "Bound");
    let name = text(&bound, "/spec/volumeName").to_owned();
    let words = format!("Successfully provisioned volume {name} using skiff.local/volumes");
    told(cluster, "mongodb-pvc", "ProvisioningSucceeded", &words);
    cluster.kubectl("delete pod mongodb").ok();
    cluster.apply(POD);
    assert_eq!(log(cluster, "mongodb"), "kept\n");

    cluster
        .kubectl_words(&[
            "patch",
            "pvc",
            "mongodb-pvc",
            "-p",
            r#"{"spec":{"resources":{"requests":{"storage":"2Mi"}}}}"#,
        ])
        .ok();
    eventually("the claim has grown", 60, || {
        let claim = cluster.json("get pvc mongodb-pvc");
        if text(&claim, "/status/capacity/storage") == "2Mi" {
            Ok(())
        } else {
            Err(claim["status"].to_string())
        }
    });
    let smaller = cluster
        .kubectl_words(&[
            "patch",
            "pvc",
            "mongodb-pvc",
            "-p",
            r#"{"spec":{"resources":{"requests":{"storage":"1Mi"}}}}"#,
        ])
        .refused();
    assert!(smaller.contains("field can not be less than status.capacity"), "{smaller}");

    let volume = cluster.json(&format!("get pv {name}"));
    let folder = std::path::PathBuf::from(text(&volume, "/spec/local/path"));
    assert!(folder.starts_with(cluster.root()) && folder.join("words").is_file(), "{folder:?}");
    cluster.kubectl("delete pod mongodb").ok();
    cluster.kubectl("delete pvc mongodb-pvc").ok();
    gone(cluster, &format!("pv {name}"));
    assert!(!folder.exists());
}

fn names_find_their_volumes_again(cluster: &Cluster) {
    cluster.apply(STATEFUL_SET);
    let index = |pod: &str, lines: &str| {
        eventually(&format!("{pod} has its page"), 90, || {
            let page = cluster.kubectl(&format!("exec {pod} -- cat /www/index"));
            if page.out == lines { Ok(()) } else { Err(format!("{}{}", page.out, page.err)) }
        });
    };
    index("web-0", "web-0\n");
    index("web-1", "web-1\n");
    cluster.kubectl("scale statefulset web --replicas=1").ok();
    gone(cluster, "pod web-1");
    assert_eq!(cluster.items("get pvc").len(), 2);
    cluster.kubectl("scale statefulset web --replicas=2").ok();
    index("web-1", "web-1\nweb-1\n");
    index("web-0", "web-0\n");
    cluster.kubectl("delete statefulset web").ok();
    gone(cluster, "pod web-0");
    gone(cluster, "pod web-1");
    cluster.kubectl("delete pvc www-web-0 www-web-1").ok();
    eventually("volumes go with their claims", 60, || match cluster.items("get pv").len() {
        0 => Ok(()),
        left => Err(format!("{left} volumes")),
    });
}

fn what_cannot_be_is_said(cluster: &Cluster) {
    cluster.apply(&volume("small", "/tmp/none", "Retain"));
    cluster.apply(&claim("large", "manual", "1Gi"));
    told(cluster, "large", "ProvisioningFailed", r#"storageclass.storage.k8s.io "manual" not found"#);
    cluster.apply(&claim("classless", "\"\"", "1Gi"));
    let words = "no persistent volumes available for this claim and no storage class is set";
    told(cluster, "classless", "FailedBinding", words);
    phase(cluster, "pvc large", "Pending");
    cluster.apply(&claim("fits", "manual", "1Mi"));
    phase(cluster, "pvc fits", "Bound");
    let larger = cluster
        .kubectl_words(&[
            "patch",
            "pvc",
            "fits",
            "-p",
            r#"{"spec":{"resources":{"requests":{"storage":"9Mi"}}}}"#,
        ])
        .refused();
    let words = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    assert!(larger.contains(words), "{larger}");
    cluster.kubectl("delete pvc large classless fits").ok();
    cluster.kubectl("delete pv small").ok();
}

fn a_policy_is_what_it_is_when_the_claim_goes(cluster: &Cluster) {
    let folder = cluster.root().join("recycled");
    std::fs::create_dir_all(folder.join("deep/er")).unwrap();
    std::fs::write(folder.join("deep/er/file"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", folder.join("out")).unwrap();
    cluster.apply(&volume("shared", folder.to_str().unwrap(), "Retain"));
    cluster.apply(&claim("first", "manual", "1Mi"));
    phase(cluster, "pvc first", "Bound");
    cluster.kubectl("delete pvc first").ok();
    let kept = phase(cluster, "pv shared", "Released");
    assert_eq!(text(&kept, "/spec/claimRef/name"), "first");
    assert!(folder.join("deep/er/file").exists());
    let policy = |policy: &str| {
        let patch = format!(r#"{{"spec":{{"persistentVolumeReclaimPolicy":"{policy}"}}}}"#);
        cluster.kubectl_words(&["patch", "pv", "shared", "-p", &patch]).ok();
    };
    policy("Recycle");
    let free = phase(cluster, "pv shared", "Available");
    assert!(free["spec"].get("claimRef").is_none(), "{free}");
    told(cluster, "shared", "VolumeRecycled", "Volume recycled");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    assert!(std::path::Path::new("/etc/passwd").exists());
    gone(cluster, "pod recycler-for-shared");

    cluster.apply(&claim("second", "manual", "1Mi"));
    phase(cluster, "pvc second", "Bound");
    policy("Delete");
    cluster.kubectl("delete pvc second").ok();
    gone(cluster, "pv shared");
    assert!(!folder.exists());
}

#[test]
fn storage_classes() {
    let cluster = Cluster::up("classes", 2);
    cluster.load(&[busybox("busybox:v1")]);
    what_cannot_be_is_said(&cluster);
    a_policy_is_what_it_is_when_the_claim_goes(&cluster);
    a_class_may_be_in_a_hurry(&cluster);
    the_default_class_waits_for_a_pod(&cluster);
    names_find_their_volumes_again(&cluster);
}
