//! Endpoints and slices follow the readiness of pods.

use k8s_openapi::api::core::v1::{Endpoints, Event, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use lab::{Lab, deployment};

/// Ready and not ready addresses by Endpoints, and by slices.
async fn counts(cluster: &Lab) -> [(usize, usize); 2] {
    let endpoints = cluster.api::<Endpoints>().get_opt("web").await.unwrap();
    let subsets = endpoints.and_then(|endpoints| endpoints.subsets).unwrap_or_default();
    let legacy = subsets.iter().fold((0, 0), |(ready, not), subset| {
        let count = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
        (ready + count(&subset.addresses), not + count(&subset.not_ready_addresses))
    });
    let slices = cluster.api::<EndpointSlice>();
    let slices =
        slices.list(&ListParams::default().labels("kubernetes.io/service-name=web")).await.unwrap().items;
    let all: Vec<bool> = slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .map(|endpoint| endpoint.conditions.as_ref().unwrap().ready == Some(true))
        .collect();
    let ready = all.iter().filter(|ready| **ready).count();
    [legacy, (ready, all.len() - ready)]
}

async fn until_counts(cluster: &Lab, expected: [(usize, usize); 2]) {
    cluster
        .until(async || {
            let found = counts(cluster).await;
            if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
        })
        .await;
}

fn service(selector: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": selector, "ports": [{"port": 80}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_follow_pods() {
    let cluster = Lab::start().await;
    cluster.node("n1").await;
    cluster.hollow_kubelet("n1");
    cluster.create(service(json!({"app": "web"}))).await;
    cluster.create(deployment("web", 3, "v1")).await;
    until_counts(&cluster, [(3, 0), (3, 0)]).await;
    let pods = cluster.api::<Pod>();
    let name = pods.list(&ListParams::default()).await.unwrap().items[0].metadata.name.clone().unwrap();
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}});
    pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(unready)).await.unwrap();
    until_counts(&cluster, [(2, 1), (2, 1)]).await;
    cluster.delete(("v1", "Service"), "web", &DeleteParams::background()).await;
    until_counts(&cluster, [(0, 0), (0, 0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hand_made_endpoints_reach_those_who_read_slices() {
    let cluster = Lab::start().await;
    let subsets = json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 80}]}]);
    cluster
        .create(
            json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets}),
        )
        .await;
    cluster.create(service(json!(null))).await;
    until_counts(&cluster, [(2, 0), (2, 0)]).await;
    cluster.delete(("v1", "Service"), "web", &DeleteParams::background()).await;
    until_counts(&cluster, [(0, 0), (0, 0)]).await;
}

/// The addresses of a service's load balancer.
async fn balanced(cluster: &Lab, name: &str) -> Vec<String> {
    let service = cluster.api::<Service>().get(name).await.unwrap();
    let ingress = service.status.unwrap().load_balancer.unwrap().ingress.unwrap_or_default();
    ingress.into_iter().filter_map(|ingress| ingress.ip).collect()
}

async fn until_balanced(cluster: &Lab, name: &str, expected: &[&str]) {
    cluster
        .until(async || {
            let found = balanced(cluster, name).await;
            if found == expected { Ok(()) } else { Err(format!("{name}: {found:?}, not {expected:?}")) }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load_balancers_share_a_pool() {
    let cluster = Lab::bare().await;
    cluster.controllers(&["--load-balancer-ip-range", "192.0.2.128/30"]).await;
    cluster.node("n1").await;
    let create = async |name: &str, more: Value| {
        let mut spec = json!({"type": "LoadBalancer", "ports": [{"port": 80}]});
        more.as_object().unwrap().iter().for_each(|(key, value)| spec[key] = value.clone());
        let meta = json!({"name": name});
        cluster.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})).await;
    };
    create("other", json!({"loadBalancerClass": "example.org/other"})).await;
    create("one", json!({"loadBalancerIP": "192.0.2.130"})).await;
    until_balanced(&cluster, "one", &["192.0.2.130"]).await;
    create("two", json!({})).await;
    until_balanced(&cluster, "two", &["192.0.2.129"]).await;
    create("three", json!({})).await;
    let events = cluster.api::<Event>();
    let reasons = async |name: &str| {
        let all = events.list(&ListParams::default()).await.unwrap().items;
        let of = all.into_iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        of.map(|event| event.reason.unwrap_or_default()).collect::<Vec<_>>()
    };
    let told = async |name: &str, reason: &str| {
        cluster
            .until(async || {
                let reasons = reasons(name).await;
                if reasons.iter().any(|told| told == reason) { Ok(()) } else { Err(format!("{reasons:?}")) }
            })
            .await;
    };
    told("three", "SyncLoadBalancerFailed").await;
    assert!(balanced(&cluster, "three").await.is_empty());

    // What one gives back, the next one gets, whether it is deleted or needs none any more.
    let patch = json!({"spec": {"type": "ClusterIP"}});
    let services = cluster.api::<Service>();
    services.patch("one", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    until_balanced(&cluster, "three", &["192.0.2.130"]).await;
    until_balanced(&cluster, "one", &[]).await;
    told("one", "DeletedLoadBalancer").await;
    let one = services.get("one").await.unwrap().metadata;
    assert_eq!((one.finalizers, one.annotations), (None, None));
    create("four", json!({})).await;
    cluster.delete(("v1", "Service"), "two", &DeleteParams::background()).await;
    until_balanced(&cluster, "four", &["192.0.2.129"]).await;
    let other = services.get("other").await.unwrap();
    assert_eq!((balanced(&cluster, "other").await.len(), other.metadata.finalizers), (0, None));
    assert_eq!(reasons("other").await, Vec::<String>::new());
}
