//! JSON for people: indented answers to those who ask for them, and to browsers and `curl` unasked.
//!
//! Counterpart of upstream's `isPrettyPrint`.

use http::{Request, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{Body, HasEnd, JSON};
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

/// An answer with its JSON indented. What is not JSON, compressed, or has no end stays as it is. A large one is
/// indented piece by piece while it is sent.
pub async fn prettified(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|media| {
        let media = media.as_bytes();
        media == JSON.as_bytes() || media.starts_with(b"application/json;")
    });
    let size = response.body().size_hint().exact();
    let has_end = size.is_some() || response.extensions().get::<HasEnd>().is_some();
    if !is_json || !has_end || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let mut indenter = Indenter::default();
    let body = body.map_frame(move |frame| frame.map_data(|json| indenter.indent(&json).into()));
    if size.is_none_or(|size| size > AT_ONCE) {
        return Response::from_parts(parts, body.boxed_unsync());
    }
    match body.collect().await {
        Ok(whole) => Response::from_parts(parts, super::full(whole.to_bytes())),
        Err(error) => {
            tracing::debug!(%error, "an answer broke off");
            super::status(&super::stumbled())
        }
    }
}

/// Answers up to this size are indented whole, and say how long they are.
const AT_ONCE: u64 = 64 * 1024;

/// Writes JSON text with a line for each field and item, as Go's `json.MarshalIndent` does. The text may come in any pieces.
#[derive(Default)]
struct Indenter {
    depth: usize,
    in_text: bool,
    /// The byte before was a backslash that says how to read the next one.
    escaped: bool,
    /// The byte before opened an object or a list, of which is not known yet whether anything is in it.
    opened: bool,
}

impl Indenter {
    fn indent(&mut self, json: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(json.len() * 2);
        for byte in json.iter().copied() {
            if self.in_text {
                out.push(byte);
                self.in_text = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                continue;
            }
            if byte.is_ascii_whitespace() {
                continue;
            }
            let was_opened = std::mem::take(&mut self.opened);
            let is_end = matches!(byte, b'}' | b']');
            if was_opened && !is_end {
                self.depth += 1;
                self.line(&mut out);
            }
            match byte {
                b'{' | b'[' => {
                    out.push(byte);
                    self.opened = true;
                }
                _ if is_end => {
                    if !was_opened {
                        self.depth = self.depth.saturating_sub(1);
                        self.line(&mut out);
                    }
                    out.push(byte);
                }
                b',' => {
                    out.push(byte);
                    self.line(&mut out);
                }
                b':' => out.extend(b": "),
                _ => {
                    self.in_text = byte == b'"';
                    out.push(byte);
                }
            }
        }
        out
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * self.depth));
    }
}

#[cfg(test)]
mod tests;
