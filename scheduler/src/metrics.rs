//! The scheduler's metrics, by upstream's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::NAME;
use crate::queue::Counts;

/// How a try to place a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Scheduled,
    Unschedulable,
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    profile: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InQueue {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempts {
    attempts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InCache {
    r#type: &'static str,
}

fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

fn long() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 20))
}

machinery::metrics! {
    pub(crate) struct Metrics {
        attempts: Family<Attempt, Counter> = "scheduler_schedule_attempts",
            "Number of attempts to schedule pods, by the result";
        attempt_duration: Family<Attempt, Histogram> = "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm and binding)",
            Family::new_with_constructor(short);
        algorithm_duration: Histogram = "scheduler_scheduling_algorithm_duration_seconds",
            "Scheduling algorithm latency in seconds", short();
        pending: Family<InQueue, Gauge> = "scheduler_pending_pods", "Number of pending pods, by the queue";
        sli_duration: Family<Attempts, Histogram> = "scheduler_pod_scheduling_sli_duration_seconds",
            "Time from a pod's first wait to its binding", Family::new_with_constructor(long);
        attempts_until_scheduled: Histogram = "scheduler_pod_scheduling_attempts",
            "Number of attempts until a pod is scheduled", Histogram::new(exponential_buckets(1.0, 2.0, 5));
        cache_size: Family<InCache, Gauge> = "scheduler_scheduler_cache_size",
            "Number of nodes, pods and assumed pods in the scheduler's view";
        preemption_attempts: Counter = "scheduler_preemption_attempts",
            "Number of times that others were sought who could make room for a pod";
        preemption_victims: Histogram = "scheduler_preemption_victims",
            "Number of pods that made room for one", Histogram::new(exponential_buckets(1.0, 2.0, 7));
    }
}

impl Metrics {
    pub(crate) fn decided(&self, took: Duration) {
        self.algorithm_duration.observe(took.as_secs_f64());
    }

    pub(crate) fn preempted(&self, victims: Option<usize>) {
        self.preemption_attempts.inc();
        if let Some(victims) = victims {
            self.preemption_victims.observe(f64::from(u32::try_from(victims).unwrap_or(u32::MAX)));
        }
    }

    pub(crate) fn attempted(&self, outcome: Outcome, took: Duration) {
        let result = match outcome {
            Outcome::Scheduled => "scheduled",
            Outcome::Unschedulable => "unschedulable",
            Outcome::Error => "error",
        };
        let labels = Attempt { profile: NAME, result };
        self.attempts.get_or_create(&labels).inc();
        self.attempt_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn scheduled(&self, attempts: u32, waited: Duration) {
        self.attempts_until_scheduled.observe(f64::from(attempts));
        // Upstream counts fifteen and more as one, which bounds the number of series.
        let labels = Attempts { attempts: attempts.min(15) };
        self.sli_duration.get_or_create(&labels).observe(waited.as_secs_f64());
    }

    pub(crate) fn sizes(&self, queue: Counts, gated: usize, (nodes, pods, assumed): (usize, usize, usize)) {
        let queues = [
            ("active", queue.active),
            ("backoff", queue.backoff),
            ("unschedulable", queue.unschedulable),
            ("gated", gated),
        ];
        for (queue, size) in queues {
            self.pending.get_or_create(&InQueue { queue }).set(gauge(size));
        }
        for (kind, size) in [("nodes", nodes), ("pods", pods), ("assumed_pods", assumed)] {
            self.cache_size.get_or_create(&InCache { r#type: kind }).set(gauge(size));
        }
    }
}

fn gauge(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
