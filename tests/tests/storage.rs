//! Volumes that outlive pods: what is written there is found again, whatever becomes of pod, kubelet and runtime, and
//! nothing is deleted through them. What keeps a pod from its volume stands in its events.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use e2e::{Cluster, busybox, eventually};
use nix::sys::signal::Signal;

/// A volume with its claim.
const CLAIMED: &str = r#"
apiVersion: v1
kind: PersistentVolume
metadata: {name: NAME-pv}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: manual
  claimRef: {namespace: default, name: NAME-pvc}
  SOURCE
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: NAME-pvc}
spec:
  resources: {requests: {storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: manual
  volumeName: NAME-pv
"#;

/// A pod that plays a database: it counts its starts in its volume.
const DATABASE: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, VOLUME}]
  containers:
  - name: mongo
    image: busybox:v1
    command: [sh, -c, 'echo started >> /data/db/starts; busybox wc -l < /data/db/starts; busybox sleep 1000']
    volumeMounts: [{name: data, mountPath: /data/db}]
"#;

struct Storage {
    cluster: Cluster,
    disks: tempfile::TempDir,
}

impl Storage {
    fn disk(&self, name: &str) -> PathBuf {
        self.disks.path().join(name)
    }

    /// Makes a volume and a claim that are bound to each other.
    fn claimed(&self, name: &str, source: &str) {
        self.cluster.apply(&CLAIMED.replace("NAME", name).replace("SOURCE", source));
        let bound = "--for=jsonpath={.status.phase}=Bound --timeout=30s";
        self.cluster.kubectl(&format!("wait {bound} pvc/{name}-pvc")).ok();
    }

    fn run_claimed(&self, name: &str) {
        let volume = format!("persistentVolumeClaim: {{claimName: {name}-pvc}}");
        self.cluster.apply(&DATABASE.replace("NAME", name).replace("VOLUME", &volume));
    }

    /// Runs a pod of which no scheduler says first that it cannot run; answers with the kubelet's words about it.
    fn refused(&self, name: &str, volume: &str, words: &str) {
        let here = format!("spec:\n  nodeName: {}", self.cluster.node(1));
        let pod = DATABASE.replace("NAME", name).replace("VOLUME", volume).replace("spec:", &here);
        self.cluster.apply(&pod);
        self.tells(name, "FailedMount", words);
        self.gone(name);
    }

    fn tells(&self, pod: &str, reason: &str, words: &str) {
        let line = format!("get events --field-selector involvedObject.name={pod},reason={reason}");
        eventually(&format!("{pod}: {words}"), 60, || {
            let told = self.cluster.kubectl(&format!("{line} -o jsonpath={{.items[*].message}}")).out;
            if told.contains(words) { Ok(()) } else { Err(told) }
        });
    }

    fn answers(&self, pod: &str, starts: usize) {
        eventually(&format!("{pod} has started {starts} times on its data"), 60, || {
            let log = self.cluster.kubectl(&format!("logs {pod}"));
            if log.out.trim() == starts.to_string() { Ok(()) } else { Err(format!("{}{}", log.out, log.err)) }
        });
    }

    fn gone(&self, pod: &str) {
        self.cluster.kubectl(&format!("delete pod {pod} --timeout=60s")).ok();
    }

    /// Where something of a disk is mounted for pods.
    fn mounts(&self) -> Vec<String> {
        let all = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = all.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned);
        let root = self.cluster.root().display().to_string();
        points.filter(|path| path.starts_with(&root) && path.contains("local-volume")).collect()
    }
}

fn starts(disk: &Path) -> usize {
    std::fs::read_to_string(disk.join("starts")).unwrap_or_default().lines().count()
}

/// Data on a path of the node outlives the pod; until the path is there, an event says what is missing.
fn a_database_on_a_host_path(storage: &Storage) {
    let disk = storage.disk("mongodb");
    storage.claimed("mongodb", &format!("hostPath: {{path: {}, type: Directory}}", disk.display()));
    storage.run_claimed("mongodb");
    let words = format!("hostPath type check failed: {} is not a directory", disk.display());
    storage.tells(
        "mongodb",
        "FailedMount",
        &format!("MountVolume.SetUp failed for volume \"mongodb-pv\" : {words}"),
    );
    std::fs::create_dir(&disk).unwrap();
    storage.answers("mongodb", 1);
    storage.gone("mongodb");
    assert_eq!(starts(&disk), 1);
    storage.run_claimed("mongodb");
    storage.answers("mongodb", 2);
    storage.gone("mongodb");
}

