//! Durations as Go prints them, in the messages that people know. Pure.

use std::time::Duration;

/// A duration, cut to milliseconds: `250ms`, `1.25s`, `5m0s`.
pub fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (millis, expected) in [
            (0, "0s"),
            (7, "7ms"),
            (1000, "1s"),
            (1250, "1.25s"),
            (10_000, "10s"),
            (61_005, "1m1.005s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(text(Duration::from_millis(millis)), expected);
        }
    }
}
