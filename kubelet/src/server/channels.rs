//! Sessions in channels: a client's WebSocket joined with the runtime's SPDY streams.
//!
//! Of exec and attach, channel 0 is standard input, 1 output, 2 errors, 3 the result, 4 terminal sizes. Of port-forward,
//! each port has a channel for data and the one after it for errors, which begin with the port's number. Either side may
//! stop taking what the other says; what that still says is heard all the same. Upstream counterparts: the API server's
//! `StreamTranslatorHandler`, and cri-streaming's `websocketStreamHandler`.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use machinery::join::{Ends, UntilSilent};
use machinery::websocket;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::protocol::Protocol;
use super::spdy::{self, Frame};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// So much input fits between a runtime and a program that has not begun to read.
const FIRST_INPUT: usize = 64 * 1024;
/// How long more than that is held back, and how much longer when the program has closed all its output, which most do only
/// when they end. containerd never tells the result of a program that ends while input for it is stuck.
const HOLD: Duration = Duration::from_millis(250);
const HOLD_FOR_RESULT: Duration = Duration::from_secs(2);
/// How often a client is asked whether it is still there while there is nothing else to tell it. Its system may have to be
/// told something to say that it is gone.
const ASK: Duration = Duration::from_secs(5);
/// How many pings may wait for the runtime to take their answers.
const PINGS: usize = 16;
/// Why there is no result of a command.
const BROKEN_OFF: &str = "the container runtime broke the session off before it told a result";
/// The largest result that is read to be told in other words.
const LARGEST_RESULT: usize = 64 * 1024;

/// What a session is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Exec or attach with these streams.
    Command(Streams),
    /// Port-forward to these ports.
    Ports(Vec<u16>),
}

/// Which streams a command has.
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

/// A channel and the runtime's stream behind it.
#[derive(Debug, Clone, Copy)]
struct Channel {
    number: u8,
    stream: u32,
    /// Whether clients may say something on it.
    inward: bool,
    /// Whether the runtime does.
    outward: bool,
    /// Whether what it says is the result of a command.
    result: bool,
}

type Socket<S> = WebSocketStream<S>;

/// The most ports of a session: channels are numbered in a byte.
pub(super) const MOST_PORTS: usize = 100;

/// Opens the runtime's streams. Also what tells the client that the session has begun.
async fn open<W: AsyncWrite + Unpin>(
    runtime: &mut spdy::Writer<W>,
    purpose: &Purpose,
) -> io::Result<(Vec<Channel>, Vec<(u8, [u8; 2], usize)>)> {
    let mut channels = Vec::new();
    match purpose {
        Purpose::Command(streams) => {
            for (number, name) in streams.opened() {
                let stream = runtime.open(&[("streamType", name)]).await?;
                let inward = [STDIN, RESIZE].contains(&number);
                channels.push(Channel { number, stream, inward, outward: !inward, result: number == STATUS });
            }
            let first = channels.iter().filter(|channel| channel.outward).map(|channel| channel.number).min();
            Ok((channels, vec![(first.unwrap_or(STATUS), [0; 2], 0)]))
        }
        Purpose::Ports(ports) => {
            let mut greetings = Vec::new();
            for (index, (port, number)) in ports.iter().zip((0..u8::MAX).step_by(2)).enumerate() {
                let (text, request) = (port.to_string(), index.to_string());
                let headers = |kind| [("streamType", kind), ("port", text.as_str()), ("requestID", &request)];
                let errors = runtime.open(&headers("error")).await?;
                // Nobody has errors to tell to the runtime.
                runtime.close(errors).await?;
                let data = runtime.open(&headers("data")).await?;
                for (number, stream, inward) in [(number, data, true), (number + 1, errors, false)] {
                    channels.push(Channel { number, stream, inward, outward: true, result: false });
                    greetings.push((number, port.to_le_bytes(), 2));
                }
            }
            Ok((channels, greetings))
        }
    }
}

