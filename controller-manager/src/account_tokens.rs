//! Secrets of the type `kubernetes.io/service-account-token` hold a token of the account that they name, one without an
//! end, and go with the account. Upstream: `pkg/controller/serviceaccount/tokens_controller.go`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use machinery::queue::Queue;
use machinery::token_keys::SigningKey;
use serde_json::{Value, json};

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners};

/// The type of these Secrets.
pub const TYPE: &str = "kubernetes.io/service-account-token";
/// Who issues their tokens.
const ISSUER: &str = "kubernetes/serviceaccount";
/// The annotations that say whose token it is.
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
/// When to try again where the system had no randomness.
const AGAIN: Duration = Duration::from_secs(1);

/// What fills them.
pub struct AccountTokens {
    caches: Caches,
    key: Arc<SigningKey>,
    certificate: Option<Arc<str>>,
}

impl AccountTokens {
    /// Sees to it that changes reach the queue.
    pub fn new(
        caches: &Caches,
        queue: &Queue<Key>,
        key: Arc<SigningKey>,
        certificate: Option<Arc<str>>,
    ) -> Self {
        follow::objects(&caches.account_tokens, queue);
        let (keys, tokens) = (queue.clone(), caches.account_tokens.clone());
        caches.accounts.on_change(move |change| {
            let account = &change.latest().metadata;
            let tokens = tokens.list_in(owners::namespace(account));
            let its = tokens.iter().filter(|token| account_of(token) == Some(owners::name(account)));
            its.for_each(|token| keys.add(Key::of(&token.metadata)));
        });
        Self { caches: caches.clone(), key, certificate }
    }
}

/// A Secret, the account that it is for, if that is there, and what it may be given.
pub struct Snapshot {
    secret: Arc<Secret>,
    account: Option<Arc<ServiceAccount>>,
    key: Arc<SigningKey>,
    certificate: Option<Arc<str>>,
}

impl Controller for AccountTokens {
    type Snapshot = Snapshot;

    const NAME: &'static str = "serviceaccount_tokens_secret";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Secret>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let secret = self.caches.account_tokens.get(Some(&key.namespace), &key.name)?;
        let account = self.caches.accounts.get(Some(&key.namespace), account_of(&secret)?);
        let wanted = annotation(&secret, UID);
        let is_it =
            |account: &Arc<ServiceAccount>| wanted.is_none() || wanted == account.metadata.uid.as_deref();
        let account = account.filter(is_it);
        let going = secret.metadata.deletion_timestamp.is_some();
        (!going).then(|| Snapshot {
            account,
            secret,
            key: self.key.clone(),
            certificate: self.certificate.clone(),
        })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        plan(snapshot)
    }

    fn report(&self, snapshot: &Snapshot, outcome: &Outcome, _now: Timestamp) -> Plan {
        let gone = snapshot.account.is_none() && outcome.failure.is_none();
        Plan {
            actions: gone.then(|| Action::delete(&*snapshot.secret, None)).into_iter().collect(),
            ..Plan::default()
        }
    }
}

fn annotation<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    let value = secret.metadata.annotations.as_ref()?.get(name)?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}

fn account_of(secret: &Secret) -> Option<&str> {
    annotation(secret, NAME)
}

/// Gives the Secret what it lacks; looks once more for an account that is not there.
fn plan(Snapshot { secret, account, key, certificate }: &Snapshot) -> Plan {
    let namespace = owners::namespace(&secret.metadata);
    let Some(account) = account else {
        let catch_up =
            Action::CatchUp { kind: Kind::of::<ServiceAccount>(), namespace: namespace.to_owned() };
        return Plan { actions: vec![catch_up], ..Plan::default() };
    };
    let mut filled = (**secret).clone();
    let data = filled.data.get_or_insert_default();
    let lacks =
        |data: &BTreeMap<String, ByteString>, entry| data.get(entry).is_none_or(|held| held.0.is_empty());
    if let Some(certificate) = certificate {
        data.insert("ca.crt".to_owned(), ByteString(certificate.as_bytes().to_vec()));
    }
    if lacks(data, "namespace") {
        data.insert("namespace".to_owned(), ByteString(namespace.into()));
    }
    if lacks(data, "token") {
        match key.token(&claims(secret, account)) {
            Ok(token) => drop(data.insert("token".to_owned(), ByteString(token.into_bytes()))),
            Err(error) => {
                tracing::error!(%error, "cannot sign a token");
                return Plan { requeue_after: Some(AGAIN), ..Plan::default() };
            }
        }
    }
    if filled != **secret {
        let uid = account.metadata.uid.clone().unwrap_or_default();
        filled.metadata.annotations.get_or_insert_default().insert(UID.to_owned(), uid);
    }
    Plan { actions: Action::change(&**secret, &filled, None).into_iter().collect(), ..Plan::default() }
}

fn claims(secret: &Secret, account: &ServiceAccount) -> Value {
    let (namespace, name) = (owners::namespace(&account.metadata), owners::name(&account.metadata));
    json!({
        "iss": ISSUER,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": owners::name(&secret.metadata),
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": account.metadata.uid,
    })
}

#[cfg(test)]
mod tests;
