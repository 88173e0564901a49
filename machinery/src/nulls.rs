//! Takes members that are `null` out of JSON while it streams by: in Go's JSON a null is an absent value, an
//! empty list or an empty map, and API servers written in Go send all three; serde refuses it for a list.
//!
//! Works on bytes in one pass, whatever the pieces they come in, and keeps no more than one member's key. A
//! list's own `items` become `[]`, since every list has them. What is not JSON comes out as it went in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame};

/// Where the filter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between values, in arrays, in numbers and words.
    Plain,
    /// In a string that is no key.
    Text { escaped: bool },
    /// In an object, before the value of a member: what comes is held back.
    Member { colon: bool },
    /// In the key of such a member.
    Key { escaped: bool },
    /// In a value that may be `null`, of which so many letters have come.
    Null(usize),
}

/// An array, or an object of which something has come out or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Array,
    Object { empty: bool },
}

/// Takes nulls out of one stream of JSON values.
#[derive(Debug)]
struct Filter {
    state: State,
    levels: Vec<Level>,
    /// A member's comma, key and colon, until its value has begun.
    held: Vec<u8>,
}

const NULL: &[u8] = b"null";

impl Filter {
    fn new() -> Self {
        Self { state: State::Plain, levels: Vec::new(), held: Vec::new() }
    }

    /// The next piece without its nulls.
    fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len() + self.held.len());
        let mut rest = piece;
        while let Some((&byte, after)) = rest.split_first() {
            // Most of JSON lies in strings: what of one is here goes out at once.
            if self.state == (State::Text { escaped: false }) {
                let plain = rest.iter().position(|b| matches!(b, b'"' | b'\\')).unwrap_or(rest.len());
                if plain > 0 {
                    out.extend_from_slice(&rest[..plain]);
                    rest = &rest[plain..];
                    continue;
                }
            }
            self.step(byte, &mut out);
            rest = after;
        }
        out
    }

    /// What is held back when the stream ends in the middle of a member.
    fn finish(&mut self) -> Vec<u8> {
        let mut left = std::mem::take(&mut self.held);
        if let State::Null(so_far) = self.state {
            left.extend_from_slice(&NULL[..so_far]);
        }
        left
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Plain => self.plain(byte, out),
            State::Text { escaped } => {
                out.push(byte);
                self.state = match (escaped, byte) {
                    (false, b'"') => State::Plain,
                    (false, b'\\') => State::Text { escaped: true },
                    _ => State::Text { escaped: false },
                };
            }
            State::Key { escaped } => {
                self.held.push(byte);
                self.state = match (escaped, byte) {
                    (false, b'"') => State::Member { colon: false },
                    (false, b'\\') => State::Key { escaped: true },
                    _ => State::Key { escaped: false },
                };
            }
            State::Member { colon } => match (byte, colon) {
                (b' ' | b'\t' | b'\r' | b'\n', _) => self.held.push(byte),
                (b'"', false) => {
                    self.held.push(byte);
                    self.state = State::Key { escaped: false };
                }
                (b':', false) => {
                    self.held.push(byte);
                    self.state = State::Member { colon: true };
                }
                (b'n', true) => self.state = State::Null(1),
                (_, true) => {
                    self.release(out);
                    self.plain(byte, out);
                }
                // The end of an object without members, or something that is no JSON.
                (_, false) => {
                    out.append(&mut self.held);
                    self.plain(byte, out);
                }
            },
            State::Null(so_far) if NULL.get(so_far) == Some(&byte) => {
                self.state = State::Null(so_far + 1);
                if so_far + 1 == NULL.len() {
                    self.drop_null(out);
                }
            }
            State::Null(so_far) => {
                self.release(out);
                out.extend_from_slice(&NULL[..so_far]);
                self.plain(byte, out);
            }
        }
    }

    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.state = State::Plain;
        match byte {
            b'"' => self.state = State::Text { escaped: false },
            b'{' => {
                self.levels.push(Level::Object { empty: true });
                self.state = State::Member { colon: false };
            }
            b'[' => self.levels.push(Level::Array),
            b'}' | b']' => {
                self.levels.pop();
            }
            b',' if matches!(self.levels.last(), Some(Level::Object { .. })) => {
                self.held.push(byte);
                self.state = State::Member { colon: false };
                return;
            }
            _ => {}
        }
        out.push(byte);
    }

    /// Lets out what was held: its member has a value.
    fn release(&mut self, out: &mut Vec<u8>) {
        let mut held = self.held.as_slice();
        if let Some(Level::Object { empty }) = self.levels.last_mut()
            && std::mem::replace(empty, false)
        {
            // What stood before the comma has been dropped.
            held = held.strip_prefix(b",").unwrap_or(held);
        }
        out.extend_from_slice(held);
        self.held.clear();
    }

    fn drop_null(&mut self, out: &mut Vec<u8>) {
        let key = self.held.trim_ascii_end().strip_suffix(b":").unwrap_or_default().trim_ascii_end();
        let of_a_list = self.levels.len() == 1 && key.ends_with(b"\"items\"");
        if of_a_list {
            self.release(out);
            out.extend_from_slice(b"[]");
        }
        self.held.clear();
        self.state = State::Plain;
    }
}

/// An answer's body, without nulls where it is JSON.
#[derive(Debug)]
pub struct WithoutNulls<B> {
    body: B,
    filter: Option<Filter>,
}

/// Takes nulls out of an answer if it is JSON.
pub fn without_nulls<B>(answer: Response<B>) -> Response<WithoutNulls<B>> {
    let filter = is_json(answer.headers()).then(Filter::new);
    answer.map(|body| WithoutNulls { body, filter })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    !headers.contains_key(header::CONTENT_ENCODING) && kind.starts_with("application/json")
}

impl<B: Body<Data = Bytes> + Unpin> Body for WithoutNulls<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        loop {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(cx)).transpose()?;
            let Some(filter) = &mut this.filter else { return Poll::Ready(frame.map(Ok)) };
            let out = match frame.map(Frame::into_data) {
                Some(Ok(data)) => filter.pass(&data),
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => {
                    let left = filter.finish();
                    let left = (!left.is_empty()).then(|| Ok(Frame::data(Bytes::from(left))));
                    return Poll::Ready(left);
                }
            };
            if !out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from(out)))));
            }
        }
    }
}

#[cfg(test)]
mod tests;
