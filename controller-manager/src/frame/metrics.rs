//! What the queues of all controllers tell Prometheus, under client-go's names.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use machinery::metrics::Registry;
use machinery::queue::Queue;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

type Labels = [(&'static str, &'static str); 1];
type Depth = Box<dyn Fn() -> usize + Send + Sync>;

/// Bounds of the buckets of durations, in seconds, as client-go has them.
const BUCKETS: [f64; 10] = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// The metrics. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    retries: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    depths: Depths,
}

#[derive(Clone, Default)]
struct Depths {
    queues: Arc<Mutex<Vec<(&'static str, Depth)>>>,
}

impl fmt::Debug for Depths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.queues.lock().iter().map(|(name, _)| name)).finish()
    }
}

impl Collector for Depths {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "workqueue_depth",
            "Current depth of workqueue",
            None::<&Unit>,
            MetricType::Gauge,
        )?;
        for (name, depth) in self.queues.lock().iter() {
            let depth = i64::try_from(depth()).unwrap_or(i64::MAX);
            ConstGauge::new(depth).encode(family.encode_family(&[("name", *name)])?)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Puts the metrics into a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Metrics {
            retries: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            depths: Depths::default(),
        };
        registry.register(
            "workqueue_retries",
            "Total number of retries handled by workqueue",
            metrics.retries.clone(),
        );
        let help = "How long in seconds processing an item from workqueue takes.";
        registry.register("workqueue_work_duration_seconds", help, metrics.durations.clone());
        registry.register_collector(Box::new(metrics.depths.clone()));
        metrics
    }

    /// Follows one queue.
    pub fn watch<T: Eq + std::hash::Hash + Clone + Send + Sync + 'static>(
        &self,
        name: &'static str,
        queue: &Queue<T>,
    ) -> Watch {
        let queue = queue.clone();
        self.depths.queues.lock().push((name, Box::new(move || queue.len())));
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
