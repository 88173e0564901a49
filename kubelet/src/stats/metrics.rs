//! A summary as the metrics of `/metrics/resource`, which metrics-server reads. Pure. Names, help and stability
//! are upstream's (`kubelet/metrics/collectors/resource_metrics.go`).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::summary::{ComputeStats, Summary};

/// A value and when it was read; what was always so has no time.
type Sample = (f64, Option<Timestamp>);

/// The families: name, type, words that say what it is.
const FAMILIES: [[&str; 3]; 11] = [
    [
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    ],
    ["container_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the container in bytes"],
    [
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
    ],
    [
        "container_swap_usage_bytes",
        "gauge",
        "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
    ],
    [
        "node_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
    ],
    ["node_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the node in bytes"],
    [
        "node_swap_usage_bytes",
        "gauge",
        "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems",
    ],
    [
        "pod_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
    ],
    ["pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes"],
    [
        "pod_swap_usage_bytes",
        "gauge",
        "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
    ],
    [
        "resource_scrape_error",
        "gauge",
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    ],
];

/// Lines of each family by its name.
#[derive(Default)]
struct Lines(BTreeMap<String, String>);

impl Lines {
    fn add(&mut self, name: impl Into<String>, labels: &str, sample: Option<Sample>) {
        let Some((value, time)) = sample else { return };
        let name = name.into();
        let time = time.map(|time| format!(" {}", time.as_millisecond())).unwrap_or_default();
        let line = format!("{name}{labels} {value}{time}\n");
        self.0.entry(name).or_default().push_str(&line);
    }

    /// What pods, containers and nodes have in common.
    fn used(&mut self, of: &str, labels: &str, used: ComputeStats) {
        let cpu = used.cpu.map(|cpu| (cpu.usage_core_nano_seconds as f64 / 1e9, Some(cpu.time)));
        let memory = used.memory.map(|memory| (memory.working_set_bytes as f64, Some(memory.time)));
        let swap = used.swap.map(|swap| (swap.swap_usage_bytes as f64, Some(swap.time)));
        self.add(format!("{of}_cpu_usage_seconds_total"), labels, cpu);
        self.add(format!("{of}_memory_working_set_bytes"), labels, memory);
        self.add(format!("{of}_swap_usage_bytes"), labels, swap);
    }
}

/// Renders a summary.
pub fn render(summary: &Summary) -> String {
    let mut lines = Lines::default();
    for pod in &summary.pods {
        let (namespace, name) = (&pod.pod_ref.namespace, &pod.pod_ref.name);
        for container in &pod.containers {
            let labels =
                format!("{{container=\"{}\",namespace=\"{namespace}\",pod=\"{name}\"}}", container.name);
            lines.used("container", &labels, container.compute);
            let started = container.start_time.as_millisecond() as f64 / 1e3;
            lines.add("container_start_time_seconds", &labels, Some((started, None)));
        }
        let labels = format!("{{namespace=\"{namespace}\",pod=\"{name}\"}}");
        lines.used("pod", &labels, pod.compute);
    }
    let node = &summary.node;
    lines.used("node", "", node.compute);
    lines.add("resource_scrape_error", "", Some((0.0, None)));
    let family = |[name, kind, help]: [&str; 3]| {
        let lines = lines.0.get(name)?;
        Some(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}"))
    };
    FAMILIES.into_iter().filter_map(family).collect()
}
