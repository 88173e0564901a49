//! Charges a namespace's ResourceQuotas for an object, in the transaction that writes it: however many write on however
//! many servers, `status.used` is never less than what there is, and a crash leaves nothing to repair. That holds from
//! when a server's cache shows a quota: what was let through before, and what is deleted, the controller counts
//! (`resource_quota` in `controller-manager`).
//!
//! Counterpart of upstream's admission plugin ResourceQuota, which charges before it writes.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
};

use api::{
    object::ObjectExt as _,
    quota::{Counted, charge},
    status::Status,
};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::ResourceQuota;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{
    admission::RESOURCE_QUOTA,
    commit::{Rider, Write},
    context::Ctx,
    resources::RESOURCE_QUOTAS,
    store::{Op, Revision},
    watch_cache::Scope,
};

/// How many namespaces are charged at a time, at most.
const TURNS: usize = 64;
/// How many quotas one leaves to the next.
const LEFT: usize = 16;

/// Who charges the quotas of a namespace. All who do so at once would be in each other's way, so on one server they take
/// turns; those of several servers are kept apart by the store. Each leaves to the next what it has written, which the
/// caches may not show yet.
pub struct Turns {
    turns: Vec<Arc<Mutex<Vec<Held>>>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { turns: (0..TURNS).map(|_| Arc::default()).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    fn of(&self, namespace: &str) -> Arc<Mutex<Vec<Held>>> {
        let hash = usize::try_from(self.hasher.hash_one(namespace) % TURNS as u64).unwrap_or(0);
        self.turns[hash].clone()
    }
}

/// Charges quotas. Rides along with what they count.
struct Charges {
    namespace: String,
    counted: Counted,
    turn: Option<OwnedMutexGuard<Vec<Held>>>,
    /// What the transaction writes.
    writing: Vec<Held>,
    /// What the cache and those before have said is old: somebody on another server has charged.
    ask_store: bool,
}

/// What quotas are charged for.
pub fn rider(write: &Write<'_>) -> Option<Box<dyn Rider>> {
    let ctx = write.ctx;
    let namespace = ctx.path.namespace.clone().filter(|_| ctx.kind.namespaced && !write.ends)?;
    ctx.api.config.admission.has(RESOURCE_QUOTA).then_some(())?;
    let within = Scope::Namespace(namespace);
    ctx.api.objects(RESOURCE_QUOTAS).scan(&within, None).next()?;
    let Scope::Namespace(namespace) = within else { return None };
    let counted = Counted::of(&ctx.kind.group, &ctx.kind.plural)?;
    let subresource = ctx.path.subresource.as_deref();
    let grows = write.old.is_none_or(|old| counted.may_grow(subresource, old, &write.new));
    let charges = Charges { namespace, counted, turn: None, writing: Vec::new(), ask_store: false };
    grows.then(|| Box::new(charges) as Box<dyn Rider>)
}

#[async_trait]
impl Rider for Charges {
    async fn operations(&mut self, write: &Write<'_>) -> Result<Vec<Op>, Status> {
        if self.turn.is_none() {
            self.turn = Some(write.ctx.api.quota_turns.of(&self.namespace).lock_owned().await);
        }
        let object = self.counted.read(&write.new).map_err(Status::internal)?;
        let old = write.old.map(|old| self.counted.read(old)).transpose().map_err(Status::internal)?;
        loop {
            let held = self.quotas(write.ctx).await?;
            let quotas: Vec<ResourceQuota> = held.iter().map(Held::quota).collect::<Result<_, _>>()?;
            match charge(&quotas, &self.counted, &*object, old.as_deref(), machinery::clock::now()) {
                Ok(charged) => {
                    self.writing.clear();
                    for (place, used) in charged {
                        let mut held = held[place].clone();
                        held.object["status"]["used"] = json!(used);
                        self.writing.push(held);
                    }
                    return self.writing.iter().map(Held::op).collect();
                }
                // A refusal may come from a cache that lags: what the store holds decides.
                Err(_) if !self.ask_store => self.ask_store = true,
                Err(why) => {
                    let kind = &write.ctx.kind;
                    return Err(Status::forbidden(&kind.plural, &kind.group, write.new.name(), why));
                }
            }
        }
    }

    async fn conflict(&mut self, _write: &mut Write<'_>, _index: usize) -> Result<(), Status> {
        self.ask_store = true;
        Ok(())
    }

    fn done(&mut self, revision: Revision) {
        let Some(left) = self.turn.as_mut() else { return };
        left.retain(|held| self.writing.iter().all(|written| written.key != held.key));
        left.extend(self.writing.drain(..).map(|held| Held { revision, ..held }));
        let surplus = left.len().saturating_sub(LEFT);
        left.drain(..surplus);
    }
}

impl Charges {
    async fn quotas(&self, ctx: &Ctx) -> Result<Vec<Held>, Status> {
        if self.ask_store {
            let prefix = format!("{}{}/", RESOURCE_QUOTAS.prefix, self.namespace);
            let loaded = ctx.api.store.load(&prefix, None).await?;
            return loaded
                .items
                .into_iter()
                .map(|item| Held::read(item.key, item.revision, &item.value))
                .collect();
        }
        let within = Scope::Namespace(self.namespace.clone());
        let cached = ctx.api.objects(RESOURCE_QUOTAS);
        let left = self.turn.as_deref().map(Vec::as_slice).unwrap_or_default();
        let held = |key: &str, revision, bytes: &[u8]| {
            let key = format!("{}{key}", RESOURCE_QUOTAS.prefix);
            match left.iter().find(|left| left.key == key && left.revision > revision) {
                Some(newer) => Ok(newer.clone()),
                None => Held::read(key, revision, bytes),
            }
        };
        cached.scan(&within, None).map(|o| held(o.key(), o.revision(), &o.stored())).collect()
    }
}

/// A quota as it is stored.
#[derive(Clone)]
struct Held {
    key: String,
    revision: Revision,
    object: Value,
}

impl Held {
    fn read(key: String, revision: Revision, bytes: &[u8]) -> Result<Self, Status> {
        Ok(Self { key, revision, object: serde_json::from_slice(bytes).map_err(Status::internal)? })
    }

    fn quota(&self) -> Result<ResourceQuota, Status> {
        ResourceQuota::deserialize(&self.object).map_err(Status::internal)
    }

    /// Writes it, if nobody else has charged it meanwhile.
    fn op(&self) -> Result<Op, Status> {
        let bytes = serde_json::to_vec(&self.object).map_err(Status::internal)?;
        Ok(Op::update(self.key.clone(), self.revision, bytes))
    }
}
