//! The scheduler against the real API server on its memory store, over HTTPS. Nodes are only
//! objects; nothing runs on them.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use lab::{Daemon, Lab};
use serde_json::{Value, json};

/// A laboratory with nodes that are only objects, and its schedulers.
struct Stage {
    lab: Lab,
    schedulers: Vec<Daemon>,
}

impl std::ops::Deref for Stage {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl Stage {
    /// An API server without a scheduler.
    async fn new() -> Self {
        let stage = Self { lab: Lab::bare().await, schedulers: Vec::new() };
        stage.make::<ServiceAccount>(json!({"metadata": {"name": "default"}})).await;
        stage
    }

    async fn with_scheduler() -> Self {
        let mut stage = Self::new().await;
        stage.start_scheduler(false).await;
        stage
    }

    async fn start_scheduler(&mut self, leader_elect: bool) {
        let scheduler = self.scheduler(leader_elect).await;
        self.schedulers.push(scheduler);
    }

    async fn end(self) {
        for scheduler in self.schedulers {
            scheduler.stop().await;
        }
    }

    async fn make<K: k8s_openapi::Resource>(&self, mut object: Value) {
        object["apiVersion"] = K::API_VERSION.into();
        object["kind"] = K::KIND.into();
        self.create(object).await;
    }

    async fn ready_node(&self, name: &str, cpu: &str) {
        self.node(name).await;
        let status = json!({"status": {"allocatable": {"cpu": cpu, "pods": "110"}}});
        let nodes = self.all::<Node>();
        nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        // A controller would take the taint of a new node off.
        let ours = json!({"metadata": {"labels": {"host": name}}, "spec": {"taints": null}});
        nodes.patch(name, &PatchParams::default(), &Patch::Merge(ours)).await.unwrap();
    }

    async fn pod(&self, name: &str, spec: Value) {
        let mut pod =
            json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        self.make::<Pod>(pod).await;
    }

    /// Does to a claim what the controller that binds claims does in the end.
    async fn bind_claim(&self, claim: &str, volume: &str) {
        let bound = json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": volume}});
        let claims = self.api::<PersistentVolumeClaim>();
        claims.patch(claim, &PatchParams::default(), &Patch::Merge(bound)).await.unwrap();
    }

    async fn wait<T>(&self, what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
        self.until(async || holds().await.ok_or_else(|| what.to_owned())).await
    }

    async fn pods(&self) -> Vec<Pod> {
        self.api::<Pod>().list(&ListParams::default()).await.unwrap().items
    }

    /// How many pods each node has; those without one count under the empty name.
    async fn spread(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for pod in self.pods().await {
            *counts.entry(pod.spec.unwrap().node_name.unwrap_or_default()).or_insert(0) += 1;
        }
        counts
    }

    async fn node_of(&self, pod: &str) -> String {
        self.wait(&format!("{pod} has a node"), async || {
            self.api::<Pod>().get(pod).await.unwrap().spec?.node_name
        })
        .await
    }

    /// Status, reason and message of a pod's PodScheduled condition.
    async fn condition(&self, pod: &str) -> Option<(String, String, String)> {
        let conditions = self.api::<Pod>().get(pod).await.unwrap().status?.conditions?;
        let scheduled = conditions.into_iter().find(|condition| condition.type_ == "PodScheduled")?;
        Some((scheduled.status, scheduled.reason.unwrap_or_default(), scheduled.message.unwrap_or_default()))
    }

