//! What the scheduler asks of the API server.

use std::sync::Arc;
use std::time::Duration;

use api::volume_binding::{
    BIND_COMPLETED, SELECTED_NODE, annotation, bind, has_annotation, is_bound_to, is_reachable,
};
use k8s_openapi::api::core::v1::{
    Binding, Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod,
};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use machinery::cache::{Cache, revision_of};
use machinery::events::{EventType, Recorder};
use machinery::logging::chain;
use serde_json::{Value, json};

use crate::NAME;
use crate::needs::Needs;
use crate::storage::Bindings;

/// How long claims may take to be bound.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why a pod was not bound to the node that was chosen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("binding rejected")]
    Pod(#[source] kube::Error),
    #[error("running PreBind plugin \"VolumeBinding\"")]
    Claims(#[source] ClaimError),
}

/// Why a pod's claims were not bound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("binding volumes")]
    Api(#[from] kube::Error),
    #[error("binding volumes: pod does not exist any more")]
    PodGone,
    #[error("binding volumes: persistentvolumeclaim {0:?} not found")]
    Gone(String),
    #[error("binding volumes: provisioning failed for PVC {0:?}")]
    NotProvisioned(String),
    #[error("binding volumes: ClaimRef got reset for pv {0:?}")]
    Reset(String),
    #[error(
        "binding volumes: pv {volume:?} node affinity doesn't match node {node:?}: no matching NodeSelectorTerms"
    )]
    Elsewhere { volume: String, node: String },
    #[error("binding volumes: context deadline exceeded")]
    TooLong,
}

impl BindError {
    /// Whether the pod is gone or has got a node from elsewhere.
    pub(crate) fn is_moot(&self) -> bool {
        match self {
            Self::Pod(kube::Error::Api(status)) => matches!(status.code, 404 | 409),
            Self::Pod(_) => false,
            Self::Claims(error) => matches!(error, ClaimError::PodGone),
        }
    }
}

/// Asks the API server.
pub(crate) struct Requests {
    client: kube::Client,
    recorder: Recorder,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
}

impl Requests {
    pub(crate) fn new(
        client: kube::Client,
        recorder: Recorder,
        nodes: Cache<Node>,
        pods: Cache<Pod>,
        claims: Cache<PersistentVolumeClaim>,
        volumes: Cache<PersistentVolume>,
    ) -> Arc<Self> {
        Arc::new(Self { client, recorder, nodes, pods, claims, volumes })
    }

    /// Gives a pod its node.
    pub(crate) async fn bind(&self, pod: &Pod, node: &str) -> Result<(), BindError> {
        let (namespace, name) = names(pod);
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let request = serde_json::to_vec(&binding).map_err(kube::Error::SerdeError).and_then(|body| {
            kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
                .create_subresource("binding", name, &PostParams::default(), body)
                .map_err(kube::Error::BuildRequest)
        });
        let answer = self.client.request_text(request.map_err(BindError::Pod)?).await;
        answer.map(drop).map_err(BindError::Pod)
    }

    /// Binds a pod's claims for a node, and waits until they are.
    pub(crate) async fn bind_claims(
        &self,
        pod: &Pod,
        node: &str,
        bindings: &Bindings,
    ) -> Result<(), BindError> {
        let bound = async {
            self.write_bindings(node, bindings).await?;
            self.await_bindings(pod, node, bindings).await
        };
        let bound = tokio::time::timeout(PATIENCE, bound).await;
        bound.unwrap_or(Err(ClaimError::TooLong)).map_err(BindError::Claims)
    }

