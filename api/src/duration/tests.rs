use super::*;

#[test]
fn durations_are_read() {
    for (text, nanos) in [
        ("0", 0),
        ("+0", 0),
        ("5s", 5_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("-1.5s", -1_500_000_000),
        (".5ms", 500_000),
        ("1.s", 1_000_000_000),
        ("100µs2us3ns", 102_003),
        ("0.0000000000000000000000001s", 0),
        ("00000000000000000000000007ns", 7),
        ("9223372036854775807ns", i64::MAX),
        ("-9223372036854775808ns", i64::MIN),
    ] {
        assert_eq!(parse(text), Ok(SignedDuration::from_nanos(nanos)), "{text}");
    }
    for (text, why) in [
        ("", "invalid duration \"\""),
        ("-", "invalid duration \"-\""),
        ("soon", "invalid duration \"soon\""),
        (".s", "invalid duration \".s\""),
        ("5", "missing unit in duration \"5\""),
        ("1..s", "missing unit in duration \"1..s\""),
        ("5d", "unknown unit \"d\" in duration \"5d\""),
        ("1h 5m", "unknown unit \"h \" in duration \"1h 5m\""),
        ("9223372036854775808ns", "invalid duration \"9223372036854775808ns\""),
        (
            "99999999999999999999999999999999999999999h",
            "invalid duration \"99999999999999999999999999999999999999999h\"",
        ),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), format!("time: {why}"));
    }
    assert_eq!(parse_unsigned("1m30s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_unsigned("-1s"), Err(ParseError::Negative("-1s".into())));
}

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
        assert_eq!(show(Duration::from_millis(millis)), expected);
    }
}
