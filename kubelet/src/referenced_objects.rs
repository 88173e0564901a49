//! ConfigMaps, Secrets and tokens that pods on this node refer to, asked of the API when they are needed.
//! Many pods refer to the same object, so a refresh may take an answer that is a few seconds old; the
//! start of a pod never does. Corresponds to upstream's `configmap`, `secret`, `token` and `clustertrustbundle` managers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::certificates::v1beta1::ClusterTrustBundle;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret, ServiceAccount,
};
use kube::Api;
use kube::api::{ListParams, PostParams};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::pod_spec;

/// How old an answer a refresh may take.
pub const REFRESH_AGE: Duration = Duration::from_secs(20);

type Answers<K> = Mutex<HashMap<(String, String), (Instant, Option<Arc<K>>)>>;

/// A token and when to replace it.
#[derive(Clone)]
struct Token {
    text: String,
    replace_at: Timestamp,
}

/// Which token: pod uid, audience, lifetime.
type TokenKey = (String, String, i64);

/// The objects that pods refer to.
pub struct Objects {
    client: kube::Client,
    config_maps: Answers<ConfigMap>,
    secrets: Answers<Secret>,
    tokens: Mutex<HashMap<TokenKey, Token>>,
    trust_bundles: Answers<ClusterTrustBundle>,
    /// Held while they are asked for: who waits takes the answer to a question that came after its own.
    all_trust_bundles: AsyncMutex<Option<(Instant, Vec<Arc<ClusterTrustBundle>>)>>,
}

impl Objects {
    /// Objects asked of this client.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            config_maps: Mutex::default(),
            secrets: Mutex::default(),
            tokens: Mutex::default(),
            trust_bundles: Mutex::default(),
            all_trust_bundles: AsyncMutex::default(),
        }
    }

    /// A ConfigMap, none when there is none.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
        age: Duration,
    ) -> Result<Option<Arc<ConfigMap>>, kube::Error> {
        let api = Api::namespaced(self.client.clone(), namespace);
        ask(&self.config_maps, api, namespace, name, age).await
    }

    /// A Secret, none when there is none.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
        age: Duration,
    ) -> Result<Option<Arc<Secret>>, kube::Error> {
        let api = Api::namespaced(self.client.clone(), namespace);
        ask(&self.secrets, api, namespace, name, age).await
    }

    /// A bundle of certificates, none when there is none.
    pub async fn trust_bundle(
        &self,
        name: &str,
        age: Duration,
    ) -> Result<Option<Arc<ClusterTrustBundle>>, kube::Error> {
        ask(&self.trust_bundles, Api::all(self.client.clone()), "", name, age).await
    }

    /// All bundles of certificates. Of many who ask at once two ask the API; the others take the second's answer.
    pub async fn all_trust_bundles(
        &self,
        age: Duration,
    ) -> Result<Vec<Arc<ClusterTrustBundle>>, kube::Error> {
        let called = Instant::now();
        let mut known = self.all_trust_bundles.lock().await;
        if let Some((_, all)) = known.as_ref().filter(|(asked, _)| *asked + age >= called) {
            return Ok(all.clone());
        }
        let asked = Instant::now();
        let all = Api::all(self.client.clone()).list(&ListParams::default()).await?;
        let all: Vec<_> = all.items.into_iter().map(Arc::new).collect();
        *known = Some((asked, all.clone()));
        Ok(all)
    }

    /// A claim, none when there is none.
    pub async fn claim(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<PersistentVolumeClaim>, kube::Error> {
        Api::namespaced(self.client.clone(), namespace).get_opt(name).await
    }

    /// A volume, none when there is none.
    pub async fn volume(&self, name: &str) -> Result<Option<PersistentVolume>, kube::Error> {
        Api::all(self.client.clone()).get_opt(name).await
    }

    /// A token of the pod's service account, bound to the pod; replaced when four fifths of its life are over.
    pub async fn token(
        &self,
        pod: &Pod,
        audience: Option<&str>,
        seconds: i64,
    ) -> Result<String, kube::Error> {
        let key = (pod_spec::uid(pod).to_owned(), audience.unwrap_or_default().to_owned(), seconds);
        let now = machinery::clock::now();
        if let Some(token) = self.tokens.lock().get(&key).filter(|token| token.replace_at > now) {
            return Ok(token.text.clone());
        }
        let account = pod_spec::spec(pod).service_account_name.as_deref().unwrap_or("default");
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: audience.map(|audience| vec![audience.to_owned()]),
                expiration_seconds: Some(seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(pod_spec::name(pod).to_owned()),
                    uid: Some(pod_spec::uid(pod).to_owned()),
                }),
            }),
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), pod_spec::namespace(pod));
        let answer = api.create_token_request(account, &PostParams::default(), &request).await?;
        let status = answer.status.unwrap_or_default();
        let ends = status.expiration_timestamp.map_or(now, |time| time.0);
        let life = ends.duration_since(now);
        let token = Token { text: status.token.unwrap_or_default(), replace_at: now + life * 4 / 5 };
        self.tokens.lock().insert(key, token.clone());
        Ok(token.text)
    }

    /// Forgets what belonged to a pod, and answers that are too old to be of use.
    pub fn forget(&self, pod_uid: &str) {
        self.tokens.lock().retain(|(uid, _, _), _| uid != pod_uid);
        self.config_maps.lock().retain(|_, (asked, _)| asked.elapsed() < REFRESH_AGE);
        self.secrets.lock().retain(|_, (asked, _)| asked.elapsed() < REFRESH_AGE);
        self.trust_bundles.lock().retain(|_, (asked, _)| asked.elapsed() < REFRESH_AGE);
        // Whoever holds it has a new answer soon.
        if let Ok(mut all) = self.all_trust_bundles.try_lock() {
            all.take_if(|(asked, _)| asked.elapsed() >= REFRESH_AGE);
        }
    }
}

async fn ask<K>(
    answers: &Answers<K>,
    api: Api<K>,
    namespace: &str,
    name: &str,
    age: Duration,
) -> Result<Option<Arc<K>>, kube::Error>
where
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let key = (namespace.to_owned(), name.to_owned());
    if let Some((asked, answer)) = answers.lock().get(&key).filter(|(asked, _)| asked.elapsed() < age) {
        tracing::trace!(?asked, name, "Took a recent answer");
        return Ok(answer.clone());
    }
    let answer = api.get_opt(name).await?.map(Arc::new);
    answers.lock().insert(key, (Instant::now(), answer.clone()));
    Ok(answer)
}

#[cfg(test)]
mod tests;
