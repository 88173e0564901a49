//! A node of the test's own: a kubelet that can be killed, its folders, and a scripted runtime.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use machinery::cache::{Cache, Selectors};
use machinery::events::Recorder;
use machinery::tasks::Tasks;
use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::admission::Admission;
use crate::cgroups::Cgroups;
use crate::cri::scripted::{Scripted, State};
use crate::downward::NodeFacts;
use crate::eviction::{self, Evictions, Pressures};
use crate::images::Images;
use crate::kubelet::{Kubelet, Places};
use crate::pod_worker::Notes;
use crate::pod_workers::PodWorkers;
use crate::referenced_objects::Objects;
use crate::security::Sysctls;
use crate::sources::{Folder, Sources};
use crate::stats::Stats;
use crate::volumes::{Rounds, Volumes};

/// How far the clock moves each time that the test looks, and how long that takes.
const STEP: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(4));
/// How often the test looks.
const LOOKS: usize = 4000;

/// An API server for all nodes of a test.
pub(super) struct Lab {
    pub(super) client: kube::Client,
    kubeconfig: PathBuf,
    nodes: AtomicUsize,
    _dir: tempfile::TempDir,
    _tasks: Tasks,
}

impl Lab {
    /// One that is ready.
    pub(super) async fn new() -> Self {
        let (tasks, dir) = (Tasks::new(), tempfile::tempdir().expect("the test has a temporary folder"));
        let kubeconfig = lab::api_server(dir.path(), &tasks).await;
        let client = machinery::client::connect(&kubeconfig, "test").expect("the file is well-formed");
        assert!(machinery::client::wait_ready(&client, &tasks.token()).await);
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "default"}})).expect("it is well-formed");
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        accounts.create(&PostParams::default(), &account).await.expect("nobody else makes it");
        Self { client, kubeconfig, nodes: AtomicUsize::new(0), _dir: dir, _tasks: tasks }
    }
}

/// A node.
pub(super) struct Node {
    name: String,
    pods: Api<Pod>,
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
    pub(super) runtime: Scripted,
    kubelet: Option<tokio::runtime::Runtime>,
}

impl Node {
    /// A node whose kubelet does not run yet.
    pub(super) async fn new(lab: &Lab) -> Self {
        let dir = tempfile::tempdir().expect("the test has a temporary folder");
        // A machine with one controller, which only keeps folders.
        for made in ["root", "logs", "cgroup/pids", "manifests"] {
            std::fs::create_dir_all(dir.path().join(made)).expect("there is room");
        }
        Self {
            name: format!("node-{}", lab.nodes.fetch_add(1, Ordering::SeqCst)),
            pods: Api::namespaced(lab.client.clone(), "default"),
            kubeconfig: lab.kubeconfig.clone(),
            dir,
            runtime: Scripted::new(),
            kubelet: None,
        }
    }

    /// Starts its kubelet.
    pub(super) async fn boot(&mut self) {
        self.boot_with(true).await;
    }

    /// Starts its kubelet while there is no API server.
    pub(super) async fn boot_alone(&mut self) {
        self.boot_with(false).await;
    }

