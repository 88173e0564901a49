//! The client's side of SPDY/3.1 as far as container runtimes speak it on their streaming
//! port: open streams with a few headers, send and receive data, half-close.
//!
//! Header blocks are sent as stored zlib blocks, which need no dictionary; those received
//! (replies without content) are skipped. There are no windows, on purpose: the runtimes'
//! library neither keeps nor opens any, TCP alone slows the sender. Runtimes' WebSockets
//! cannot half-close standard input, hence SPDY. Upstream counterpart: `httpstream/spdy`.

use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

/// What both sides call the protocol in `Upgrade`.
pub const PROTOCOL: &str = "SPDY/3.1";
/// The header that names what the streams mean.
pub const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
const STREAM_ID: u32 = 0x7fff_ffff;
/// Data is sent in frames of at most this size.
const LARGEST_DATA: usize = 64 * 1024;

/// Why the runtime's stream could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL that the runtime gave is none.
    #[error("the runtime's streaming address {0:?} cannot be used")]
    Address(String),
    /// It could not be reached.
    #[error("cannot reach the runtime's streaming server")]
    Connect(#[source] io::Error),
    /// It does not speak HTTP.
    #[error("the runtime's streaming server does not answer")]
    Http(#[from] hyper::Error),
    /// It said no.
    #[error("the runtime refuses the stream: {status} {message}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
}

/// Connects to the runtime's streaming URL and upgrades to SPDY. Also returns the headers of
/// the answer, which name the protocol that the runtime chose from `protocols`.
pub async fn connect(url: &str, protocols: &[&str]) -> Result<(TokioIo<Upgraded>, HeaderMap), OpenError> {
    let unusable = || OpenError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| unusable())?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(unusable)?;
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(OpenError::Connect)?;
    stream.set_nodelay(true).map_err(OpenError::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, PROTOCOL);
    for protocol in protocols {
        request = request.header(STREAM_PROTOCOL, *protocol);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| unusable())?;
    // The connection is driven only until the upgrade, which takes the socket out of it.
    let exchange = async {
        let answer = sender.send_request(request).await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(answer).await);
        }
        let headers = answer.headers().clone();
        Ok((hyper::upgrade::on(answer).await?, headers))
    };
    let (driven, exchanged) = tokio::join!(connection.with_upgrades(), exchange);
    let (upgraded, headers) = exchanged?;
    driven?;
    Ok((TokioIo::new(upgraded), headers))
}

async fn refused(answer: Response<hyper::body::Incoming>) -> OpenError {
    let status = answer.status();
    let message = match answer.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    OpenError::Refused { status, message }
}

/// Splits an upgraded connection into what reads frames and what writes them.
pub fn split<S: AsyncRead + AsyncWrite>(stream: S) -> (Reader<ReadHalf<S>>, Writer<WriteHalf<S>>) {
    let (read, write) = tokio::io::split(stream);
    let reader = Reader { from: tokio::io::BufReader::with_capacity(LARGEST_DATA, read) };
    (reader, Writer { to: write, next_stream: 1, greeted: false })
}

/// A frame that means something to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Bytes of a stream; after the last ones the other side sends no more on it.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes.
        bytes: Bytes,
        /// Whether they are the last.
        last: bool,
    },
    /// The other side ended a stream at once.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// The other side wants the same back.
    Ping {
        /// What to send back.
        id: u32,
    },
    /// The other side goes.
    GoAway,
    /// Anything else, such as the reply to a new stream.
    Other,
}

