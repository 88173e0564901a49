//! The proxy's metrics, under upstream's names.
//!
//! Upstream: `pkg/proxy/metrics`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::ruleset::{Ruleset, Table};

/// Which IP version's rules; so far there is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct IpFamily {
    ip_family: &'static str,
}

/// The rules of which table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PerTable {
    ip_family: &'static str,
    table: &'static str,
}

const IPV4: IpFamily = IpFamily { ip_family: "IPv4" };

type Seconds = Family<IpFamily, Histogram, fn() -> Histogram>;
type Timestamp = Family<IpFamily, Gauge<f64, std::sync::atomic::AtomicU64>>;

fn milliseconds_up() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

fn quarter_seconds_up() -> Histogram {
    let upstream = [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
    Histogram::new(upstream)
}

machinery::metrics! {
    /// All metrics of the proxy. Clones share them.
    pub struct Metrics {
        sync: Seconds = "kubeproxy_sync_proxy_rules_duration_seconds",
            "SyncProxyRules latency in seconds", Family::new_with_constructor(milliseconds_up);
        full: Seconds = "kubeproxy_sync_full_proxy_rules_duration_seconds",
            "Latency of full resyncs in seconds", Family::new_with_constructor(milliseconds_up);
        partial: Seconds = "kubeproxy_sync_partial_proxy_rules_duration_seconds",
            "Latency of partial resyncs in seconds", Family::new_with_constructor(milliseconds_up);
        programming: Seconds = "kubeproxy_network_programming_duration_seconds",
            "Time from the change of a pod or service to the rules for it in seconds",
            Family::new_with_constructor(quarter_seconds_up);
        last: Timestamp = "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
            "The last time proxy rules were successfully synced";
        last_queued: Timestamp = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
            "The last time a sync of proxy rules was queued";
        rules: Family<PerTable, Gauge> = "kubeproxy_sync_proxy_rules_iptables_total",
            "Number of iptables rules owned by the proxy";
        failures: Family<IpFamily, Counter> = "kubeproxy_sync_proxy_rules_iptables_restore_failures",
            "Cumulative proxy iptables restore failures", from_zero();
        partial_failures: Family<IpFamily, Counter> =
            "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures",
            "Cumulative proxy iptables partial restore failures", from_zero();
        forgotten: Family<IpFamily, Counter> = "kubeproxy_conntrack_reconciler_deleted_entries",
            "Cumulative conntrack flows deleted by the conntrack reconciler";
        /// Changes of services seen.
        pub service_changes: Family<IpFamily, Counter> = "kubeproxy_sync_proxy_rules_service_changes",
            "Cumulative proxy rules Service changes";
        /// Changes of endpoint slices seen.
        pub endpoint_changes: Family<IpFamily, Counter> = "kubeproxy_sync_proxy_rules_endpoint_changes",
            "Cumulative proxy rules Endpoint changes";
    }
}

/// A count that is told before there is anything to count.
fn from_zero() -> Family<IpFamily, Counter> {
    let family = Family::<IpFamily, Counter>::default();
    family.get_or_create(&IPV4).inc_by(0);
    family
}

impl Metrics {
    /// A change was seen.
    pub fn changed(&self, of: &Family<IpFamily, Counter>) {
        of.get_or_create(&IPV4).inc();
    }

    /// A sync was asked for.
    pub fn queued(&self) {
        self.last_queued.get_or_create(&IPV4).set(now());
    }

    /// A sync has worked.
    pub fn synced(&self, full: bool, took: f64, rules: &Ruleset) {
        self.sync.get_or_create(&IPV4).observe(took);
        (if full { &self.full } else { &self.partial }).get_or_create(&IPV4).observe(took);
        self.last.get_or_create(&IPV4).set(now());
        for table in [Table::Filter, Table::Nat] {
            let labels = PerTable { ip_family: IPV4.ip_family, table: table.name() };
            self.rules.get_or_create(&labels).set(rules.count(table) as i64);
        }
    }

    /// A restore was refused.
    pub fn failed(&self, full: bool) {
        (if full { &self.failures } else { &self.partial_failures }).get_or_create(&IPV4).inc();
    }

    /// From the change of an endpoint to the rules for it.
    pub fn programmed(&self, seconds: f64) {
        self.programming.get_or_create(&IPV4).observe(seconds);
    }

    /// Tracked connections were forgotten.
    pub fn forgot(&self, connections: u64) {
        self.forgotten.get_or_create(&IPV4).inc_by(connections);
    }
}

fn now() -> f64 {
    machinery::clock::now().as_duration().as_secs_f64()
}
