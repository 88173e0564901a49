//! Since when changes of endpoints wait to be in effect: what the programming latency is measured from.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Caches;
use crate::metrics::Metrics;

/// Says since when a change of endpoints waits to be in effect.
const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// The times since when changes wait that are not written yet.
pub(super) type Triggers = Arc<Mutex<Vec<jiff::Timestamp>>>;

/// Counts changes and gathers the times since when they wait. What was there at the start does
/// not count.
pub(super) fn observe(caches: &Caches, metrics: &Metrics) -> Triggers {
    let started = machinery::clock::now();
    let triggers = Triggers::default();
    let (gathered, counted) = (Arc::clone(&triggers), metrics.clone());
    caches.slices.on_change(move |change| {
        counted.changed(&counted.endpoint_changes);
        let trigger = change
            .new
            .as_ref()
            .and_then(|slice| slice.metadata.annotations.as_ref()?.get(TRIGGER_ANNOTATION)?.parse().ok());
        gathered.lock().extend(trigger.filter(|since: &jiff::Timestamp| *since >= started));
    });
    let counted = metrics.clone();
    caches.services.on_change(move |_| counted.changed(&counted.service_changes));
    triggers
}