/// Reads frames.
#[derive(Debug)]
pub struct Reader<R> {
    from: tokio::io::BufReader<R>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next frame; none when the connection ended between two.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut head = [0; 8];
        if self.from.read(&mut head[..1]).await? == 0 {
            return Ok(None);
        }
        self.from.read_exact(&mut head[1..]).await?;
        let [a, b, c, d, flags, length @ ..] = head;
        let first = u32::from_be_bytes([a, b, c, d]);
        let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
        let mut body = vec![0; length as usize];
        self.from.read_exact(&mut body).await?;
        if first & !STREAM_ID == 0 {
            return Ok(Some(Frame::Data { stream: first, bytes: body.into(), last: flags & FIN != 0 }));
        }
        let number = |body: &[u8]| body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "SPDY frame is too short");
        let [_, _, c, d] = first.to_be_bytes();
        Ok(Some(match u16::from_be_bytes([c, d]) {
            RST_STREAM => Frame::Reset { stream: number(&body).ok_or_else(malformed)? & STREAM_ID },
            PING => Frame::Ping { id: number(&body).ok_or_else(malformed)? },
            GOAWAY => Frame::GoAway,
            SYN_REPLY if flags & FIN != 0 => Frame::Data {
                stream: number(&body).ok_or_else(malformed)? & STREAM_ID,
                bytes: Bytes::new(),
                last: true,
            },
            _ => Frame::Other,
        }))
    }
}

/// Writes frames.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    next_stream: u32,
    /// Whether the zlib stream of header blocks has begun.
    greeted: bool,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    /// Opens a stream with some headers.
    pub async fn open(&mut self, pairs: &[(&str, &str)]) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut headers = BytesMut::new();
        headers.put_u32(u32::try_from(pairs.len()).map_err(io::Error::other)?);
        for (name, value) in pairs {
            // Names are lower-case on the wire.
            for text in [name.to_ascii_lowercase().as_str(), value] {
                headers.put_u32(u32::try_from(text.len()).map_err(io::Error::other)?);
                headers.put_slice(text.as_bytes());
            }
        }
        let mut body = BytesMut::new();
        body.put_u32(stream);
        body.put_u32(0); // no associated stream
        body.put_u16(0); // priority and credential slot
        stored(&mut body, &headers, !self.greeted)?;
        self.greeted = true;
        self.control(SYN_STREAM, &body).await?;
        Ok(stream)
    }

    /// Sends bytes on a stream.
    pub async fn data(&mut self, stream: u32, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(LARGEST_DATA) {
            self.data_frame(stream, part, 0).await?;
        }
        self.to.flush().await
    }

    /// Says that no more bytes come on a stream.
    pub async fn close(&mut self, stream: u32) -> io::Result<()> {
        self.data_frame(stream, &[], FIN).await?;
        self.to.flush().await
    }

    /// Says that nothing more comes on any stream, and no more streams.
    pub async fn end(&mut self) -> io::Result<()> {
        self.to.shutdown().await
    }

    /// Answers a ping.
    pub async fn pong(&mut self, id: u32) -> io::Result<()> {
        self.control(PING, &id.to_be_bytes()).await
    }

    async fn data_frame(&mut self, stream: u32, bytes: &[u8], flags: u8) -> io::Result<()> {
        let mut head = BytesMut::with_capacity(8);
        head.put_u32(stream);
        head.put_u32(length(bytes)? | u32::from(flags) << 24);
        self.to.write_all(&head).await?;
        self.to.write_all(bytes).await
    }

    async fn control(&mut self, kind: u16, body: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(8 + body.len());
        frame.put_u16(VERSION);
        frame.put_u16(kind);
        frame.put_u32(length(body)?);
        frame.put_slice(body);
        self.to.write_all(&frame).await?;
        self.to.flush().await
    }
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(io::Error::other)
}

/// Appends data to a zlib stream as one stored block and an empty one, after which a reader
/// has all of it. The checksum at a zlib stream's end never comes, since the stream goes on.
fn stored(to: &mut BytesMut, data: &[u8], first: bool) -> io::Result<()> {
    if first {
        to.put_slice(&[0x78, 0x01]);
    }
    let length = u16::try_from(data.len()).map_err(io::Error::other)?;
    to.put_u8(0);
    to.put_u16_le(length);
    to.put_u16_le(!length);
    to.put_slice(data);
    to.put_slice(&[0, 0, 0, 0xff, 0xff]);
    Ok(())
}

#[cfg(test)]
mod tests;
