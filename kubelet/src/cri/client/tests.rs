use super::*;

#[test]
fn a_very_long_time_is_no_short_one_to_a_runtime() {
    for (asked, told) in [(0, 0), (30, 30), (9_223_372_036, 9_223_372_036), (u64::MAX, 9_223_372_036)] {
        assert_eq!(seconds(Duration::from_secs(asked)), told);
    }
}
