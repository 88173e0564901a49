//! What those who join read of the cluster before they trust anybody, the ConfigMap `cluster-info`, is signed with each
//! bootstrap token that may: who has the token knows that it is true. Upstream: `bootstrapsigner`.

use std::sync::Arc;

use api::bootstrap_token::{BootstrapToken, SIGNS};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use machinery::queue::Queue;
use ring::hmac;
use serde_json::json;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp};
use crate::kit::follow;

/// Namespace and name of the ConfigMap.
pub const CLUSTER_INFO: (&str, &str) = ("kube-public", "cluster-info");
/// What is signed.
const SIGNED: &str = "kubeconfig";
/// Keys of signatures begin so, and end with the token's id.
const SIGNATURE: &str = "jws-kubeconfig-";

/// The controller.
pub struct ClusterInfo {
    caches: Caches,
}

impl ClusterInfo {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.cluster_info, queue);
        let keys = queue.clone();
        caches.system_secrets.on_change(move |_| keys.add(Key::new(CLUSTER_INFO.0, CLUSTER_INFO.1)));
        Self { caches: caches.clone() }
    }
}

impl Controller for ClusterInfo {
    type Snapshot = (Arc<ConfigMap>, Vec<Arc<Secret>>);

    const NAME: &'static str = "bootstrap_signer_queue";

    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<ConfigMap>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Self::Snapshot> {
        let info = self.caches.cluster_info.get(Some(&key.namespace), &key.name)?;
        Some((info, self.caches.system_secrets.list()))
    }

    fn plan(&self, (info, secrets): &Self::Snapshot, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        plan.actions.extend(Action::change(&**info, &signed(info, secrets, now), None));
        plan
    }
}

/// The same with the signatures that it should have.
fn signed(info: &ConfigMap, secrets: &[Arc<Secret>], now: Timestamp) -> ConfigMap {
    let mut info = info.clone();
    let data = info.data.get_or_insert_default();
    let Some(content) = data.get(SIGNED).cloned() else { return info };
    data.retain(|key, _| !key.starts_with(SIGNATURE));
    let tokens = secrets.iter().filter_map(|secret| BootstrapToken::of(secret)?.good_for(SIGNS, now));
    data.extend(tokens.map(|(id, secret)| (format!("{SIGNATURE}{id}"), signature(&content, &id, &secret))));
    info
}

/// A JWS whose content is left out.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

#[cfg(test)]
mod tests;
