//! Pods with volumes of their own, which are made when they are used.

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::report;
use crate::watcher::{is_ready, time};

const LABEL: &str = "bench=claims";

fn claim(name: &str) -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
    json!({"metadata": {"name": name, "labels": {"bench": "claims"}}, "spec": spec})
}

fn container() -> Value {
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    json!({"name": "web", "image": "http-go:v1", "volumeMounts": mounts})
}

/// Deletes what was made, of which there is some, and waits until it is gone.
async fn clear<K>(api: &Api<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let which = ListParams::default().labels(LABEL);
    let delete = || async {
        api.delete_collection(&DeleteParams::default(), &which).await.map(drop).expect("all can be deleted");
    };
    time(api, LABEL, delete, |all| all.is_empty()).await;
}

fn all_claims(client: &Client) -> Api<PersistentVolumeClaim> {
    Api::default_namespaced(client.clone())
}

/// A StatefulSet, and pods made at once.
pub async fn measure(client: &Client, quick: bool) {
    let (in_set, at_once) = if quick { (3, 10) } else { (10, 100) };
    set(client, in_set).await;
    used(client, at_once).await;
}

/// A StatefulSet, whose pods come one after the other, each with a claim from its template: until all are ready.
async fn set(client: &Client, count: usize) {
    let sets: Api<StatefulSet> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let labels = json!({"bench": "claims"});
    let set: StatefulSet = serde_json::from_value(json!({
        "metadata": {"name": "set"},
        "spec": {
            "replicas": count, "serviceName": "set", "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container()]}},
            "volumeClaimTemplates": [claim("data")],
        },
    }))
    .expect("a stateful set");
    let create = || async {
        sets.create(&PostParams::default(), &set).await.expect("a stateful set can be created");
    };
    let took = time(&pods, LABEL, create, |all| all.len() == count && all.values().all(is_ready)).await;
    report(&format!("a StatefulSet of {count} with claims until all are ready"), vec![took]);
    let delete = || async {
        sets.delete("set", &DeleteParams::foreground()).await.expect("a stateful set can be deleted");
    };
    time(&pods, LABEL, delete, |all| all.is_empty()).await;
    clear(&all_claims(client)).await;
}

/// Many pods at once, without claims and with one each: until all are ready.
async fn used(client: &Client, count: usize) {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    for with_claims in [false, true] {
        let make = async |number: usize| {
            let name = format!("claim-{number}");
            let volume = if with_claims {
                let claim = serde_json::from_value(claim(&name)).expect("a claim");
                all_claims(client)
                    .create(&PostParams::default(), &claim)
                    .await
                    .expect("claims can be created");
                json!({"name": "data", "persistentVolumeClaim": {"claimName": name}})
            } else {
                json!({"name": "data", "emptyDir": {}})
            };
            let pod = json!({
                "metadata": {"name": name, "labels": {"bench": "claims"}},
                "spec": {"containers": [container()], "volumes": [volume]},
            });
            let pod = serde_json::from_value(pod).expect("a pod");
            pods.create(&PostParams::default(), &pod).await.expect("pods can be created");
        };
        let create = || async {
            futures::future::join_all((0..count).map(&make)).await;
        };
        let took = time(&pods, LABEL, create, |all| all.len() == count && all.values().all(is_ready)).await;
        let volumes = if with_claims { format!("{count} claims") } else { "no claims".to_owned() };
        report(&format!("{count} pods with {volumes} until all are ready"), vec![took]);
        clear(&pods).await;
        if with_claims {
            clear(&all_claims(client)).await;
        }
    }
}
