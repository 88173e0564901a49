//! Exec and attach: the WebSocket channels of clients joined with the runtime's SPDY streams.
//!
//! Channel 0 is standard input, 1 output, 2 errors, 3 the final Status, 4 terminal sizes; in
//! protocol v5, 255 says that the channel in its next byte is closed. The runtime's Status,
//! which carries the exit code, is passed on as it is. Upstream counterpart: the API
//! server's `StreamTranslatorHandler`.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::Mutex;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::spdy::{self, Frame};

/// The protocol with a close signal, which lets clients end standard input.
pub(super) const V5: &str = "v5.channel.k8s.io";
/// The one before it.
pub(super) const V4: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Which streams a session has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streams {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

impl Streams {
    /// The channels and the runtime's names of their streams, in the order in which the
    /// runtime expects them. A terminal has no separate errors.
    fn opened(self) -> impl Iterator<Item = (u8, &'static str)> {
        [
            (true, STATUS, "error"),
            (self.stdin, STDIN, "stdin"),
            (self.stdout, STDOUT, "stdout"),
            (self.stderr && !self.tty, STDERR, "stderr"),
            (self.tty, RESIZE, "resize"),
        ]
        .into_iter()
        .filter_map(|(wanted, channel, name)| wanted.then_some((channel, name)))
    }
}

type Socket<S> = WebSocketStream<S>;

/// Joins a client and the runtime until the runtime is done, the client is gone, or it is over.
pub(super) async fn join<C, R>(
    client: Socket<C>,
    runtime: R,
    streams: Streams,
    protocol: &str,
    over: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite,
{
    let (reader, mut writer) = spdy::split(runtime);
    let mut opened = Vec::new();
    for (channel, name) in streams.opened() {
        opened.push((channel, writer.open("streamType", name).await?));
    }
    let (mut to_client, from_client) = client.split();
    // An empty message tells the client that the session has begun.
    let first = opened.iter().map(|&(channel, _)| channel).filter(|&channel| channel != STDIN).min();
    to_client.send(message(first.unwrap_or(STATUS), &[])).await?;
    let writer = Arc::new(Mutex::new(writer));
    let outward = outward(reader, &mut to_client, &opened, Arc::clone(&writer));
    let inward = inward(from_client, writer, &opened, protocol == V5);
    tokio::select! {
        ended = outward => ended?,
        ended = inward => return ended,
        () = over => {}
    }
    let bye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    to_client.send(Message::Close(Some(bye))).await?;
    Ok(to_client.close().await?)
}

/// Passes on what the runtime sends, until it has sent its Status and all output.
async fn outward<C, R>(
    mut reader: spdy::Reader<ReadHalf<R>>,
    client: &mut SplitSink<Socket<C>, Message>,
    opened: &[(u8, u32)],
    writer: Arc<Mutex<spdy::Writer<WriteHalf<R>>>>,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite,
{
    let mut open: Vec<u8> = opened
        .iter()
        .map(|&(channel, _)| channel)
        .filter(|&channel| ![STDIN, RESIZE].contains(&channel))
        .collect();
    while !open.is_empty() {
        let (stream, bytes, last) = match reader.next().await? {
            None | Some(Frame::GoAway) => break,
            Some(Frame::Other) => continue,
            Some(Frame::Ping { id }) => {
                writer.lock().await.pong(id).await?;
                continue;
            }
            Some(Frame::Reset { stream }) => (stream, Bytes::new(), true),
            Some(Frame::Data { stream, bytes, last }) => (stream, bytes, last),
        };
        let Some(&(channel, _)) = opened.iter().find(|&&(_, opened)| opened == stream) else { continue };
        if !bytes.is_empty() {
            client.send(message(channel, &bytes)).await?;
        }
        if last {
            open.retain(|&still| still != channel);
        }
    }
    Ok(())
}

/// Passes on what the client sends, until it goes.
async fn inward<C, W>(
    mut client: SplitStream<Socket<C>>,
    writer: Arc<Mutex<spdy::Writer<W>>>,
    opened: &[(u8, u32)],
    close_signal: bool,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    W: AsyncWrite + Unpin,
{
    let stream_of = |wanted: u8| {
        let sendable = [STDIN, RESIZE].contains(&wanted);
        opened.iter().find(|&&(channel, _)| sendable && channel == wanted).map(|&(_, stream)| stream)
    };
    while let Some(message) = client.next().await {
        let bytes = match message? {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => break,
            _ => continue,
        };
        let Some((&channel, rest)) = bytes.split_first() else { continue };
        if channel == CLOSE && close_signal {
            if let Some(stream) = rest.first().and_then(|&channel| stream_of(channel)) {
                writer.lock().await.close(stream).await?;
            }
        } else if let Some(stream) = stream_of(channel) {
            writer.lock().await.data(stream, rest).await?;
        }
    }
    Ok(())
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut whole = BytesMut::with_capacity(1 + bytes.len());
    whole.put_u8(channel);
    whole.put_slice(bytes);
    Message::Binary(whole.freeze())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };

    struct Session {
        client: Socket<DuplexStream>,
        runtime: DuplexStream,
        joined: tokio::task::JoinHandle<anyhow::Result<()>>,
    }

    async fn session(streams: Streams, protocol: &'static str) -> Session {
        let (near, far) = tokio::io::duplex(1 << 16);
        let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let (runtime, ours) = tokio::io::duplex(1 << 16);
        let joined = tokio::task::spawn(join(server, ours, streams, protocol, std::future::pending()));
        Session { client, runtime, joined }
    }

    impl Session {
        /// Reads frames that the runtime gets until one is a data frame.
        async fn data(&mut self) -> (u32, bool, Vec<u8>) {
            loop {
                let first = self.runtime.read_u32().await.unwrap();
                let second = self.runtime.read_u32().await.unwrap();
                let mut body = vec![0; (second & 0x00ff_ffff) as usize];
                self.runtime.read_exact(&mut body).await.unwrap();
                if first & 0x8000_0000 == 0 {
                    return (first, second >> 24 == 1, body);
                }
            }
        }

        async fn send(&mut self, stream: u8, last: bool, bytes: &[u8]) {
            let length = u8::try_from(bytes.len()).unwrap();
            let frame = [&[0, 0, 0, stream, u8::from(last), 0, 0, length], bytes].concat();
            self.runtime.write_all(&frame).await.unwrap();
        }

        async fn received(&mut self) -> Option<Vec<u8>> {
            match self.client.next().await?.unwrap() {
                Message::Binary(bytes) => Some(bytes.to_vec()),
                Message::Close(_) => None,
                other => panic!("{other:?}"),
            }
        }
    }

    // Streams: 1 status, 3 stdin, 5 stdout, 7 stderr.

    #[tokio::test]
    async fn input_ends_and_output_and_status_come_through() {
        let mut session = session(ALL, V5).await;
        assert_eq!(session.received().await, Some(vec![STDOUT]));
        session.client.send(message(STDIN, b"hello")).await.unwrap();
        assert_eq!(session.data().await, (3, false, b"hello".to_vec()));
        session.client.send(message(CLOSE, &[STDIN])).await.unwrap();
        assert_eq!(session.data().await, (3, true, Vec::new()));
        session.send(5, false, b"out").await;
        session.send(7, true, b"err").await;
        session.send(5, true, b"").await;
        session.send(1, true, b"{}").await;
        assert_eq!(session.received().await, Some(b"\x01out".to_vec()));
        assert_eq!(session.received().await, Some(b"\x02err".to_vec()));
        assert_eq!(session.received().await, Some(b"\x03{}".to_vec()));
        assert_eq!(session.received().await, None);
        session.joined.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_session_ends_when_the_runtime_goes_without_closing_its_streams() {
        let mut session = session(ALL, V4).await;
        session.send(1, false, b"{}").await;
        session.runtime.write_all(&[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(session.received().await, Some(vec![STDOUT]));
        assert_eq!(session.received().await, Some(b"\x03{}".to_vec()));
        assert_eq!(session.received().await, None);
    }

    #[tokio::test]
    async fn before_v5_there_is_no_close_signal() {
        let mut session = session(ALL, V4).await;
        session.client.send(message(CLOSE, &[STDIN])).await.unwrap();
        session.client.send(message(STDIN, b"x")).await.unwrap();
        assert_eq!(session.data().await, (3, false, b"x".to_vec()));
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_the_session() {
        let mut session = session(ALL, V5).await;
        session.client.close(None).await.unwrap();
        session.joined.await.unwrap().unwrap();
        let mut rest = Vec::new();
        session.runtime.read_to_end(&mut rest).await.unwrap();
        assert!(!rest.is_empty());
    }

    #[test]
    fn a_terminal_has_sizes_and_no_separate_errors() {
        let names = |streams: Streams| streams.opened().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
        assert_eq!(names(ALL), "error stdin stdout stderr");
        assert_eq!(names(Streams { tty: true, ..ALL }), "error stdin stdout resize");
        let output = Streams { stdin: false, stderr: false, ..ALL };
        assert_eq!(names(output), "error stdout");
    }
}
