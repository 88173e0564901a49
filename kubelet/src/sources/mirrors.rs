//! Mirrors: what the API shows of static pods. One that is missing, stale or being deleted is made anew; one of a pod
//! that has ended goes. Corresponds to upstream's `mirror_client.go` and `tryReconcileMirrorPods`.

use std::sync::Arc;
use std::time::Duration;

use api::pod::MIRROR;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use machinery::cache::revision_of;
use tokio::sync::Notify;

use super::mirrored;
use crate::kubelet::Kubelet;
use crate::pod_spec;

/// When to try again what the API refused.
const AGAIN: Duration = Duration::from_secs(5);

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete a mirror.
    Delete(Arc<Pod>),
    /// Make the mirror of a static pod.
    Create(Arc<Pod>),
}

/// What to do, from the pods of the folder, those of the API, and whether a pod of some uid has not ended yet.
pub fn plan(folder: &[Arc<Pod>], api: &[Arc<Pod>], runs: impl Fn(&str) -> bool) -> Vec<Action> {
    let mirrors = || api.iter().filter_map(|pod| Some((pod, mirrored(pod)?)));
    let name = |pod: &Pod| (pod_spec::namespace(pod).to_owned(), pod_spec::name(pod).to_owned());
    let wanted = |mirror: &Pod, uid: &str| {
        let of = folder.iter().find(|pod| pod_spec::uid(pod) == uid);
        let present = of.is_some_and(|pod| name(pod) == name(mirror));
        // What is being deleted would go as soon as nothing holds it.
        (present && mirror.metadata.deletion_timestamp.is_none()) || (of.is_none() && runs(uid))
    };
    let stale = mirrors().filter(|(mirror, uid)| !wanted(mirror, uid));
    let delete = stale.map(|(mirror, _)| Action::Delete(Arc::clone(mirror)));
    let missing = folder.iter().filter(|pod| !api.iter().any(|other| name(other) == name(pod)));
    delete.chain(missing.map(|pod| Action::Create(Arc::clone(pod)))).collect()
}

/// The mirror of a static pod, which belongs to its node.
pub fn mirror(pod: &Pod, node: &str, node_uid: &str) -> Pod {
    let mut mirror = Pod::clone(pod);
    mirror.status = None;
    let metadata = &mut mirror.metadata;
    let hash = metadata.uid.take().unwrap_or_default();
    metadata.annotations.get_or_insert_default().insert(MIRROR.to_owned(), hash);
    metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.to_owned(),
        uid: node_uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    }]);
    mirror
}

/// Keeps the mirrors, woken when something of them or of static pods has changed.
pub async fn keep(kubelet: Arc<Kubelet>, changed: Arc<Notify>, runs: impl Fn(&str) -> bool) {
    loop {
        let actions = plan(&kubelet.pods.of_folder(), &kubelet.pods.api.list(), &runs);
        let mut failed = false;
        for action in actions {
            let done = carry_out(&kubelet, &action).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "Cannot keep the mirror of a static pod yet");
                false
            });
            failed |= !done;
        }
        let again = async {
            match failed {
                true => kubelet.clock.sleep_until(kubelet.clock.instant() + AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed.notified() => {}
            () = again => {}
        }
    }
}

/// Does one thing; answers whether that could be done already.
async fn carry_out(kubelet: &Kubelet, action: &Action) -> Result<bool, kube::Error> {
    let api = |pod: &Pod| Api::<Pod>::namespaced(kubelet.client.clone(), pod_spec::namespace(pod));
    match action {
        Action::Delete(mirror) => {
            let uid = mirror.metadata.uid.clone();
            let params = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(Preconditions { uid, resource_version: None }),
                ..DeleteParams::default()
            };
            match api(mirror).delete(pod_spec::name(mirror), &params).await {
                Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => Ok(true),
                other => other.map(|_| true),
            }
        }
        Action::Create(pod) => {
            let Some(node) = kubelet.nodes.get(None, &kubelet.node_name) else { return Ok(false) };
            let uid = node.metadata.uid.as_deref().unwrap_or_default();
            let mirror = mirror(pod, &kubelet.node_name, uid);
            let made = api(&mirror).create(&PostParams::default(), &mirror).await?;
            if let Some(revision) = revision_of(&made) {
                kubelet.pods.api.wait_for(revision).await;
            }
            Ok(true)
        }
    }
}
