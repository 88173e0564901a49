//! What the server counts, under CoreDNS' names.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{counter::Counter, family::Family, histogram::Histogram};

/// The labels of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    proto: &'static str,
    rcode: &'static str,
}

/// The counters. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    answers: Family<Answer, Counter>,
    durations: Histogram,
}

impl Metrics {
    /// Counters in a registry.
    pub fn new(registry: &mut machinery::metrics::Registry) -> Self {
        // 0.25 ms doubling up to 8 s, as CoreDNS has them.
        let durations =
            Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(0.00025, 2.0, 16));
        let metrics = Self { answers: Family::default(), durations };
        registry.register("coredns_dns_responses", "Answers by protocol and code", metrics.answers.clone());
        registry.register(
            "coredns_dns_request_duration_seconds",
            "How long answers took",
            metrics.durations.clone(),
        );
        metrics
    }

    /// Counts an answer.
    pub fn answered(&self, proto: &'static str, code: ResponseCode, took: Duration) {
        self.answers.get_or_create(&Answer { proto, rcode: code.to_str() }).inc();
        self.durations.observe(took.as_secs_f64());
    }
}
