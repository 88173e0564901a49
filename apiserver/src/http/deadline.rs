//! How long a request may take: the server's limit, or less if the client says so with `?timeout=`.

use std::time::Duration;

use api::{duration, status::Status};
use machinery::query::Query;

/// The time for a request with this query.
///
/// # Errors
/// 400 for a timeout that is no duration.
pub fn of(query: Option<&str>, most: Duration) -> Result<Duration, Status> {
    let query = Query::parse(query);
    let Some(asked) = query.get("timeout") else { return Ok(most) };
    let wanted = duration::parse(asked).map_err(|why| {
        Status::bad_request(format!("invalid timeout specified in the request URL - {why}"))
    })?;
    // Nothing, less, or more than the server gives, means the server's limit.
    Ok(Duration::try_from(wanted).ok().filter(|wanted| !wanted.is_zero() && *wanted < most).unwrap_or(most))
}

/// What a request is told that took too long.
pub fn exceeded() -> Status {
    Status::timeout("request did not complete within requested timeout - context deadline exceeded", 0)
}

#[cfg(test)]
mod tests;