/// Kubelet and runtime may die, and the pod may vanish meanwhile: its data stays, its mounts do not.
fn a_database_on_a_local_disk(storage: &Storage) {
    let cluster = &storage.cluster;
    let (disk, node) = (storage.disk("local"), cluster.node(1));
    let here = format!("matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}]");
    let affinity = format!("nodeAffinity: {{required: {{nodeSelectorTerms: [{{{here}}}]}}}}");
    storage.claimed("local", &format!("local: {{path: {}}}\n  {affinity}", disk.display()));
    storage.run_claimed("local");
    let words = format!("path \"{}\" does not exist", disk.display());
    let step = "MountVolume.NewMounter initialization failed for volume \"local-pv\"";
    storage.tells("local", "FailedMount", &format!("{step} : {words}"));
    std::fs::create_dir(&disk).unwrap();
    storage.answers("local", 1);
    assert_eq!(storage.mounts().len(), 1);
    for daemon in ["kubelet", "containerd"] {
        cluster.kill(&format!("{node}/{daemon}"));
        eventually("the pod's program still writes there", 60, || {
            let written = cluster.kubectl("exec local -- busybox touch /data/db/alive");
            if written.code == 0 { Ok(()) } else { Err(written.err) }
        });
        assert!(disk.join("alive").exists());
        std::fs::remove_file(disk.join("alive")).unwrap();
    }
    // A program of the node works in the volume: the pod stays until it has gone.
    let used = std::fs::File::open(Path::new(&storage.mounts()[0]).join("starts")).unwrap();
    cluster.kubectl("delete pod local --wait=false").ok();
    storage.tells(
        "local",
        "FailedUnMount",
        "UnmountVolume.TearDown failed for volume \"local-pv\" : unmount failed",
    );
    assert!(cluster.json("get pod local")["metadata"]["deletionTimestamp"].is_string());
    drop(used);
    cluster.kubectl("wait --for=delete pod/local --timeout=60s").ok();
    assert_eq!((storage.mounts(), starts(&disk)), (Vec::new(), 1));

    storage.run_claimed("local");
    storage.answers("local", 2);
    let kubelet = format!("{node}/kubelet");
    cluster.signal(&kubelet, Signal::SIGSTOP);
    cluster.kubectl("delete pod local --force --grace-period=0").ok();
    cluster.kill(&kubelet);
    eventually("a kubelet that never saw the pod's end unmounts its volume", 60, || match storage.mounts() {
        mounts if mounts.is_empty() => Ok(()),
        mounts => Err(mounts.join(", ")),
    });
    assert_eq!(starts(&disk), 2);
}

/// What this node cannot mount says in the pod's events what it would take.
fn what_is_missing_is_told(storage: &Storage) {
    storage.claimed("disk", "gcePersistentDisk: {pdName: mongodb, fsType: ext4}");
    storage.refused(
        "disk",
        "persistentVolumeClaim: {claimName: disk-pvc}",
        "driver name pd.csi.storage.gke.io not found in the list of registered CSI drivers",
    );
    storage.refused(
        "nobody",
        "persistentVolumeClaim: {claimName: nobody-pvc}",
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process \
         volumes=[data]: error processing PVC default/nobody-pvc: failed to fetch PVC from API server: \
         persistentvolumeclaims \"nobody-pvc\" not found",
    );
    storage.refused(
        "socket",
        "hostPath: {path: /etc/hosts, type: Socket}",
        "MountVolume.SetUp failed for volume \"data\" : hostPath type check failed: /etc/hosts is not a socket file",
    );
    if !std::fs::read_to_string("/proc/filesystems").unwrap().contains("nfs") {
        storage.refused(
            "remote",
            "nfs: {server: 127.0.0.1, path: /exports}",
            "mount failed: 127.0.0.1:/exports: the kernel of this node has no NFS client",
        );
    }
}

#[test]
fn storage() {
    let storage = Storage { cluster: Cluster::up("storage", 1), disks: tempfile::tempdir().unwrap() };
    storage.cluster.load(&[busybox("busybox:v1")]);
    a_database_on_a_host_path(&storage);
    a_database_on_a_local_disk(&storage);
    what_is_missing_is_told(&storage);
}