/// Joins a client and the runtime until both are done, or one is gone and the other has had its time.
pub(super) async fn join<C, R>(
    client: Socket<C>,
    runtime: R,
    purpose: &Purpose,
    protocol: &Protocol,
    hung_up: impl Future<Output = ()>,
    over: impl Future<Output = ()> + Send,
) -> anyhow::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite,
{
    let (reader, mut writer) = spdy::split(runtime);
    let (channels, greetings) = open(&mut writer, purpose).await?;
    let (mut to_client, mut from_client) = client.split();
    for (channel, bytes, length) in greetings {
        to_client.send(protocol.encode(channel, &bytes[..length])).await?;
    }
    let ends = Ends::new();
    let (left, mut holding) = watch::channel(Left::Output);
    let (pings, pinged) = mpsc::channel(PINGS);
    let inward = async {
        inward(&mut from_client, writer, &channels, protocol, pinged, &mut holding, &ends).await;
        ends.client_gone();
    };
    let outward = async {
        outward(reader, &mut to_client, &channels, protocol, pings, &left, &ends, over).await;
        left.send_replace(Left::Nothing);
        ends.backend_done();
    };
    ends.bound(inward, outward, hung_up).await;
    websocket::let_go(to_client, from_client).await;
    Ok(())
}

/// What the runtime still has to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Output,
    Result,
    Nothing,
}

/// Holds back what would be stuck if a program ended at once, until that is clear.
async fn hold(left: &mut watch::Receiver<Left>) {
    // Who would tell has ended: nothing is left either.
    drop(tokio::time::timeout(HOLD, left.wait_for(|left| *left != Left::Output)).await);
    let for_result = *left.borrow() == Left::Result;
    if for_result {
        drop(tokio::time::timeout(HOLD_FOR_RESULT, left.wait_for(|left| *left == Left::Nothing)).await);
    }
}

/// Passes on what the runtime sends, until it has sent its result and all output. What the client does not take any more
/// is thrown away.
#[expect(clippy::too_many_arguments, reason = "a session's two directions share what they know")]
async fn outward<C, R>(
    mut reader: spdy::Reader<ReadHalf<R>>,
    client: &mut SplitSink<Socket<C>, Message>,
    channels: &[Channel],
    protocol: &Protocol,
    pings: mpsc::Sender<u32>,
    left: &watch::Sender<Left>,
    ends: &Ends,
    over: impl Future<Output = ()> + Send,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    R: AsyncRead + AsyncWrite,
{
    let mut open: Vec<u8> =
        channels.iter().filter(|channel| channel.outward).map(|channel| channel.number).collect();
    let mut taken = true;
    let mut result = Vec::new();
    let (mut told, mut broken) = (false, false);
    let over = pin!(over);
    let mut silent = UntilSilent::new(over);
    while !open.is_empty() {
        let mut next = pin!(silent.or(reader.next()));
        let frame = loop {
            tokio::select! {
                biased;
                frame = &mut next => break frame,
                () = sleep(ASK), if taken => taken = tell(client, Message::Ping(Bytes::new()), ends).await,
            }
        };
        let frame = match frame {
            None => break,
            Some(Ok(Some(frame))) if frame != Frame::GoAway => frame,
            end => {
                if let Some(Err(error)) = end {
                    tracing::debug!(%error, "The runtime broke a session off");
                }
                broken = true;
                break;
            }
        };
        let (stream, bytes, last) = match frame {
            Frame::Other | Frame::GoAway => continue,
            Frame::Ping { id } => {
                // While the runtime takes nothing, not even more answers would reach it.
                let _full = pings.try_send(id);
                continue;
            }
            Frame::Reset { stream } => (stream, Bytes::new(), true),
            Frame::Data { stream, bytes, last } => (stream, bytes, last),
        };
        let Some(channel) = channels.iter().find(|channel| channel.stream == stream) else { continue };
        let mut said = bytes;
        told |= channel.result && !said.is_empty();
        if channel.result && !protocol.status {
            result.extend_from_slice(&said[..said.len().min(LARGEST_RESULT - result.len())]);
            said = if last { protocol.result(&std::mem::take(&mut result)).into() } else { Bytes::new() };
        }
        if taken && !said.is_empty() {
            taken = tell(client, protocol.encode(channel.number, &said), ends).await;
        }
        if last {
            open.retain(|&still| still != channel.number);
            if open == [STATUS] {
                left.send_replace(Left::Result);
            }
        }
    }
    if broken && !told && channels.iter().any(|channel| channel.result && open.contains(&channel.number)) {
        result = no_result();
    }
    if taken && !result.is_empty() {
        taken = tell(client, protocol.encode(STATUS, &protocol.result(&result)), ends).await;
    }
    if taken {
        tell(client, websocket::goodbye(), ends).await;
    }
}

/// What a command's client is told when the runtime goes without a result. Without a word, kubectl would take the
/// command for a success.
fn no_result() -> Vec<u8> {
    let status = json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {BROKEN_OFF}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": BROKEN_OFF}]},
        "code": 500,
    });
    status.to_string().into_bytes()
}

