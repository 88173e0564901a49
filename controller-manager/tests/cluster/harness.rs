//! A cluster in one process: API server, controllers, and a hollow kubelet.

use std::io::Write as _;
use std::time::{Duration, Instant};

use apiserver::args::Args as ServerArgs;
use clap::Parser as _;
use controller_manager::args::Args;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use machinery::clock::Clock;
use machinery::tasks::Tasks;
use serde_json::{Value, json};

/// How long a test waits for what it expects.
const PATIENCE: Duration = Duration::from_secs(40);

/// The cluster. Its tasks end with the test's runtime.
pub struct Cluster {
    pub client: kube::Client,
    /// The controllers' and the kubelets'.
    pub clock: Clock,
    server: Tasks,
    folder: tempfile::TempDir,
    port: u16,
}

/// A running set of controllers.
pub struct Controllers {
    tasks: Tasks,
}

impl Controllers {
    /// Stops them as SIGTERM would.
    pub async fn stop(self) {
        self.tasks.stop_and_join(Duration::from_secs(5)).await.unwrap();
    }

    /// Leaves those behind whose client reaches nobody any more.
    pub async fn abandon(self) {
        self.tasks.stop_and_join(Duration::ZERO).await.unwrap();
    }
}

impl Cluster {
    /// An API server and nothing else.
    pub async fn bare() -> Self {
        machinery::tls::use_ring();
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        let mut file = std::fs::File::create(&tokens).unwrap();
        writeln!(file, "secret,tester,1,\"system:masters\"").unwrap();
        let server = Tasks::new();
        let flags = ["apiserver", "--store", "memory", "--bind-address", "127.0.0.1", "--secure-port", "0"];
        let flags = flags.iter().map(|flag| (*flag).to_owned());
        let flags = flags.chain(["--token-auth-file".to_owned(), tokens.display().to_string()]);
        let config = ServerArgs::try_parse_from(flags).unwrap().into_config().unwrap();
        let port = apiserver::start(config, &server).await.unwrap().port();
        let cluster = Cluster { client: client(port), clock: Clock::default(), server, folder, port };
        assert!(machinery::client::wait_ready(&cluster.client, &cluster.server.token()).await);
        cluster
    }

    /// An API server with controllers, and the account that pods need.
    pub async fn start() -> Self {
        let cluster = Self::bare().await;
        cluster.controllers(&[]).await;
        let accounts = cluster.api::<ServiceAccount>();
        let account =
            async || accounts.get_opt("default").await.unwrap().ok_or_else(|| "no account yet".to_owned());
        cluster.until(account).await;
        cluster
    }

    /// Starts controllers with further flags.
    pub async fn controllers(&self, flags: &[&str]) -> Controllers {
        self.controllers_with(client(self.port), flags).await
    }

    /// Starts controllers that reach the API server by this client.
    pub async fn controllers_with(&self, client: kube::Client, flags: &[&str]) -> Controllers {
        let (config, tasks) = (self.config(flags), Tasks::new());
        controller_manager::run(config, client, &tasks).await.unwrap();
        Controllers { tasks }
    }

    /// Starts controllers that `shutdown_background` of what is returned kills wherever they are.
    pub fn mortal_controllers(&self) -> tokio::runtime::Runtime {
        let (config, port) = (self.config(&[]), self.port);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(async move {
            let tasks = Tasks::new();
            controller_manager::run(config, client(port), &tasks).await.unwrap();
            tasks.run_until_stopped().await
        });
        runtime
    }

    fn config(&self, flags: &[&str]) -> controller_manager::args::Config {
        let ca = self.folder.path().join("ca.pem");
        std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n").unwrap();
        let ca = ca.display().to_string();
        let fixed =
            ["controller-manager", "--kubeconfig", "none", "--secure-port", "0", "--leader-elect=false"];
        let fixed = fixed.into_iter().chain(["--cluster-cidr", "10.244.0.0/16", "--root-ca-file", &ca]);
        let fixed = fixed.chain(["--volume-helper-image", "helper"]);
        let mut config =
            Args::try_parse_from(fixed.chain(flags.iter().copied())).unwrap().into_config().unwrap();
        config.clock = self.clock.clone();
        config
    }

