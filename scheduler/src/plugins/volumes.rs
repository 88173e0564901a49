//! Claims: that they are there and bound, or can be bound where the pod goes.

use super::{Plugin, Prepared, Reasons};
use crate::cluster::Cluster;
use crate::needs::Needs;
use crate::node_view::NodeView;
use crate::storage::{Claims, Storage};

struct InUse<'a> {
    namespace: &'a str,
    claims: Vec<(String, i64)>,
}

/// Asks about claims that one pod alone may use.
pub(super) fn in_use<'a>(cluster: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    let claims = cluster.storage.exclusive(needs).into_iter();
    let claims: Vec<_> =
        claims.map(|(claim, users)| (claim, i64::try_from(users).unwrap_or(i64::MAX))).collect();
    let plugin = InUse { namespace: &needs.namespace, claims };
    Ok((!plugin.claims.is_empty()).then(|| Box::new(plugin) as Box<dyn Plugin + 'a>))
}

impl Plugin for InUse<'_> {
    fn filter(&self, _: &NodeView) -> Result<(), Reasons> {
        if self.claims.iter().all(|(_, users)| *users == 0) {
            return Ok(());
        }
        Err(Reasons::for_now(
            "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
        ))
    }

    fn count(&mut self, pod: &Needs, _: &NodeView, by: i64) {
        for (claim, users) in self.claims.iter_mut().filter(|_| pod.namespace == self.namespace) {
            if pod.claims.iter().any(|used| used.name == *claim) {
                *users += by;
            }
        }
    }
}

struct Volumes<'a> {
    storage: &'a Storage,
    claims: Claims,
}

/// Asks where the pod's volumes can be had.
pub(super) fn prepare<'a>(cluster: &'a Cluster, needs: &'a Needs) -> Prepared<'a> {
    if needs.claims.is_empty() {
        return Ok(None);
    }
    let storage = &cluster.storage;
    Ok(Some(Box::new(Volumes { storage, claims: storage.claims(needs)? })))
}

impl Plugin for Volumes<'_> {
    fn filter(&self, node: &NodeView) -> Result<(), Reasons> {
        self.storage.bindings(&self.claims, node).map(drop).map_err(|reasons| Reasons {
            reasons: reasons.into_iter().map(str::to_owned).collect(),
            for_good: true,
        })
    }
}
