//! What the ingress controller counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// The labels of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: u16,
}

machinery::metrics! {
    /// The counters. Clones share them.
    pub struct Metrics {
        requests: Family<Code, Counter> = "ingress_requests", "Requests by the code of the answer";
        // 1 ms doubling up to 32 s.
        durations: Histogram = "ingress_request_duration_seconds", "How long the head of answers took",
            Histogram::new(exponential_buckets(0.001, 2.0, 16));
        /// Requests that were sent once more, to another endpoint.
        pub retries: Counter = "ingress_retries", "Requests sent once more";
    }
}

impl Metrics {
    /// Counts an answer.
    pub fn answered(&self, code: u16, took: Duration) {
        self.requests.get_or_create(&Code { code }).inc();
        self.durations.observe(took.as_secs_f64());
    }
}
