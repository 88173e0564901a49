//! A session between a client and the runtime, from the client's upgrade to its end.
//!
//! Clients come by WebSocket (kubectl since 1.31, most libraries) or SPDY. A WebSocket with channels is translated;
//! SPDY goes through byte for byte, also where a WebSocket carries it inside its messages.

use std::io;

use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use machinery::join::{ClientEnd, join};
use machinery::serve::Upgrade;
use machinery::tasks::Tasks;
use machinery::websocket::{self, Asked, listed};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::Refusal;
use super::channels::{self, Purpose};
use super::protocol::Protocol;
use super::spdy::{self, STREAM_PROTOCOL};

/// The protocol of command's streams as runtimes know it.
const COMMAND: &str = "v4.channel.k8s.io";
/// The protocol of port-forward's streams.
const PORT_FORWARD: &str = "portforward.k8s.io";
/// The same inside a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// How the client wants to be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// By WebSocket, in channels.
    Channels { asked: Asked, protocol: &'static Protocol },
    /// By SPDY inside a WebSocket.
    Tunnel { asked: Asked },
    /// By SPDY, in one of these protocols.
    Spdy { protocols: Vec<String> },
}

impl Wish {
    /// Reads the upgrade that a request for exec or attach asks for.
    pub(super) fn of_command(headers: &HeaderMap) -> Result<Self, Refusal> {
        Self::of(headers, |asked| Ok(Self::Channels { protocol: Protocol::of_command(&asked)?, asked }))
    }

    /// Reads the upgrade that a request for port-forward asks for.
    pub(super) fn of_ports(headers: &HeaderMap) -> Result<Self, Refusal> {
        Self::of(headers, |asked| match asked.protocols.iter().any(|offered| offered == TUNNEL) {
            true => Ok(Self::Tunnel { asked }),
            false => Ok(Self::Channels { protocol: Protocol::of_ports(&asked)?, asked }),
        })
    }

    fn of(
        headers: &HeaderMap,
        websocket: impl FnOnce(Asked) -> Result<Self, api::Message>,
    ) -> Result<Self, Refusal> {
        let refusal = |words: api::Message| Refusal::new(StatusCode::BAD_REQUEST, String::from(words));
        if let Some(asked) = Asked::of(headers).map_err(|words| refusal(words.into()))? {
            return websocket(asked).map_err(refusal);
        }
        let upgrades = listed(headers, header::UPGRADE.as_str());
        if upgrades.iter().any(|wanted| wanted.eq_ignore_ascii_case(spdy::PROTOCOL)) {
            return Ok(Self::Spdy { protocols: listed(headers, STREAM_PROTOCOL) });
        }
        Err(refusal("unable to upgrade: missing upgrade headers in request".into()))
    }
}

/// Opens the runtime's side, then answers the client and joins the two in a task, until they have ended or `over` says
/// that there is nothing to talk about any more.
pub(super) async fn begin(
    tasks: &Tasks,
    mut request: Request<Incoming>,
    wish: Wish,
    purpose: Purpose,
    url: &str,
    over: impl Future<Output = ()> + Send + 'static,
) -> Result<Response<super::routes::Body>, Refusal> {
    let wanted: Vec<&str> = match (&wish, &purpose) {
        (Wish::Spdy { protocols }, _) => protocols.iter().map(String::as_str).collect(),
        (_, Purpose::Command(_)) => vec![COMMAND],
        (_, Purpose::Ports(_)) => vec![PORT_FORWARD],
    };
    let opened = spdy::connect(url, &wanted).await;
    let (runtime, chosen) = opened.map_err(|error| Refusal::internal(machinery::logging::chain(&error)))?;
    let client = Upgrade::of(&mut request);
    let mut response = Response::new(super::routes::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    match wish {
        Wish::Channels { asked, protocol } => {
            *response.headers_mut() = asked.accept(protocol.name);
            tasks.spawn_scoped(
                "session",
                logged(async move {
                    let (client, hung_up) = client.done().await?;
                    let client = websocket::server(client).await;
                    channels::join(client, runtime, &purpose, protocol, hung_up, over).await
                }),
            );
        }
        Wish::Tunnel { asked } => {
            *response.headers_mut() = asked.accept(TUNNEL);
            tasks.spawn_scoped(
                "session",
                logged(async move {
                    let (client, hung_up) = client.done().await?;
                    let client = tunnel(websocket::server(client).await);
                    join(client, runtime, ClientEnd::Gone, hung_up, over).await;
                    Ok(())
                }),
            );
        }
        Wish::Spdy { .. } => {
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static(spdy::PROTOCOL));
            for value in chosen.get_all(STREAM_PROTOCOL) {
                headers.append(STREAM_PROTOCOL, value.clone());
            }
            tasks.spawn_scoped(
                "session",
                logged(async move {
                    let (client, hung_up) = client.done().await?;
                    join(TokioIo::new(client), runtime, ClientEnd::Gone, hung_up, over).await;
                    Ok(())
                }),
            );
        }
    }
    Ok(response)
}

async fn logged(session: impl Future<Output = anyhow::Result<()>>) {
    if let Err(error) = session.await {
        tracing::debug!(error = format!("{error:#}"), "Session ended early");
    }
}

/// The bytes inside a WebSocket's messages.
fn tunnel<S>(client: WebSocketStream<S>) -> impl AsyncRead + AsyncWrite
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (to, from) = futures::StreamExt::split(client);
    let bytes = from.map_err(io::Error::other).try_filter_map(|message| {
        std::future::ready(Ok(match message {
            Message::Binary(bytes) => Some(bytes),
            _ => None,
        }))
    });
    let messages = to.sink_map_err(io::Error::other);
    let messages = messages.with(|bytes: Bytes| std::future::ready(io::Result::Ok(Message::Binary(bytes))));
    tokio::io::join(StreamReader::new(bytes), SinkWriter::new(CopyToBytes::new(messages)))
}