    async fn refusal(&self, pod: &str, words: &str) {
        let expected = Some(("False".to_owned(), "Unschedulable".to_owned(), words.to_owned()));
        self.wait(words, async || (self.condition(pod).await == expected).then_some(())).await;
    }
}

fn cpu(amount: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": amount}}}]})
}

fn nowhere(count: usize, reason: &str, outlook: &str) -> String {
    format!(
        "0/{count} nodes are available: {count} {reason}. no new claims to deallocate, preemption: \
         0/{count} nodes are available: {count} {outlook}."
    )
}

const HOPELESS: &str = "Preemption is not helpful for scheduling";
const FULL: &str = "No preemption victims found for incoming pod";

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_spread_and_told_of() {
    let lab = Stage::with_scheduler().await;
    lab.ready_node("node-1", "4").await;
    lab.ready_node("node-2", "4").await;
    for number in 0..6 {
        lab.pod(&format!("web-{number}"), cpu("100m")).await;
    }
    for number in 0..6 {
        lab.node_of(&format!("web-{number}")).await;
    }
    assert_eq!(lab.spread().await, [("node-1".to_owned(), 3), ("node-2".to_owned(), 3)].into());
    assert_eq!(lab.condition("web-0").await.unwrap().0, "True");
    let node = lab.node_of("web-0").await;
    let expected = format!("Successfully assigned default/web-0 to {node}");
    let event = lab
        .wait("an event", async || {
            let events = lab.api::<Event>().list(&ListParams::default()).await.unwrap();
            events.items.into_iter().find(|event| event.involved_object.name.as_deref() == Some("web-0"))
        })
        .await;
    assert_eq!(event.message.as_deref(), Some(expected.as_str()));
    assert_eq!((event.reason.as_deref(), event.type_.as_deref()), (Some("Scheduled"), Some("Normal")));
    assert_eq!(event.source.unwrap().component.as_deref(), Some("default-scheduler"));
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_is_placed_when_that_changes() {
    let lab = Stage::with_scheduler().await;
    lab.pod("early", json!({})).await;
    lab.refusal("early", "no nodes available to schedule pods").await;
    lab.ready_node("node-1", "1").await;
    assert_eq!(lab.node_of("early").await, "node-1");

    lab.pod("picky", json!({"nodeSelector": {"disk": "ssd"}})).await;
    lab.refusal("picky", &nowhere(1, "node(s) didn't match Pod's node affinity/selector", HOPELESS)).await;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    nodes.patch("node-1", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    assert_eq!(lab.node_of("picky").await, "node-1");

    lab.pod("first", cpu("800m")).await;
    lab.node_of("first").await;
    lab.pod("second", cpu("800m")).await;
    lab.refusal("second", &nowhere(1, "Insufficient cpu", FULL)).await;
    lab.api::<Pod>().delete("first", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(lab.node_of("second").await, "node-1");

    // A pod that asks for less from now on leaves room.
    lab.pod("waits", cpu("400m")).await;
    lab.refusal("waits", &nowhere(1, "Insufficient cpu", FULL)).await;
    let less = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "400m"}}}]}});
    let request = kube::core::Request::new("/api/v1/namespaces/default/pods");
    let request = request
        .patch_subresource("resize", "second", &PatchParams::default(), &Patch::Strategic(less))
        .expect("the request is well-formed");
    lab.client.request_text(request).await.unwrap();
    assert_eq!(lab.node_of("waits").await, "node-1");

    lab.pod("third", cpu("2")).await;
    lab.refusal("third", &nowhere(1, "Insufficient cpu", HOPELESS)).await;
    lab.ready_node("node-2", "4").await;
    assert_eq!(lab.node_of("third").await, "node-2");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_at_once_never_overfill_a_node() {
    let mut lab = Stage::new().await;
    lab.ready_node("node-1", "2").await;
    lab.ready_node("node-2", "1").await;
    for number in 0..40 {
        lab.pod(&format!("pod-{number}"), cpu("100m")).await;
    }
    lab.start_scheduler(false).await;
    let expected = [(String::new(), 10), ("node-1".to_owned(), 20), ("node-2".to_owned(), 10)].into();
    lab.wait("all that fits is placed", async || (lab.spread().await == expected).then_some(())).await;
    for pod in lab.pods().await.iter().filter(|pod| pod.spec.as_ref().unwrap().node_name.is_none()) {
        lab.refusal(pod.metadata.name.as_deref().unwrap(), &nowhere(2, "Insufficient cpu", FULL)).await;
    }
    assert_eq!(lab.spread().await, expected);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_and_other_schedulers_are_respected_and_importance_counts() {
    let mut lab = Stage::new().await;
    lab.ready_node("node-1", "1").await;
    lab.pod("gated", json!({"schedulingGates": [{"name": "example.com/wait"}]})).await;
    lab.pod("foreign", json!({"schedulerName": "mine"})).await;
    lab.pod("older", cpu("600m")).await;
    lab.make::<PriorityClass>(json!({"metadata": {"name": "urgent"}, "value": 1000})).await;
    let mut important = cpu("600m");
    important["priorityClassName"] = json!("urgent");
    lab.pod("important", important).await;
    lab.start_scheduler(false).await;
    assert_eq!(lab.node_of("important").await, "node-1");
    lab.refusal("older", &nowhere(1, "Insufficient cpu", FULL)).await;
    assert_eq!(lab.spread().await, [(String::new(), 3), ("node-1".to_owned(), 1)].into());
    let gateless = json!({"spec": {"schedulingGates": null}});
    lab.api::<Pod>().patch("gated", &PatchParams::default(), &Patch::Merge(gateless)).await.unwrap();
    assert_eq!(lab.node_of("gated").await, "node-1");
    assert_eq!(lab.condition("foreign").await, None);
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_keep_apart_wait_for_room_and_spread_ones_are_even() {
    let lab = Stage::with_scheduler().await;
    lab.ready_node("node-1", "4").await;
    lab.ready_node("node-2", "4").await;
    let make = async |app: &str, number: u32, spec: Value| {
        let mut pod = json!({"metadata": {"name": format!("{app}-{number}"), "labels": {"app": app}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        for (key, value) in spec.as_object().unwrap() {
            pod["spec"][key] = value.clone();
        }
        lab.make::<Pod>(pod).await;
    };
    let term = json!({"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "host"});
    let apart = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    for number in 1..=3 {
        make("web", number, json!({"affinity": apart})).await;
    }
    let (first, second) = (lab.node_of("web-1").await, lab.node_of("web-2").await);
    assert_ne!(first, second);
    lab.refusal("web-3", &nowhere(2, "node(s) didn't match pod anti-affinity rules", FULL)).await;
    lab.api::<Pod>().delete("web-1", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(lab.node_of("web-3").await, first);

    let only = json!({"host": "node-1"});
    let even = json!([{"maxSkew": 1, "topologyKey": "host", "whenUnsatisfiable": "DoNotSchedule",
        "nodeAffinityPolicy": "Ignore", "labelSelector": {"matchLabels": {"app": "even"}}}]);
    make("even", 1, json!({"nodeSelector": only})).await;
    lab.node_of("even-1").await;
    make("even", 2, json!({"nodeSelector": only, "topologySpreadConstraints": even})).await;
    let words = format!(
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) didn't match pod \
         topology spread constraints. no new claims to deallocate, preemption: 0/2 nodes are available: \
         1 {FULL}, 1 {HOPELESS}."
    );
    lab.refusal("even-2", &words).await;
    make("even", 3, json!({"nodeSelector": {"host": "node-2"}})).await;
    assert_eq!(lab.node_of("even-2").await, "node-1");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_important_pod_pushes_out_a_lesser_one() {
    let lab = Stage::with_scheduler().await;
    lab.ready_node("node-1", "1").await;
    lab.make::<PriorityClass>(json!({"metadata": {"name": "urgent"}, "value": 1000})).await;
    lab.pod("lesser", cpu("600m")).await;
    lab.node_of("lesser").await;
    let mut important = cpu("600m");
    lab.make::<PriorityClass>(
        json!({"metadata": {"name": "gentle"}, "value": 1000, "preemptionPolicy": "Never"}),
    )
    .await;
    important["priorityClassName"] = json!("gentle");
    lab.pod("gentle", important.clone()).await;
    let words = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: \
        not eligible due to preemptionPolicy=Never.";
    lab.refusal("gentle", words).await;
    lab.api::<Pod>().delete("gentle", &DeleteParams::default().grace_period(0)).await.unwrap();

    important["priorityClassName"] = json!("urgent");
    lab.pod("important", important).await;
    lab.refusal("important", "0/1 nodes are available: 1 Insufficient cpu.").await;
    lab.wait("it is told which node it will get", async || {
        let status = lab.api::<Pod>().get("important").await.unwrap().status?;
        (status.nominated_node_name.as_deref() == Some("node-1")).then_some(())
    })
    .await;
    let lesser = lab
        .wait("the lesser one is asked to go", async || {
            let pod = lab.api::<Pod>().get("lesser").await.unwrap();
            pod.metadata.deletion_timestamp.is_some().then_some(pod)
        })
        .await;
    let mut conditions = lesser.status.unwrap().conditions.unwrap().into_iter();
    let target = conditions.find(|condition| condition.type_ == "DisruptionTarget").unwrap();
    assert_eq!(target.reason.as_deref(), Some("PreemptionByScheduler"));
    let uid = lab.api::<Pod>().get("important").await.unwrap().metadata.uid.unwrap();
    lab.wait("an event", async || {
        let events = lab.api::<Event>().list(&ListParams::default()).await.unwrap();
        let message = format!("Preempted by pod {uid} on node node-1");
        events.items.into_iter().find(|event| {
            event.reason.as_deref() == Some("Preempted") && event.message.as_deref() == Some(&message)
        })
    })
    .await;
    // The kubelet would say that it is gone.
    lab.pod("small", cpu("300m")).await;
    lab.api::<Pod>().delete("lesser", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(lab.node_of("important").await, "node-1");
    assert_eq!(lab.node_of("small").await, "node-1");
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_bound_before_their_pod() {
    let lab = Stage::with_scheduler().await;
    lab.ready_node("node-1", "4").await;
    let using =
        |claim: &str| json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]});
    let nowhere = |reason: &str| {
        format!(
            "0/1 nodes are available: {reason}. no new claims to deallocate, preemption: 0/1 nodes are available: \
             1 {HOPELESS}."
        )
    };
    for (name, provisioner) in [("late", "kubernetes.io/no-provisioner"), ("made", "example.com/disks")] {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer"});
        lab.make::<StorageClass>(class).await;
    }
    let claim = async |name: &str, class: &str| {
        lab.make::<PersistentVolumeClaim>(
            json!({"metadata": {"name": name}, "spec": {"storageClassName": class,
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}),
        )
        .await;
    };
    lab.pod("early", using("static")).await;
    lab.refusal("early", &nowhere("persistentvolumeclaim \"static\" not found")).await;
    claim("static", "late").await;
    lab.refusal("early", &nowhere("1 node(s) didn't find available persistent volumes to bind")).await;
    let volume = json!({"metadata": {"name": "disk"}, "spec": {"storageClassName": "late",
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/disk"}}});
    lab.make::<PersistentVolume>(volume).await;
    let volumes: Api<PersistentVolume> = Api::all(lab.client.clone());
    let available = json!({"status": {"phase": "Available"}});
    volumes.patch_status("disk", &PatchParams::default(), &Patch::Merge(available)).await.unwrap();
    lab.wait("the volume is the claim's", async || {
        let spec = volumes.get("disk").await.unwrap().spec?;
        (spec.claim_ref?.name.as_deref() == Some("static")).then_some(())
    })
    .await;
    assert_eq!(lab.api::<Pod>().get("early").await.unwrap().spec.unwrap().node_name, None);
    lab.bind_claim("static", "disk").await;
    assert_eq!(lab.node_of("early").await, "node-1");

    claim("dynamic", "made").await;
    lab.pod("second", using("dynamic")).await;
    lab.wait("a provisioner is told of the node", async || {
        let annotations =
            lab.api::<PersistentVolumeClaim>().get("dynamic").await.unwrap().metadata.annotations?;
        (annotations.get("volume.kubernetes.io/selected-node")? == "node-1").then_some(())
    })
    .await;
    lab.bind_claim("dynamic", "made").await;
    let claims = lab.api::<PersistentVolumeClaim>();
    let uid = claims.get("dynamic").await.unwrap().metadata.uid;
    let made = |labels: Value| {
        json!({"metadata": {"name": "made"}, "spec": {"storageClassName": "made",
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/made"},
            "claimRef": {"namespace": "default", "name": "dynamic", "uid": uid},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": labels}]}}}})
    };
    // A claim whose volume nobody has seen is not bound; one whose volume is elsewhere is of no use.
    lab.pod("other", json!({})).await;
    lab.node_of("other").await;
    assert_eq!(lab.api::<Pod>().get("second").await.unwrap().spec.unwrap().node_name, None);
    lab.make::<PersistentVolume>(made(json!([{"key": "disk", "operator": "Exists"}]))).await;
    let elsewhere = "pv \"made\" node affinity doesn't match node \"node-1\": no matching NodeSelectorTerms";
    lab.wait("the volume cannot be reached", async || {
        lab.condition("second").await.filter(|(_, _, why)| why.contains(elsewhere))
    })
    .await;
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let label = json!({"metadata": {"labels": {"disk": "here"}}});
    nodes.patch("node-1", &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
    assert_eq!(lab.node_of("second").await, "node-1");

    claim("soon", "").await;
    lab.pod("third", using("soon")).await;
    lab.refusal("third", &nowhere("pod has unbound immediate PersistentVolumeClaims")).await;
    lab.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over() {
    let mut lab = Stage::new().await;
    lab.ready_node("node-1", "1").await;
    lab.start_scheduler(true).await;
    let leases: Api<Lease> = Api::namespaced(lab.client.clone(), "kube-system");
    let holder = async || {
        leases
            .get_opt("kube-scheduler")
            .await
            .unwrap()?
            .spec?
            .holder_identity
            .filter(|holder| !holder.is_empty())
    };
    lab.wait("the first leads", holder).await;
    lab.schedulers.remove(0).stop().await;
    assert_eq!(holder().await, None, "the lease was given back");
    lab.pod("waits", json!({})).await;
    lab.start_scheduler(true).await;
    assert_eq!(lab.node_of("waits").await, "node-1");
    let transitions = leases.get("kube-scheduler").await.unwrap().spec.unwrap().lease_transitions;
    assert_eq!(transitions, Some(1));
    lab.end().await;
}
