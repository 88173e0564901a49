//! Secrets of the type `kubernetes.io/service-account-token` hold a token of the account that they name, one without an
//! end, and go with the account. Upstream: `pkg/controller/serviceaccount/tokens_controller.go`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::account_token::{Claims, NAME, UID};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use machinery::queue::Queue;
use machinery::token_keys::SigningKey;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Outcome, Plan, Timestamp};
use crate::kit::{follow, owners};

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
        let (keys, tokens) = (queue.clone(), caches.tokens_by_account.clone());
        caches.accounts.on_change(move |change| {
            let tokens = tokens.get(&Key::of(&change.latest().metadata).to_string());
            tokens.iter().for_each(|token| keys.add(Key::of(&token.metadata)));
        });
        Self { caches: caches.clone(), key, certificate }
    }
}

/// A Secret, and the account that it is for, if that is there.
pub struct Snapshot {
    secret: Arc<Secret>,
    account: Option<Arc<ServiceAccount>>,
}

impl Controller for AccountTokens {
    type Snapshot = Snapshot;

    const NAME: &'static str = "serviceaccount_tokens_secret";

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Secret>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Snapshot> {
        let secret = self.caches.account_tokens.get(Some(&key.namespace), &key.name)?;
        if secret.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let account = self.caches.accounts.get(Some(&key.namespace), annotation(&secret, NAME)?);
        let uid = annotation(&secret, UID);
        let account = account.filter(|account| uid.is_none() || uid == account.metadata.uid.as_deref());
        Some(Snapshot { secret, account })
    }

    fn plan(&self, snapshot: &Snapshot, _now: Timestamp) -> Plan {
        plan(snapshot, self.certificate.as_deref(), &|claims| self.key.token(claims))
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

/// `namespace/name` of the account that a Secret is for.
pub fn account_key(secret: &Secret) -> Option<String> {
    annotation(secret, NAME).map(|name| Key::new(owners::namespace(&secret.metadata), name).to_string())
}

/// Gives the Secret what it lacks, with a token as `sign` makes it; looks once more for an account that is not there.
fn plan(
    Snapshot { secret, account }: &Snapshot,
    certificate: Option<&str>,
    sign: &dyn Fn(&Claims) -> anyhow::Result<String>,
) -> Plan {
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
        data.insert("ca.crt".to_owned(), ByteString(certificate.into()));
    }
    if lacks(data, "namespace") {
        data.insert("namespace".to_owned(), ByteString(namespace.into()));
    }
    if lacks(data, "token") {
        let uid = account.metadata.uid.as_deref().unwrap_or_default();
        let (secret, account) = (owners::name(&secret.metadata), owners::name(&account.metadata));
        match sign(&Claims::new(namespace, secret, account, uid)) {
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

#[cfg(test)]
mod tests;