    async fn boot_with(&mut self, with_api: bool) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("there is room for a thread");
        let (dir, kubeconfig, name) =
            (self.dir.path().to_owned(), self.kubeconfig.clone(), self.name.clone());
        let kubeconfig = if with_api { kubeconfig } else { nowhere(&dir) };
        let scripted = self.runtime.clone();
        let booted = runtime.spawn(async move {
            let client = machinery::client::connect(&kubeconfig, "kubelet").expect("it is well-formed");
            let manifests = Folder::new(dir.join("manifests"), &name, scripted.clock.clone());
            let kubelet = kubelet(&dir, client, name, &scripted);
            let workers = PodWorkers::new(kubelet.clone());
            workers.start_folder(manifests).await.expect("the runtime answers");
            if with_api {
                workers.start_api().await.expect("the runtime answers");
                kubelet.tasks.spawn_loop("limits", eviction::keep_limits(kubelet.clone(), workers));
            }
        });
        booted.await.expect("it does not panic");
        self.kubelet = Some(runtime);
    }

    /// Kills its kubelet where it stands.
    pub(super) fn kill(&mut self) {
        self.kubelet.take().expect("it runs").shutdown_background();
    }

    fn called(&self, name: &str) -> String {
        format!("{name}-{}", self.name)
    }

    /// Makes a pod for the node, which the API keeps until its finalizers are taken off.
    pub(super) async fn create(&self, name: &str, spec: &Value, finalizers: &[&str]) {
        let mut spec = spec.clone();
        spec["nodeName"] = json!(self.name);
        spec["automountServiceAccountToken"] = json!(false);
        if spec["volumes"].is_null() {
            spec["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        }
        spec["containers"][0]["volumeMounts"] = json!([{"name": "scratch", "mountPath": "/scratch"}]);
        let pod = json!({"metadata": {"name": self.called(name), "finalizers": finalizers}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("the test's pod is well-formed");
        self.pods.create(&PostParams::default(), &pod).await.expect("the API takes it");
    }

    /// Writes a file into the volume that a pod was made with.
    pub(super) async fn scribble(&self, pod: &str, file: &str, bytes: &[u8]) {
        let uid = self.until(pod, |pod| pod["metadata"]["uid"].as_str().map(str::to_owned)).await;
        let volumes = format!("root/pods/{uid}/volumes/kubernetes.io~empty-dir/scratch");
        let volume = self.dir.path().join(volumes);
        self.until_runtime(|_| volume.is_dir()).await;
        std::fs::write(volume.join(file), bytes).expect("there is room");
    }

    /// Puts a manifest into its folder.
    pub(super) fn put(&self, file: &str, text: &str) {
        // As tools do it that want no half of a file to be seen.
        let (hidden, shown) = (self.manifest(&format!(".{file}")), self.manifest(file));
        std::fs::write(&hidden, text).and_then(|()| std::fs::rename(hidden, shown)).expect("there is room");
    }

    /// Where a manifest lies.
    pub(super) fn manifest(&self, file: &str) -> PathBuf {
        self.dir.path().join("manifests").join(file)
    }

    /// Waits until something is so of what the runtime holds.
    pub(super) async fn until_runtime(&self, so: impl Fn(&State) -> bool) {
        for _ in 0..LOOKS {
            if so(&self.runtime.state()) {
                return;
            }
            self.tick().await;
        }
        panic!("the runtime did {:?}", self.runtime.state().calls);
    }

    /// Asks for other resources of a pod's container.
    pub(super) async fn resize(&self, name: &str, container: &str, resources: Value) {
        let containers = json!([{"name": container, "resources": resources}]);
        let patch = Patch::Strategic(json!({"spec": {"containers": containers}}));
        let (name, params) = (self.called(name), PatchParams::default());
        let patched = self.pods.patch_subresource("resize", &name, &params, &patch).await;
        patched.expect("the API takes it");
    }

    /// Asks for a pod's end.
    pub(super) async fn delete(&self, name: &str) {
        match self.pods.delete(&self.called(name), &DeleteParams::default()).await {
            Err(kube::Error::Api(answer)) if answer.code == 404 => {}
            other => drop(other.expect("the API answers")),
        }
    }

    async fn get(&self, name: &str) -> Option<Value> {
        let pod = self.pods.get_opt(&self.called(name)).await.expect("the API answers")?;
        Some(serde_json::to_value(pod).expect("a pod is JSON"))
    }

    /// Takes a pod's finalizers off; answers the status that it had.
    pub(super) async fn release(&self, name: &str) -> Value {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let patched = self.pods.patch(&self.called(name), &PatchParams::default(), &patch).await;
        let pod = serde_json::to_value(patched.expect("the API has it")).expect("a pod is JSON");
        pod["status"].clone()
    }

    async fn tick(&self) {
        self.runtime.clock.advance(STEP.0);
        tokio::time::sleep(STEP.1).await;
    }

    /// Waits until something is so of a pod.
    pub(super) async fn until<T>(&self, name: &str, so: impl Fn(&Value) -> Option<T>) -> T {
        let mut last = Value::Null;
        for _ in 0..LOOKS {
            last = self.get(name).await.unwrap_or_default();
            if let Some(found) = so(&last) {
                return found;
            }
            self.tick().await;
        }
        panic!("{name} stays {}, the runtime did {:?}", last["status"], self.runtime.state().calls);
    }

    /// Waits until nothing is left of any pod.
    pub(super) async fn until_clean(&self) {
        let mut left = Vec::new();
        for _ in 0..LOOKS {
            left = self.left();
            if left.is_empty() {
                return;
            }
            self.tick().await;
        }
        panic!("left: {left:?} after {:?}", self.runtime.state().calls);
    }

    /// Lets time go by for all but the clock.
    pub(super) async fn hold(&self) {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }

    /// Waits until so many pods have a cgroup.
    pub(super) async fn until_cgroups(&self, count: usize) {
        for _ in 0..LOOKS {
            if self.left().iter().filter(|left| left.starts_with("cgroup/")).count() == count {
                return;
            }
            self.tick().await;
        }
        panic!("left: {:?}, not {count} cgroups", self.left());
    }

    /// What is left of pods in the runtime, in folders and in cgroups.
    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = {
            let state = self.runtime.state();
            state.sandboxes.keys().chain(state.containers.keys()).cloned().collect()
        };
        for (dir, of_pod) in [("root/pods", ""), ("logs", ""), ("cgroup/pids/kubepods/besteffort", "pod")] {
            let entries = std::fs::read_dir(self.dir.path().join(dir)).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            left.extend(names.filter(|name| name.starts_with(of_pod)).map(|name| format!("{dir}/{name}")));
        }
        left
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(kubelet) = self.kubelet.take() {
            kubelet.shutdown_background();
        }
    }
}

/// A file that leads to no API server.
fn nowhere(dir: &Path) -> PathBuf {
    let path = dir.join("nowhere");
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "none",
        "clusters": [{"name": "none", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "none", "user": {"token": "none"}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}]});
    std::fs::write(&path, config.to_string()).expect("there is room");
    path
}

