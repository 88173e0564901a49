//! JSON for people: indented answers to those who ask for them, and to browsers and `curl` unasked.
//!
//! Counterpart of upstream's `isPrettyPrint`.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{Body, JSON};
use crate::query;

/// Clients behind which sits a person.
const PEOPLE: &[&[u8]] = &[b"curl", b"Wget", b"Mozilla/5.0"];

/// Whether a request is to be answered in indented JSON.
pub fn is_wanted<B>(request: &Request<B>) -> bool {
    // OpenAPI and the like are for programs.
    let path = request.uri().path();
    if !(path.starts_with("/api/") || path.starts_with("/apis/") || path == "/api" || path == "/apis") {
        return false;
    }
    if let Some(asked) = request.uri().query().filter(|q| q.contains("pretty")).and_then(query::pretty) {
        return asked;
    }
    let agent = request.headers().get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    PEOPLE.iter().any(|known| agent.starts_with(known))
}

/// An answer with its JSON indented. What is not JSON, compressed, or has no end that is known stays as it is.
pub async fn prettified(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|media| {
        let media = media.as_bytes();
        media == JSON.as_bytes() || media.starts_with(b"application/json;")
    });
    let has_end = response.body().size_hint().exact().is_some();
    if !is_json || !has_end || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (parts, body) = response.into_parts();
    match body.collect().await {
        Ok(whole) => Response::from_parts(parts, super::full(indented(&whole.to_bytes()))),
        Err(error) => {
            tracing::debug!(%error, "an answer broke off");
            Response::from_parts(parts, super::full(Bytes::new()))
        }
    }
}

/// JSON text with a line for each field and item, as Go's `json.MarshalIndent` writes it.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'{' | b'[' => {
                out.push(byte);
                while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
                // Both closing brackets come two behind their opening ones.
                if let Some(end) = bytes.next_if(|next| *next == byte + 2) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend(b": "),
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_indented_and_nothing_else() {
        let value = json!({
            "a": [1, 2.5, [], {}, [[null]], {"b": true}], "c{": "x, y: \"{[\\\"]}\\\\", "d": {}, "e": "", "f": {"g": "\u{1f600}"},
        });
        let expected = serde_json::to_string_pretty(&value).unwrap();
        for text in [value.to_string(), expected.clone(), "{ \"a\" : [ ] }".into()] {
            let again: serde_json::Value = serde_json::from_str(&text).unwrap();
            let wanted = serde_json::to_string_pretty(&again).unwrap();
            assert_eq!(String::from_utf8(indented(text.as_bytes())).unwrap(), wanted);
        }
    }

    #[test]
    fn people_get_it_unasked() {
        for (agent, path, wanted) in [
            ("curl/8.5.0", "/api/v1/pods", true),
            ("Wget/1.21", "/apis", true),
            ("Mozilla/5.0 (X11)", "/apis/apps/v1", true),
            ("curl/8.5.0", "/api/v1/pods?pretty=false", false),
            ("curl/8.5.0", "/api/v1/pods?pretty=", true),
            ("curl/8.5.0", "/openapi/v3", false),
            ("kubectl/v1.36.0", "/api/v1/pods", false),
            ("kubectl/v1.36.0", "/api/v1/pods?limit=1&pretty=true", true),
            ("", "/api/v1/pods?labelSelector=pretty", false),
        ] {
            let request = Request::get(path).header("user-agent", agent).body(()).unwrap();
            assert_eq!(is_wanted(&request), wanted, "{agent} {path}");
        }
    }
}
