//! What the server counts, under CoreDNS' names.

use std::time::Duration;

use hickory_proto::rr::RecordType;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    proto: &'static str,
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    rcode: &'static str,
}

machinery::metrics! {
    /// The counters. Clones share them.
    pub struct Metrics {
        requests: Family<Request, Counter> = "coredns_dns_requests", "Questions by protocol and type";
        responses: Family<Response, Counter> = "coredns_dns_responses", "Answers by code";
        // 0.25 ms doubling up to 8 s, as CoreDNS has them.
        durations: Histogram = "coredns_dns_request_duration_seconds", "How long answers took",
            Histogram::new(exponential_buckets(0.00025, 2.0, 16));
    }
}

impl Metrics {
    /// Counts an answer to a question of a type, with its [`crate::reply::code`].
    pub fn answered(
        &self,
        proto: &'static str,
        kind: Option<RecordType>,
        rcode: &'static str,
        took: Duration,
    ) {
        let r#type = match kind {
            None | Some(RecordType::Unknown(_)) => "other",
            Some(kind) => kind.into(),
        };
        self.requests.get_or_create(&Request { proto, r#type }).inc();
        self.responses.get_or_create(&Response { rcode }).inc();
        self.durations.observe(took.as_secs_f64());
    }
}
