use super::*;

#[test]
fn the_client_may_ask_for_less() {
    let most = Duration::from_secs(60);
    let millis = |query: &str| of(Some(query), most).map(|d| d.as_millis()).map_err(|s| s.message);
    for (query, expected) in [
        ("", 60_000),
        ("a=b&timeout=", 60_000),
        ("timeout=5s", 5_000),
        ("x=y&timeout=1m", 60_000),
        ("timeout=1h", 60_000),
        ("timeout=1.5s", 1_500),
        ("timeout=1s500ms", 1_500),
        ("timeout=0", 60_000),
        ("timeout=0s", 60_000),
        ("timeout=-5s", 60_000),
        ("timeout=100%c2%b5s", 0),
    ] {
        assert_eq!(millis(query), Ok(expected), "{query}");
    }
    for (query, why) in [
        ("timeout=x", "invalid duration \"x\""),
        ("timeout=5", "missing unit in duration \"5\""),
        ("timeout=5d", "unknown unit \"d\" in duration \"5d\""),
        ("timeout=1..s", "missing unit in duration \"1..s\""),
    ] {
        let expected = format!("invalid timeout specified in the request URL - time: {why}");
        assert_eq!(millis(query), Err(expected), "{query}");
    }
}
