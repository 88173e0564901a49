//! What is counted of encrypting and decrypting, under upstream's names.

use std::time::Instant;

use machinery::metrics::Registry;
use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    histogram::{Histogram, exponential_buckets},
};

type Labels<const N: usize> = [(&'static str, String); N];

/// The counters. All clones are the same.
#[derive(Clone)]
pub struct Transformations {
    operations: Family<Labels<4>, Counter>,
    durations: Family<Labels<2>, Histogram, fn() -> Histogram>,
}

impl Default for Transformations {
    fn default() -> Self {
        let buckets = || Histogram::new(exponential_buckets(5e-6, 2.0, 25));
        Self { operations: Family::default(), durations: Family::new_with_constructor(buckets) }
    }
}

impl Transformations {
    /// Adds them to those of a server.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Values encrypted (to_storage) or decrypted (from_storage), by provider";
        registry.register("apiserver_storage_transformation_operations", help, self.operations.clone());
        let help = "Time to encrypt or decrypt a value";
        registry.register("apiserver_storage_transformation_duration_seconds", help, self.durations.clone());
    }

    /// Counts what a provider has done to a value of a resource since `begun`.
    pub(super) fn count(
        &self,
        resource: Option<(&str, &str)>,
        transformation_type: &'static str,
        provider: &str,
        begun: Instant,
        is_done: bool,
    ) {
        let transformer_prefix = match provider {
            "identity" | "unknown" => provider.to_owned(),
            name => format!("k8s:enc:{name}:v1:"),
        };
        let way = [
            ("transformation_type", transformation_type.to_owned()),
            ("transformer_prefix", transformer_prefix),
        ];
        if is_done {
            self.durations.get_or_create(&way).observe(begun.elapsed().as_secs_f64());
        }
        let resource = match resource.unwrap_or_default() {
            ("", resource) => resource.to_owned(),
            (group, resource) => format!("{resource}.{group}"),
        };
        let status = if is_done { "OK" } else { "unknown-non-grpc" };
        let [kind, prefix] = way;
        let labels = [("resource", resource), ("status", status.to_owned()), kind, prefix];
        self.operations.get_or_create(&labels).inc();
    }
}
