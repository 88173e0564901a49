use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::*;

#[test]
fn text_is_what_scrapers_of_kubernetes_read() {
    let mut registry = Registry::default();
    let attempts = Counter::<u64>::default();
    attempts.inc_by(3);
    registry.register("attempts", "Number of attempts", attempts);
    let pending: Gauge = Gauge::default();
    registry.register("pending", "Pods that wait", pending);
    assert_eq!(
        text(&registry),
        "# HELP attempts_total Number of attempts\n# TYPE attempts_total counter\nattempts_total 3\n\
         # HELP pending Pods that wait\n# TYPE pending gauge\npending 0\n"
    );
}

/// Upstream's counters without `_total`, and what lasts for ever.
#[derive(Debug)]
struct Odd;

impl Collector for Odd {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let errors = encoder.encode_descriptor("renew_errors", "Errors..", None, MetricType::Counter)?;
        ConstGauge::new(2).encode(errors)?;
        let left = encoder.encode_descriptor("ttl_seconds", "Left", None, MetricType::Gauge)?;
        ConstGauge::new(f64::INFINITY).encode(left)
    }
}

#[test]
fn counters_may_have_upstreams_older_names() {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Odd));
    assert_eq!(
        text(&registry),
        "# HELP renew_errors Errors.\n# TYPE renew_errors counter\nrenew_errors 2\n\
         # HELP ttl_seconds Left\n# TYPE ttl_seconds gauge\nttl_seconds +Inf\n"
    );
}

#[test]
fn a_process_measures_itself() {
    let text = text(&registry());
    for name in ["process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} in {text}");
    }
}

#[test]
fn a_program_name_with_spaces_and_brackets_is_no_trouble() {
    let line = "7 (a ) b) S 1 7 7 0 -1 0 1 2 3 4 150 50 0 0 20 0 4 0 200 8192 3 0";
    let stat = Stat::parse(line).unwrap();
    let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
    assert!(close(stat.cpu_seconds, 2.0) && close(stat.started, 2.0) && close(stat.resident, 12288.0));
}
