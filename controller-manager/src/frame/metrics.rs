//! What the queues of all controllers tell Prometheus, under client-go's names.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use machinery::metrics::Registry;
use machinery::queue::{BUCKETS, Queue, Tally};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

type Labels = [(&'static str, &'static str); 1];
/// How many keys wait in a queue, and what has gone through it.
type State = Box<dyn Fn() -> (usize, Tally) + Send + Sync>;

/// The metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    retries: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    queues: Queues,
}

#[derive(Clone, Default)]
struct Queues(Arc<Mutex<Vec<(&'static str, State)>>>);

impl fmt::Debug for Queues {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.0.lock().iter().map(|(name, _)| name)).finish()
    }
}

impl Collector for Queues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let queues = self.0.lock();
        let all = || queues.iter().map(|(name, state)| ([("name", *name)], state()));
        let mut family = |name, help, kind, of: &dyn Fn((usize, Tally), MetricEncoder<'_>) -> fmt::Result| {
            let mut family = encoder.encode_descriptor(name, help, None::<&Unit>, kind)?;
            all().try_for_each(|(labels, state)| of(state, family.encode_family(&labels)?))
        };
        let help = "Current depth of workqueue";
        family("workqueue_depth", help, MetricType::Gauge, &|(depth, _), to| {
            ConstGauge::new(i64::try_from(depth).unwrap_or(i64::MAX)).encode(to)
        })?;
        let help = "Total number of adds handled by workqueue";
        family("workqueue_adds", help, MetricType::Counter, &|(_, tally), to| {
            ConstCounter::new(tally.added).encode(to)
        })?;
        let help = "How long in seconds an item stays in workqueue before being requested.";
        let name = "workqueue_queue_duration_seconds";
        family(name, help, MetricType::Histogram, &|(_, tally), to| tally.waited.encode(to))
    }
}

impl Metrics {
    /// Puts the metrics into a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Metrics {
            retries: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            queues: Queues::default(),
        };
        registry.register(
            "workqueue_retries",
            "Total number of retries handled by workqueue",
            metrics.retries.clone(),
        );
        let help = "How long in seconds processing an item from workqueue takes.";
        registry.register("workqueue_work_duration_seconds", help, metrics.durations.clone());
        registry.register_collector(Box::new(metrics.queues.clone()));
        metrics
    }

    /// Follows one queue.
    pub fn watch<T: Eq + std::hash::Hash + Clone + Send + Sync + 'static>(
        &self,
        name: &'static str,
        queue: &Queue<T>,
    ) -> Watch {
        let queue = queue.clone();
        self.queues.0.lock().push((name, Box::new(move || (queue.len(), queue.tally()))));
        let labels = [("name", name)];
        Watch {
            retries: self.retries.get_or_create(&labels).clone(),
            durations: self.durations.get_or_create(&labels).clone(),
        }
    }
}

/// Counts the work of one queue.
#[derive(Clone)]
pub struct Watch {
    retries: Counter,
    durations: Histogram,
}

impl Watch {
    /// Does the work, and notes how long it took and whether it failed.
    pub async fn time<D, E>(&self, work: impl Future<Output = Result<D, E>>) -> Result<D, E> {
        let start = Instant::now();
        let result = work.await;
        self.durations.observe(start.elapsed().as_secs_f64());
        if result.is_err() {
            self.retries.inc();
        }
        result
    }
}

#[cfg(test)]
mod tests;