    /// Says on volumes whose they are, and on claims for which node they are to get one.
    async fn write_bindings(&self, node: &str, bindings: &Bindings) -> Result<(), ClaimError> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        for (volume, claim) in &bindings.volumes {
            let name = volume.metadata.name.as_deref().unwrap_or_default();
            let written = volumes.replace(name, &PostParams::default(), &bind(volume, claim)).await?;
            if let Some(revision) = revision_of(&written) {
                self.volumes.wait_for(revision).await;
            }
        }
        for claim in &bindings.provisions {
            if annotation(&claim.metadata, SELECTED_NODE) == Some(node) {
                continue;
            }
            let (namespace, name) = claim_names(claim);
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
            let patch =
                json!({"metadata": {"uid": claim.metadata.uid, "annotations": {SELECTED_NODE: node}}});
            let written = claims.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            if let Some(revision) = revision_of(&written) {
                self.claims.wait_for(revision).await;
            }
        }
        Ok(())
    }

    async fn await_bindings(&self, pod: &Pod, node: &str, bindings: &Bindings) -> Result<(), ClaimError> {
        let (mut claims, mut pods) = (self.claims.subscribe(), self.pods.subscribe());
        let mut volumes = self.volumes.subscribe();
        loop {
            let (namespace, name) = names(pod);
            let now = self.pods.get(Some(namespace), name);
            let stays = now.is_some_and(|now| {
                now.metadata.uid == pod.metadata.uid && now.metadata.deletion_timestamp.is_none()
            });
            if !stays {
                return Err(ClaimError::PodGone);
            }
            for (volume, claim) in &bindings.volumes {
                let name = volume.metadata.name.as_deref().unwrap_or_default();
                if !self.volumes.get(None, name).is_some_and(|volume| is_bound_to(&volume, claim)) {
                    return Err(ClaimError::Reset(name.to_owned()));
                }
            }
            let mut all = true;
            for claim in bindings.claims() {
                all &= self.is_bound(claim, node, bindings.provisions.contains(claim))?;
            }
            if all {
                return Ok(());
            }
            tokio::select! {
                () = claims.changed() => {}
                () = volumes.changed() => {}
                () = pods.changed() => {}
            }
        }
    }

    fn is_bound(&self, claim: &PersistentVolumeClaim, node: &str, made: bool) -> Result<bool, ClaimError> {
        let (namespace, name) = claim_names(claim);
        let now = self.claims.get(Some(namespace), name);
        let Some(now) = now.filter(|now| now.metadata.uid == claim.metadata.uid) else {
            return Err(ClaimError::Gone(name.to_owned()));
        };
        let named = now.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let volume = named.and_then(|named| self.volumes.get(None, named));
        if let Some(volume) = volume.filter(|volume| is_bound_to(volume, &now)) {
            let at = self.nodes.get(None, node);
            let labels = at.and_then(|node| node.metadata.labels.clone()).unwrap_or_default();
            if !is_reachable(&volume, &labels) {
                let volume = named.unwrap_or_default().to_owned();
                return Err(ClaimError::Elsewhere { volume, node: node.to_owned() });
            }
            if has_annotation(&now.metadata, BIND_COMPLETED) {
                return Ok(true);
            }
        }
        // A provisioner that cannot make the volume takes the node away again.
        if made && annotation(&now.metadata, SELECTED_NODE) != Some(node) {
            return Err(ClaimError::NotProvisioned(name.to_owned()));
        }
        Ok(false)
    }

    /// Makes a pod leave its node for another; says whether it does, or had done so already.
    pub(crate) async fn evict(&self, victim: &Needs, preemptor: &str, node: &str) -> bool {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace);
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": format!("{NAME}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": machinery::clock::now().round(jiff::Unit::Second).unwrap_or_default(),
        });
        let patch = json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}});
        let options = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(victim.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        let evicted = async {
            pods.patch_status(&victim.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
            pods.delete(&victim.name, &options).await
        };
        match evicted.await {
            Ok(_) => {
                let about = ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    namespace: Some(victim.namespace.clone()),
                    name: Some(victim.name.clone()),
                    uid: Some(victim.uid.clone()),
                    ..ObjectReference::default()
                };
                let message = format!("Preempted by pod {preemptor} on node {node}");
                self.recorder.event_at(about, EventType::Normal, "Preempted", message);
                true
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
            Err(error) => {
                tracing::warn!(pod = victim.name, error = chain(&error), "Cannot make a pod leave its node");
                false
            }
        }
    }

    /// Writes what is new of a pod's status.
    pub(crate) async fn patch_status(&self, pod: &Pod, status: Value) {
        let (namespace, name) = names(pod);
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        if let Err(error) = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await {
            tracing::warn!(pod = full_name(pod), error = chain(&error), "Cannot say why the pod has no node");
        }
    }
}

fn names(pod: &Pod) -> (&str, &str) {
    (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default())
}

fn claim_names(claim: &PersistentVolumeClaim) -> (&str, &str) {
    let meta = &claim.metadata;
    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

pub(crate) fn full_name(pod: &Pod) -> String {
    let (namespace, name) = names(pod);
    format!("{namespace}/{name}")
}
