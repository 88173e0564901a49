//! Kubelets that only claim that pods run.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use machinery::clock::Clock;
use serde_json::{Value, json};

use super::Lab;

impl Lab {
    /// Starts to claim that pods without a node are bound to `node` and run; pods
    /// whose image is `broken` never do, those of `done` and `fails` come to their end. Ends deletions at once.
    pub fn hollow_kubelet(&self, node: &str) {
        let (client, node, clock) = (self.client.clone(), node.to_owned(), self.clock.clone());
        self.tasks.spawn_scoped("hollow kubelet", async move {
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
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": ready,
            "startTime": "2026-01-01T00:00:00Z"}});
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
