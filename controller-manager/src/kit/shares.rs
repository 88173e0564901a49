//! Counts that may be percentages. Upstream: `intstr.GetScaledValueFromIntOrPercent`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Where a part of one goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// To the next whole number.
    Up,
    /// Away.
    Down,
}

/// The count itself, or that share of `whole`. A text that is no percentage is none.
pub fn of(value: &IntOrString, whole: i32, round: Round) -> i32 {
    let text = match value {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text,
    };
    let share: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
    let product = share.saturating_mul(i64::from(whole));
    let rounded = if round == Round::Up { product.saturating_add(99) } else { product }.div_euclid(100);
    i32::try_from(rounded).unwrap_or(i32::MAX)
}
