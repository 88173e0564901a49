//! Metrics: the registry of a process, its standard metrics, and Prometheus' text format.
//!
//! The library writes OpenMetrics; `text` turns that into the format that Kubernetes'
//! daemons serve and every scraper reads. Upstream counterpart: component-base's `metrics`.

use std::fmt::Write as _;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
pub use prometheus_client::registry::Registry;

/// A registry that holds the metrics every process has: `process_*`, and its requests to API servers.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    crate::client::register(&mut registry);
    registry
}

/// A struct of metrics, each written with its name, its help and, where it is not its type's default, how it is made. Clones
/// share them; `new` makes them and puts them into a registry.
#[macro_export]
macro_rules! metrics {
    (
        $(#[$about:meta])*
        $vis:vis struct $all:ident {
            $($(#[$doc:meta])* $field_vis:vis $field:ident: $kind:ty = $name:expr, $help:expr $(, $made:expr)?;)*
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        $vis struct $all {
            $($(#[$doc])* $field_vis $field: $kind,)*
        }

        impl Default for $all {
            fn default() -> Self {
                Self { $($field: $crate::metrics!(@made $($made)?),)* }
            }
        }

        impl $all {
            /// Metrics in a registry.
            $vis fn new(registry: &mut $crate::metrics::Registry) -> Self {
                let all = Self::default();
                $(registry.register($name, $help, all.$field.clone());)*
                all
            }
        }
    };
    (@made) => { Default::default() };
    (@made $made:expr) => { $made };
}

/// All metrics in Prometheus' text format.
pub fn text(registry: &Registry) -> String {
    let mut open = String::new();
    prometheus_client::encoding::text::encode(&mut open, registry).expect("writing to a String cannot fail");
    classic(&open)
}

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Turns OpenMetrics text into Prometheus' older one: a counter's family is named as its value, mostly with
/// `_total`, infinity is Go's, there are no units and no end mark.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut held_help: Option<(&str, &str)> = None;
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(help) = line.strip_prefix("# HELP ") {
            held_help = help.split_once(' ').or(Some((help, "")));
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            // Of a counter that has upstream's older form of a name, as a collector can give it, there is a value at once.
            let value = lines.peek().and_then(|next| next.strip_prefix(name));
            let bare = value.is_some_and(|rest| rest.starts_with([' ', '{']));
            let suffix = if kind == "counter" && !bare { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, help)) = held_help.take() {
                let help = help.strip_suffix('.').unwrap_or(help);
                writeln!(text, "# HELP {name}{suffix} {help}").expect("writing to a String cannot fail");
            }
            writeln!(text, "# TYPE {name}{suffix} {kind}").expect("writing to a String cannot fail");
            continue;
        }
        match line.strip_suffix(" inf") {
            Some(name) => text.extend([name, " +Inf"]),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[derive(Debug)]
struct Process;

/// Clock ticks per second in `/proc/self/stat`; Linux shows this number to all programs.
const TICKS: f64 = 100.0;
const PAGE: f64 = 4096.0;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text))
        else {
            return Ok(());
        };
        let cpu = ConstCounter::new(stat.cpu_seconds);
        let help = "Total user and system CPU time spent in seconds";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?)?;
        let mut gauge = |name: &str, help: &str, value: f64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("process_resident_memory_bytes", "Resident memory size in bytes", stat.resident)?;
        gauge("process_virtual_memory_bytes", "Virtual memory size in bytes", stat.virtual_size)?;
        if let Some(boot) = boot_time() {
            let start = boot + stat.started;
            gauge(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds",
                start,
            )?;
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            #[allow(clippy::cast_precision_loss)] // nobody has 2^52 open files
            gauge("process_open_fds", "Number of open file descriptors", open.count() as f64)?;
        }
        Ok(())
    }
}

struct Stat {
    cpu_seconds: f64,
    /// Seconds after the machine started.
    started: f64,
    virtual_size: f64,
    resident: f64,
}

impl Stat {
    /// Reads `/proc/PID/stat`; see proc_pid_stat(5).
    fn parse(text: &str) -> Option<Self> {
        let after_name = text.rsplit_once(')')?.1;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        // The first of them is field 3 of the manual page.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS,
            started: field(22)? / TICKS,
            virtual_size: field(23)?,
            resident: field(24)? * PAGE,
        })
    }
}

fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
