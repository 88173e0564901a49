//! Tokens of clients that can choose no header of a request but a WebSocket's protocols: browsers.
//!
//! Invariant: what comes behind sees a bearer token like any other, and no protocol that holds one. Upstream counterpart:
//! `authentication/request/websocket`.

use api::status::Status;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use machinery::websocket::{Asked, listed};

/// What a protocol begins with that is a token.
const TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Takes a token out of the protocols of a WebSocket request. One in a header of its own comes before it.
///
/// # Errors
/// 401 for what is no token, for several, and for one without a protocol to agree on.
pub fn adopt(headers: &mut HeaderMap) -> Result<(), Status> {
    if !matches!(Asked::of(headers), Ok(Some(_))) {
        return Ok(());
    }
    let (tokens, others): (Vec<String>, Vec<String>) =
        listed(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str())
            .into_iter()
            .partition(|p| p.starts_with(TOKEN));
    let Some(encoded) = tokens.first().and_then(|protocol| protocol.strip_prefix(TOKEN)) else {
        return Ok(());
    };
    let token = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let token = token.filter(|_| tokens.len() == 1).ok_or_else(Status::unauthorized)?;
    if token.is_empty() {
        return Ok(());
    }
    let value = |text: &str| HeaderValue::try_from(text).map_err(|_| Status::unauthorized());
    let mut bearer = value(&format!("Bearer {token}"))?;
    bearer.set_sensitive(true);
    if others.is_empty() {
        return Err(Status::unauthorized());
    }
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value(&others.join(", "))?);
    headers.entry(header::AUTHORIZATION).or_insert(bearer);
    Ok(())
}

#[cfg(test)]
mod tests;
