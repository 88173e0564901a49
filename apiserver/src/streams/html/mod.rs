//! Pages of HTML that are passed on: their links lead back through the proxy, whatever the page is compressed with.
//!
//! Pages are passed on as they come; what is kept of one does not grow with it. Upstream counterpart: `proxy.Transport`,
//! which reads pages whole.

mod links;

use std::{
    io::{self, Write as _},
    mem,
};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder, ZlibDecoder, ZlibEncoder},
};
use http::{HeaderMap, StatusCode, header, response::Parts};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

pub use links::Links;

use crate::response::{Body, Broken};

/// So much of a compressed page is unpacked at once; it becomes at most a thousand times as large.
const PIECE: usize = 1024;

/// How a page is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Plain,
    /// RFC 1952.
    Gzip,
    /// RFC 1950 or, as some servers have it, 1951.
    Deflate,
}

/// How the page in an answer is compressed; `None` when there is no page whose links can be changed.
pub fn page(parts: &Parts) -> Option<Coding> {
    let text =
        |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let media = text(&parts.headers, header::CONTENT_TYPE)?;
    let is_html = media.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("text/html"));
    // A part of a page begins and ends anywhere.
    if !is_html || matches!(parts.status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) {
        return None;
    }
    match text(&parts.headers, header::CONTENT_ENCODING).unwrap_or_default().as_str() {
        "" | "identity" => Some(Coding::Plain),
        "gzip" => Some(Coding::Gzip),
        "deflate" => Some(Coding::Deflate),
        _ => None,
    }
}

/// The page with other links.
pub fn with_links<F>(body: Body, coding: Coding, rewrite: F) -> Body
where
    F: FnMut(&str) -> String + Send + 'static,
{
    let page =
        Page { body, came: Bytes::new(), links: Links::new(rewrite), codec: Codec::of(coding), over: false };
    let frames = futures::stream::unfold(page, |mut page| async {
        let next = page.next().await?;
        Some((next.map(|bytes| Frame::data(bytes.into())), page))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A page on its way.
struct Page<F> {
    body: Body,
    /// What has come and is not passed on yet.
    came: Bytes,
    links: Links<F>,
    codec: Codec,
    over: bool,
}

impl<F: FnMut(&str) -> String> Page<F> {
    /// What is passed on next.
    async fn next(&mut self) -> Option<Result<Vec<u8>, Broken>> {
        while !self.over {
            let passed = if self.came.is_empty() {
                match self.body.frame().await {
                    Some(Ok(frame)) => {
                        self.came = frame.into_data().unwrap_or_default();
                        continue;
                    }
                    Some(Err(broken)) => Err(broken),
                    None => {
                        self.over = true;
                        self.end().map_err(Broken::from)
                    }
                }
            } else {
                self.pass().map_err(Broken::from)
            };
            self.over |= passed.is_err();
            if passed.as_ref().is_ok_and(Vec::is_empty) {
                continue;
            }
            return Some(passed);
        }
        None
    }

    /// Passes on a piece of what came.
    fn pass(&mut self) -> io::Result<Vec<u8>> {
        let size = if self.codec.coders.is_none() && !self.codec.unknown { self.came.len() } else { PIECE };
        let piece = self.came.split_to(size.min(self.came.len()));
        let read = self.codec.read(&piece)?;
        let mut out = Vec::with_capacity(read.len());
        self.links.feed(&read, &mut out);
        self.codec.write(out, self.came.is_empty())
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        let read = self.codec.read_end()?;
        let mut out = Vec::new();
        self.links.feed(&read, &mut out);
        self.links.finish(&mut out);
        self.codec.write_end(out)
    }
}

/// Unpacks and packs a page.
struct Codec {
    /// Deflate, before its first byte, which says which one it is.
    unknown: bool,
    coders: Option<(Box<dyn Coder>, Box<dyn Coder>)>,
}

/// What packs or unpacks what is written to it.
trait Coder: io::Write + Send {
    /// What came out.
    fn coded(&mut self) -> &mut Vec<u8>;
    /// Ends what is written.
    fn end(&mut self) -> io::Result<()>;
}

macro_rules! coders {
    ($($coder:ident)*) => {$(
        impl Coder for $coder<Vec<u8>> {
            fn coded(&mut self) -> &mut Vec<u8> {
                self.get_mut()
            }
            fn end(&mut self) -> io::Result<()> {
                self.try_finish()
            }
        }
    )*};
}

coders!(MultiGzDecoder GzEncoder ZlibDecoder ZlibEncoder DeflateDecoder DeflateEncoder);

impl Codec {
    fn of(coding: Coding) -> Self {
        let gzip = || -> (Box<dyn Coder>, Box<dyn Coder>) {
            (
                Box::new(MultiGzDecoder::new(Vec::new())),
                Box::new(GzEncoder::new(Vec::new(), Compression::fast())),
            )
        };
        Self { unknown: coding == Coding::Deflate, coders: (coding == Coding::Gzip).then(gzip) }
    }

    /// A zlib stream begins with its method, 8; a bare one so only with a block that nobody writes.
    fn deflate(first: u8) -> (Box<dyn Coder>, Box<dyn Coder>) {
        let (out, level) = (Vec::new, Compression::fast());
        if first & 0x0f == 8 {
            return (Box::new(ZlibDecoder::new(out())), Box::new(ZlibEncoder::new(out(), level)));
        }
        (Box::new(DeflateDecoder::new(out())), Box::new(DeflateEncoder::new(out(), level)))
    }

    fn read(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        if self.unknown
            && let Some(first) = piece.first()
        {
            self.unknown = false;
            self.coders = Some(Self::deflate(*first));
        }
        let Some((decoder, _)) = &mut self.coders else { return Ok(piece.to_vec()) };
        decoder.write_all(piece)?;
        decoder.flush()?;
        Ok(mem::take(decoder.coded()))
    }

    fn read_end(&mut self) -> io::Result<Vec<u8>> {
        let Some((decoder, _)) = &mut self.coders else { return Ok(Vec::new()) };
        decoder.end()?;
        Ok(mem::take(decoder.coded()))
    }

    /// `pause`: nothing more has come for now, and what there is shall be seen.
    fn write(&mut self, out: Vec<u8>, pause: bool) -> io::Result<Vec<u8>> {
        let Some((_, encoder)) = &mut self.coders else { return Ok(out) };
        encoder.write_all(&out)?;
        if pause {
            encoder.flush()?;
        }
        Ok(mem::take(encoder.coded()))
    }

    fn write_end(&mut self, out: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some((_, encoder)) = &mut self.coders else { return Ok(out) };
        encoder.write_all(&out)?;
        encoder.end()?;
        Ok(mem::take(encoder.coded()))
    }
}

#[cfg(test)]
mod tests;
