//! What the answers of a probe amount to. Pure: a gauge counts answers in a row until they reach the
//! threshold of their kind, and a verdict changes the health of the container it is about.
//! Corresponds to the second half of upstream's `prober/worker.go`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

use crate::plan::Health;

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Holds the other two back until the program has started.
    Startup,
    /// Whether the container takes requests.
    Readiness,
    /// Whether the container must be started anew.
    Liveness,
}

/// What came of asking once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The container is fine.
    Good,
    /// The container is fine, but people should know something.
    Odd(String),
    /// The container is not fine.
    Bad(String),
    /// Nobody knows, for a reason that is not the container's; it counts as nothing.
    Unclear {
        /// The word that the event has for it.
        state: &'static str,
        /// Why.
        error: String,
    },
}

/// Whether a probe goes on after a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It asks again.
    GoesOn,
    /// This container is asked no more.
    Ends,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// Reason and message of the event that tells of an outcome; none when all is well.
    pub fn event(self, outcome: &Outcome) -> Option<(&'static str, String)> {
        let title = self.title();
        match outcome {
            Outcome::Good => None,
            Outcome::Odd(text) => Some(("ProbeWarning", format!("{title} probe warning: {text}"))),
            Outcome::Bad(text) => Some(("Unhealthy", format!("{title} probe failed: {text}"))),
            Outcome::Unclear { state, error } => {
                Some(("Unhealthy", format!("{title} probe errored and resulted in {state} state: {error}")))
            }
        }
    }

    /// Brings a verdict into the container's health.
    pub fn judge(self, good: bool, health: &mut Health) -> After {
        match (self, good) {
            (Self::Startup, true) => health.started = true,
            (Self::Startup, false) => health.failed = Some("startup"),
            (Self::Liveness, false) => health.failed = Some("liveness"),
            (Self::Liveness, true) => return After::GoesOn,
            (Self::Readiness, good) => {
                health.ready = good;
                return After::GoesOn;
            }
        }
        After::Ends
    }
}

/// A program that has just started answers nobody yet; asked at once, it would be asked again a whole period later.
const SETTLE: Duration = Duration::from_millis(100);

/// When a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Time between the start of the program and the first question.
    pub delay: Duration,
    /// Time between two questions.
    pub period: Duration,
    /// Time to answer.
    pub timeout: Duration,
}

impl Timing {
    /// The times of a probe.
    pub fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64, least: u64| {
            let value = value.map_or(default, |value| u64::try_from(value).unwrap_or(0));
            Duration::from_secs(value.max(least))
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0, 0).max(SETTLE),
            period: seconds(probe.period_seconds, 10, 1),
            timeout: seconds(probe.timeout_seconds, 1, 1),
        }
    }

    /// How long to wait yet for the first question, when the program has run for `age`.
    pub fn first(&self, age: Duration) -> Duration {
        self.delay.saturating_sub(age)
    }
}

/// Counts answers in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    in_a_row: u32,
}

impl Gauge {
    /// A gauge that has seen nothing yet.
    pub fn of(probe: &Probe) -> Self {
        let threshold = |value: Option<i32>, default: u32| {
            value.map_or(default, |value| u32::try_from(value).unwrap_or(0)).max(1)
        };
        Self {
            success_threshold: threshold(probe.success_threshold, 1),
            failure_threshold: threshold(probe.failure_threshold, 3),
            last: None,
            in_a_row: 0,
        }
    }

    /// Takes an outcome; answers with the verdict once enough of the same are in a row.
    pub fn take(&mut self, outcome: &Outcome) -> Option<bool> {
        let good = match outcome {
            Outcome::Good | Outcome::Odd(_) => true,
            Outcome::Bad(_) => false,
            Outcome::Unclear { .. } => return None,
        };
        self.in_a_row = if self.last == Some(good) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(good);
        let threshold = if good { self.success_threshold } else { self.failure_threshold };
        (self.in_a_row >= threshold).then_some(good)
    }
}
