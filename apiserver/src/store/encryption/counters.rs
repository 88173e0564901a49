//! What is counted of encrypting and decrypting, under upstream's names.

use std::time::Instant;

use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    histogram::{Histogram, exponential_buckets},
};

type Labels<const N: usize> = [(&'static str, String); N];

machinery::metrics! {
    /// The counters. All clones are the same.
    pub struct Transformations {
        operations: Family<Labels<4>, Counter> = "apiserver_storage_transformation_operations",
            "Values encrypted (to_storage) or decrypted (from_storage), by provider";
        durations: Family<Labels<2>, Histogram> = "apiserver_storage_transformation_duration_seconds",
            "Time to encrypt or decrypt a value",
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(5e-6, 2.0, 25)));
    }
}

impl Transformations {
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
