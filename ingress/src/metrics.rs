//! What the ingress controller counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};

/// The labels of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

/// The counters. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Code, Counter>,
    durations: Histogram,
    /// Requests that were sent once more, to another endpoint.
    pub retries: Counter,
}

impl Metrics {
    /// Counters in a registry.
    pub fn new(registry: &mut machinery::metrics::Registry) -> Self {
        // 1 ms doubling up to 32 s.
        let durations =
            Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.001, 2.0, 16));
        let metrics = Self { requests: Family::default(), durations, retries: Counter::default() };
        registry.register("ingress_requests", "Requests by the code of the answer", metrics.requests.clone());
        registry.register(
            "ingress_request_duration_seconds",
            "How long the head of answers took",
            metrics.durations.clone(),
        );
        registry.register("ingress_retries", "Requests sent once more", metrics.retries.clone());
        metrics
    }

    /// Counts an answer.
    pub fn answered(&self, code: u16, took: Duration) {
        self.requests.get_or_create(&Code { code }).inc();
        self.durations.observe(took.as_secs_f64());
    }
}