fn kubelet(dir: &Path, client: kube::Client, node_name: String, scripted: &Scripted) -> Arc<Kubelet> {
    let tasks = Tasks::new();
    let mine = Selectors::fields(format!("spec.nodeName={node_name}"));
    let objects = Arc::new(Objects::new(client.clone()));
    let runtime = scripted.client();
    let root = dir.join("root");
    let allocatable = json!({"cpu": "4", "memory": "4Gi", "pods": "110", "ephemeral-storage": "4Gi"});
    let node = json!({"metadata": {"name": node_name, "uid": "of-the-node"}, "status": {"allocatable": allocatable}});
    let node = serde_json::from_value(node).expect("it is well-formed");
    Arc::new(Kubelet {
        places: Places {
            root: root.clone(),
            logs: dir.join("logs"),
            cgroup_root: "/".to_owned(),
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            resolver: "/dev/null".into(),
        },
        memory: 1 << 30,
        pod_processes: None,
        images: Arc::new(Images::new(runtime.clone(), objects.clone())),
        runtime,
        runtime_name: "scripted".to_owned(),
        volumes: Volumes::new(&root, objects.clone()),
        rounds: Rounds::begin(std::time::Instant::now()),
        objects,
        cgroups: Cgroups::V1(dir.join("cgroup")),
        stats: Stats::default(),
        sysctls: Sysctls::new("6.18.0", &[]).expect("there are no others"),
        admission: Admission::default(),
        evictions: Evictions::default(),
        pressures: Pressures::default(),
        pods: Sources::new(Cache::start(Api::all(client.clone()), mine, &tasks)),
        services: Cache::fixed([]),
        nodes: Cache::fixed([node]),
        notes: Notes::new(Recorder::new(client.clone(), "kubelet", Some(&node_name), &tasks)),
        node_name,
        node: RwLock::new(NodeFacts { host_ips: vec!["192.0.2.1".to_owned()], ..NodeFacts::default() }),
        client,
        clock: scripted.clock.clone(),
        tasks,
    })
}