/// Tells the client something; whether it takes it.
async fn tell<C>(client: &mut SplitSink<Socket<C>, Message>, message: Message, ends: &Ends) -> bool
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let told = client.send(message).await;
    if let Err(error) = &told {
        tracing::debug!(%error, "The client of a session takes no more");
        ends.client_gone();
    }
    told.is_ok()
}

/// Passes on what the client sends, until it goes. What the runtime does not take any more is thrown away.
async fn inward<C, W>(
    client: &mut SplitStream<Socket<C>>,
    mut runtime: spdy::Writer<WriteHalf<W>>,
    channels: &[Channel],
    protocol: &Protocol,
    mut pinged: mpsc::Receiver<u32>,
    left: &mut watch::Receiver<Left>,
    ends: &Ends,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    W: AsyncRead + AsyncWrite,
{
    let stream_of = |wanted: u8| {
        channels.iter().find(|channel| channel.inward && channel.number == wanted).map(|c| c.stream)
    };
    let mut taken = true;
    let mut input = 0;
    loop {
        let said = tokio::select! {
            Some(id) = pinged.recv() => Said::Ping(id),
            message = client.next() => match message {
                None => break,
                Some(Ok(Message::Close(_))) => break,
                Some(Ok(message)) => match protocol.decode(message) {
                    None => continue,
                    Some((CLOSE, rest)) if protocol.closes => match rest.first().and_then(|&c| stream_of(c)) {
                        Some(stream) => Said::Close(stream),
                        None => continue,
                    },
                    Some((channel, bytes)) => match stream_of(channel) {
                        Some(stream) => Said::Data(stream, bytes),
                        None => continue,
                    },
                },
                Some(Err(error)) => {
                    tracing::debug!(%error, "The client of a session broke off");
                    break;
                }
            },
        };
        ends.moved();
        if !taken {
            continue;
        }
        let passed = match said {
            Said::Ping(id) => runtime.pong(id).await,
            Said::Close(stream) => runtime.close(stream).await,
            Said::Data(stream, bytes) => {
                let first = bytes.len().min(FIRST_INPUT.saturating_sub(input));
                let (first, rest) = bytes.split_at(first);
                let is_held = input <= FIRST_INPUT && !rest.is_empty();
                input = input.saturating_add(bytes.len());
                match runtime.data(stream, first).await {
                    Ok(()) if is_held => {
                        hold(left).await;
                        runtime.data(stream, rest).await
                    }
                    Ok(()) => runtime.data(stream, rest).await,
                    refused => refused,
                }
            }
        };
        if let Err(error) = passed {
            tracing::debug!(%error, "The runtime takes no more of a session");
            taken = false;
        }
    }
    if taken && let Err(error) = runtime.end().await {
        tracing::debug!(%error, "The runtime could not be told that its client is gone");
    }
}

/// What is to be passed on to the runtime.
enum Said {
    Ping(u32),
    Close(u32),
    Data(u32, Bytes),
}

#[cfg(test)]
mod tests;