    /// Starts to claim that pods without a node are bound to `node` and run; pods
    /// whose image is `broken` never do, those of `done` and `fails` come to their end. Ends deletions at once.
    pub fn hollow_kubelet(&self, node: &str) {
        let (client, node, clock) = (self.client.clone(), node.to_owned(), self.clock.clone());
        self.server.spawn_scoped("hollow kubelet", async move {
            let mut address = 0_u16;
            loop {
                let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await;
                for pod in pods.into_iter().flatten() {
                    keep(&client, &pod, &node, &mut address, &clock).await;
                }
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
        });
    }

    /// Creates an object of any kind from JSON.
    pub async fn create(&self, object: Value) -> DynamicObject {
        let api = self.api_of(&object);
        let object = serde_json::from_value(object).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    /// Merge-patches an object, named by its kind, namespace and name.
    pub async fn patch(&self, kind: (&str, &str), name: &str, patch: Value) {
        let object = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"namespace": "default"}});
        self.api_of(&object).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Deletes an object in the way `params` say.
    pub async fn delete(&self, kind: (&str, &str), name: &str, params: &DeleteParams) {
        let object = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"namespace": "default"}});
        self.api_of(&object).delete(name, params).await.unwrap();
    }

    fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let (group, version) = match object["apiVersion"].as_str().unwrap().split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", object["apiVersion"].as_str().unwrap()),
        };
        let kind = object["kind"].as_str().unwrap();
        let plural = match kind {
            "Endpoints" => "endpoints".to_owned(),
            "StorageClass" => "storageclasses".to_owned(),
            kind => format!("{}s", kind.to_lowercase()),
        };
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
        match kind {
            "Node" | "Namespace" | "PersistentVolume" | "StorageClass" => {
                Api::all_with(self.client.clone(), &resource)
            }
            _ => {
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
        }
    }

    /// A node that says it is ready.
    pub async fn node(&self, name: &str) {
        self.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})).await;
        let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]}});
        let nodes = Api::<Node>::all(self.client.clone());
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(ready)).await.unwrap();
    }

    /// The messages of all events of a reason.
    pub async fn events(&self, reason: &str) -> Vec<String> {
        let events = Api::<k8s_openapi::api::core::v1::Event>::all(self.client.clone());
        let found = events.list(&ListParams::default()).await.unwrap().items;
        let said = found.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
        said.filter_map(|event| event.message).collect()
    }

    /// Waits until a look at the cluster says `Ok`; fails with what it said last.
    pub async fn until<T>(&self, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            match look().await {
                Ok(found) => return found,
                Err(why) => assert!(start.elapsed() < PATIENCE, "waited in vain: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A client like the controllers' own.
    pub fn new_client(&self) -> kube::Client {
        client(self.port)
    }

    /// The typed API of the namespace `default`.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// The API of namespaces.
    pub fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.client.clone())
    }
}

fn client(port: u16) -> kube::Client {
    let mut config = kube::Config::new(format!("https://127.0.0.1:{port}").parse().unwrap());
    config.accept_invalid_certs = true;
    config.auth_info.token = Some("secret".to_owned().into());
    machinery::client::from_config(&config).unwrap()
}

/// Fails are passed over: the object may be gone by now, and the next look sees it anew.
async fn keep(client: &kube::Client, pod: &Pod, node: &str, address: &mut u16, clock: &Clock) {
    let (name, namespace) =
        (pod.metadata.name.as_deref().unwrap(), pod.metadata.namespace.as_deref().unwrap());
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let spec = pod.spec.as_ref().unwrap();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let image = spec.containers[0].image.as_deref().unwrap();
    if pod.metadata.deletion_timestamp.is_some() {
        let _gone = api.delete(name, &DeleteParams::default().grace_period(0)).await;
    } else if spec.node_name.is_none() {
        let node = wanted_node(pod).unwrap_or(node);
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        let request = http::Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"))
            .header("content-type", "application/json")
            .body(binding.to_string().into_bytes())
            .unwrap();
        let _bound = client.request::<Value>(request).await;
    } else if let (Some("Running"), "done" | "fails") = (phase, image) {
        let (phase, code) = if image == "done" { ("Succeeded", 0) } else { ("Failed", 1) };
        let end = json!({"terminated": {"exitCode": code, "finishedAt": seconds(clock)}});
        let container = json!({"name": "c", "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": end});
        let conditions = json!([{"type": "Ready", "status": "False", "lastTransitionTime": seconds(clock)}]);
        let status = json!({"phase": phase, "conditions": conditions, "containerStatuses": [container]});
        let ended = json!({"status": status});
        let _ended = api.patch_status(name, &PatchParams::default(), &Patch::Merge(ended)).await;
    } else if phase == Some("Pending") && image != "broken" {
        *address += 1;
        let ip = format!("10.244.{}.{}", *address / 250, *address % 250 + 1);
        let ready =
            json!([{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let status =
            json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": ready}});
        let _running = api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

fn seconds(clock: &Clock) -> String {
    clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The node that a pod of a DaemonSet is for.
fn wanted_node(pod: &Pod) -> Option<&str> {
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    required.node_selector_terms[0].match_fields.as_ref()?[0].values.as_ref()?.first().map(String::as_str)
}

/// A Deployment of one container.
pub fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// What is called `DEPLOYMENT` in patches.
pub const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");
