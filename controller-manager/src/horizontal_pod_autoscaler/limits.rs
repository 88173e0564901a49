//! How far and how fast replicas may follow what metrics ask for. Pure. Upstream: `podautoscaler/horizontal.go`.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerSpec};

use crate::frame::{Timestamp, plus_seconds, span};

/// For how long fewer replicas must have been asked for unless something else is said.
const DOWN_WINDOW: i32 = 300;
/// Beyond this no rule looks back.
const KEPT: Duration = Duration::from_secs(3600);

/// What was asked for and done before. It may be forgotten at any time: then replicas stay for as long as they would have had
/// nothing fewer been asked for yet, and changes before that are not held against later ones. Upstream forgets it, too.
#[derive(Clone, Debug, Default)]
pub struct History {
    asked: Vec<(Timestamp, i32)>,
    added: Vec<(Timestamp, i32)>,
    removed: Vec<(Timestamp, i32)>,
}

impl History {
    /// Begins with the replicas there are.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        if self.asked.is_empty() {
            self.asked.push((now, current));
        }
        for list in [&mut self.asked, &mut self.added, &mut self.removed] {
            list.retain(|(at, _)| span(*at, now) <= KEPT);
        }
    }

    /// Notes that replicas were changed.
    pub fn rescaled(&mut self, from: i32, to: i32, now: Timestamp) {
        let list = if to > from { &mut self.added } else { &mut self.removed };
        list.push((now, (to - from).abs()));
    }

    fn asked_since(&self, seconds: i32, now: Timestamp) -> impl Iterator<Item = i32> {
        let from = plus_seconds(now, -i64::from(seconds));
        self.asked.iter().filter(move |(at, _)| *at > from).map(|(_, asked)| *asked)
    }

    /// The replicas before the changes of some last seconds.
    fn replicas_before(&self, seconds: i32, current: i32, now: Timestamp) -> i64 {
        let from = plus_seconds(now, -i64::from(seconds));
        let sum = |list: &[(Timestamp, i32)]| -> i64 {
            list.iter().filter(|(at, _)| *at > from).map(|(_, change)| i64::from(*change)).sum()
        };
        i64::from(current) - sum(&self.added) + sum(&self.removed)
    }
}

/// Reason and message of a condition.
pub type Why = (&'static str, &'static str);

/// How many replicas there are to be, and what kept it from being as many as asked for.
#[derive(Debug, PartialEq)]
pub struct Bounded {
    pub replicas: i32,
    /// What AbleToScale says.
    pub able: Why,
    /// Whether ScalingLimited holds, and what it says.
    pub limited: (bool, Why),
}

const LATER_UP: Why = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const LATER_DOWN: Why = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const READY: Why = ("ReadyForNewScale", "recommended size matches current size");
const WITHIN: Why = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FAST_UP: Why =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const TOO_FAST_DOWN: Why =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const TOO_MANY: Why = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: Why = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");

/// Bounds what metrics ask for, and notes it.
pub fn bound(
    spec: &HorizontalPodAutoscalerSpec,
    current: i32,
    asked: i32,
    history: &mut History,
    now: Timestamp,
) -> Bounded {
    let (fewest, most) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    let none = HPAScalingRules::default();
    let rules = spec.behavior.as_ref();
    let rules = rules
        .map(|both| (both.scale_up.as_ref().unwrap_or(&none), both.scale_down.as_ref().unwrap_or(&none)));
    let window = |rules: &HPAScalingRules, default| rules.stabilization_window_seconds.unwrap_or(default);
    let (stable, able) = match rules {
        None => (history.asked_since(DOWN_WINDOW, now).fold(asked, i32::max), LATER_DOWN),
        Some((up, down)) => {
            let lowest = history.asked_since(window(up, 0), now).fold(asked, i32::min);
            let highest = history.asked_since(window(down, DOWN_WINDOW), now).fold(asked, i32::max);
            let why = if asked >= current { LATER_UP } else { LATER_DOWN };
            (current.max(lowest).min(highest), why)
        }
    };
    history.asked.push((now, asked));
    let (low, high) = match rules {
        None => {
            let rate = (current.saturating_mul(2)).max(4);
            ((fewest, TOO_FEW), if most > rate { (rate, TOO_FAST_UP) } else { (most, TOO_MANY) })
        }
        Some((up, down)) => {
            let rate = rate(up, true, current, history, now).max(current);
            let high = if most > rate { (rate, TOO_FAST_UP) } else { (most, TOO_MANY) };
            let rate = self::rate(down, false, current, history, now).min(current);
            let low = if fewest < rate { (rate, TOO_FAST_DOWN) } else { (fewest, TOO_FEW) };
            // Each bounds changes in its own direction only.
            match stable.cmp(&current) {
                std::cmp::Ordering::Greater => ((i32::MIN, TOO_FEW), high),
                std::cmp::Ordering::Equal => ((i32::MIN, TOO_FEW), (i32::MAX, TOO_MANY)),
                std::cmp::Ordering::Less => (low, (i32::MAX, TOO_MANY)),
            }
        }
    };
    let (replicas, limited) = match stable {
        stable if stable < low.0 => (low.0, low.1),
        stable if stable > high.0 => (high.0, high.1),
        stable => (stable, WITHIN),
    };
    let able = if stable == asked { READY } else { able };
    Bounded { replicas, able, limited: (replicas != stable, limited) }
}

/// The replicas that policies allow at most, or at least.
fn rate(rules: &HPAScalingRules, up: bool, current: i32, history: &History, now: Timestamp) -> i32 {
    let allowed = rules.policies.iter().flatten().map(|policy| {
        let before = history.replicas_before(policy.period_seconds, current, now);
        let change = i64::from(policy.value);
        match (policy.type_.as_str(), up) {
            ("Pods", true) => before + change,
            ("Pods", false) => before - change,
            // A change of less than one upwards is one; downwards it is one, too.
            (_, true) => (before as f64 * (1.0 + change as f64 / 100.0)).ceil() as i64,
            (_, false) => (before as f64 * (1.0 - change as f64 / 100.0)) as i64,
        }
    });
    let allowed = match rules.select_policy.as_deref() {
        Some("Disabled") => None,
        // The least change is the lowest number upwards, and the highest downwards.
        policy if (policy == Some("Min")) == up => allowed.min(),
        _ => allowed.max(),
    };
    allowed.map_or(current, |allowed| i32::try_from(allowed).unwrap_or(i32::MAX))
}
