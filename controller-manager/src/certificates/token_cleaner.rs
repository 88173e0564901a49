//! Bootstrap tokens go when they have run out. Upstream: `pkg/controller/bootstrap`.

use std::sync::Arc;

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
        let alive = secret.metadata.deletion_timestamp.is_none();
        (alive && secret.type_.as_deref() == Some("bootstrap.kubernetes.io/token")).then_some(secret)
    }

    fn plan(&self, secret: &Arc<Secret>, now: Timestamp) -> Plan {
        plan(secret, now)
    }
}

fn plan(secret: &Secret, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let end = secret.data.as_ref().and_then(|data| data.get("expiration")).filter(|end| !end.0.is_empty());
    let Some(end) = end else { return plan };
    // What is no time is in the past.
    match std::str::from_utf8(&end.0).ok().and_then(|end| end.parse().ok()) {
        Some(end) if end > now => plan.look_again_at(end, now),
        _ => plan.actions.push(Action::delete(secret, None)),
    }
    plan
}

#[cfg(test)]
mod tests;
