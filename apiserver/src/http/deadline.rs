//! How long a request may take: the server's limit, or less if the client says so with `?timeout=`.

use std::time::Duration;

use api::status::Status;

/// The time for a request with this query.
///
/// # Errors
/// 400 for a timeout that is no duration.
pub fn of(query: Option<&str>, most: Duration) -> Result<Duration, Status> {
    let asked = query.into_iter().flat_map(|q| q.split('&')).find_map(|pair| pair.strip_prefix("timeout="));
    let Some(asked) = asked.filter(|a| !a.is_empty()) else { return Ok(most) };
    let text = percent_encoding::percent_decode_str(asked).decode_utf8_lossy();
    let wanted = parse(&text).map_err(|why| {
        Status::bad_request(format!("invalid timeout specified in the request URL - time: {why} {text:?}"))
    })?;
    // Nothing, or more than the server gives, means the server's limit.
    Ok(wanted.filter(|wanted| *wanted < most).unwrap_or(most))
}

/// What a request is told that took too long.
pub fn exceeded() -> Status {
    Status::timeout("request did not complete within requested timeout - context deadline exceeded", 0)
}

/// Go's durations: numbers with units, such as `1m30s`. `None` for nothing and less.
///
/// # Errors
/// In Go's words.
pub fn parse(text: &str) -> Result<Option<Duration>, &'static str> {
    const INVALID: &str = "invalid duration";
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(None);
    }
    if rest.is_empty() {
        return Err(INVALID);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| INVALID)?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "" => return Err("missing unit in duration"),
                _ => return Err("unknown unit in duration"),
            };
        rest = &rest[end..];
    }
    if negative || seconds <= 0.0 {
        return Ok(None);
    }
    Duration::try_from_secs_f64(seconds).map(Some).map_err(|_| INVALID)
}

#[cfg(test)]
mod tests {
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
            ("timeout=5d", "unknown unit in duration \"5d\""),
            ("timeout=1..s", "invalid duration \"1..s\""),
        ] {
            let expected = format!("invalid timeout specified in the request URL - time: {why}");
            assert_eq!(millis(query), Err(expected), "{query}");
        }
    }
}
