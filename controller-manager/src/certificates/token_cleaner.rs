//! Bootstrap tokens go when they have run out. Upstream: `pkg/controller/bootstrap`.

use std::sync::Arc;

use api::bootstrap_token::BootstrapToken;
use k8s_openapi::api::core::v1::Secret;
use machinery::queue::Queue;

use crate::caches::Caches;
use crate::frame::{Action, Controller, Key, Kind, Plan, Timestamp};
use crate::kit::follow;

/// The controller.
pub struct TokenCleaner {
    caches: Caches,
}

impl TokenCleaner {
    /// Sees to it that changes reach the queue.
    pub fn new(caches: &Caches, queue: &Queue<Key>) -> Self {
        follow::objects(&caches.system_secrets, queue);
        Self { caches: caches.clone() }
    }
}

impl Controller for TokenCleaner {
    type Snapshot = Arc<Secret>;

    const NAME: &'static str = "token_cleaner";

    const WORKERS: usize = 1;

    fn writes() -> Vec<Kind> {
        vec![Kind::of::<Secret>()]
    }

    fn observe(&self, key: &Key, _now: Timestamp) -> Option<Arc<Secret>> {
        let secret = self.caches.system_secrets.get(Some(&key.namespace), &key.name)?;
        secret.metadata.deletion_timestamp.is_none().then_some(secret)
    }

    fn plan(&self, secret: &Arc<Secret>, now: Timestamp) -> Plan {
        plan(secret, now)
    }
}

fn plan(secret: &Secret, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    match BootstrapToken::of(secret).and_then(BootstrapToken::end) {
        None => {}
        Some(end) if end > now => plan.look_again_at(end, now),
        Some(_) => plan.actions.push(Action::delete(secret, None)),
    }
    plan
}

#[cfg(test)]
mod tests;
