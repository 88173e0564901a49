//! A session between a client and the runtime, from the client's upgrade to its end.
//!
//! Clients come by WebSocket (kubectl since 1.31) or SPDY. WebSocket exec and attach are
//! translated; SPDY goes through byte for byte, and so does port-forward, whose WebSocket
//! carries SPDY inside its messages.

use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use machinery::tasks::Tasks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::Refusal;
use super::channels::{self, Streams, V4, V5};
use super::spdy::{self, STREAM_PROTOCOL};

/// The protocol of port-forward's streams.
const PORT_FORWARD: &str = "portforward.k8s.io";
/// The same inside a WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// How much is read from the runtime at once.
const CHUNK: usize = 32 * 1024;

/// What a session is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Exec or attach with these streams.
    Command(Streams),
    /// Port-forward.
    Ports,
}

/// How the client wants to be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// By WebSocket, in this subprotocol.
    WebSocket { key: HeaderValue, protocol: &'static str },
    /// By SPDY, in one of these protocols.
    Spdy { protocols: Vec<String> },
}

impl Wish {
    /// Reads the upgrade that a request asks for.
    pub(super) fn of(headers: &HeaderMap, purpose: Purpose) -> Result<Self, Refusal> {
        let refusal = |words: &str| Refusal::new(StatusCode::BAD_REQUEST, words);
        let listed = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).map(|word| word.trim().to_owned()).collect()
        };
        let upgrades = listed(header::UPGRADE.as_str());
        if upgrades.iter().any(|wanted| wanted.eq_ignore_ascii_case("websocket")) {
            let key =
                headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| refusal("there is no WebSocket key"))?;
            let offered = listed(header::SEC_WEBSOCKET_PROTOCOL.as_str());
            let known: &[&'static str] = match purpose {
                Purpose::Command(_) => &[V5, V4],
                Purpose::Ports => &[TUNNEL],
            };
            let protocol = known.iter().find(|known| offered.iter().any(|offered| offered == *known));
            let protocol = protocol.ok_or_else(|| {
                refusal(&format!(
                    "unable to negotiate protocol: client supports {offered:?}, server accepts {known:?}"
                ))
            })?;
            return Ok(Self::WebSocket { key: key.clone(), protocol });
        }
        if upgrades.iter().any(|wanted| wanted.eq_ignore_ascii_case(spdy::PROTOCOL)) {
            return Ok(Self::Spdy { protocols: listed(STREAM_PROTOCOL) });
        }
        Err(refusal("unable to upgrade: missing upgrade headers in request"))
    }
}

/// Opens the runtime's side, then answers the client and joins the two in a task, until one of
/// them goes or `over` says that there is nothing to talk about any more.
pub(super) async fn begin(
    tasks: &Tasks,
    request: Request<Incoming>,
    wish: Wish,
    purpose: Purpose,
    url: &str,
    over: impl Future<Output = ()> + Send + 'static,
) -> Result<Response<super::routes::Body>, Refusal> {
    let wanted: Vec<&str> = match (&wish, purpose) {
        (Wish::Spdy { protocols }, _) => protocols.iter().map(String::as_str).collect(),
        (_, Purpose::Command(_)) => vec![V4],
        (_, Purpose::Ports) => vec![PORT_FORWARD],
    };
    let opened = spdy::connect(url, &wanted).await;
    let (runtime, chosen) = opened.map_err(|error| Refusal::internal(machinery::logging::chain(&error)))?;
    let client = hyper::upgrade::on(request);
    let mut response = Response::new(super::routes::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    match wish {
        Wish::WebSocket { key, protocol } => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
                .map_err(|error| Refusal::internal(error.to_string()))?;
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
            tasks.spawn_scoped("session", logged(websocket(client, runtime, purpose, protocol, over)));
        }
        Wish::Spdy { .. } => {
            headers.insert(header::UPGRADE, HeaderValue::from_static(spdy::PROTOCOL));
            for value in chosen.get_all(STREAM_PROTOCOL) {
                headers.append(STREAM_PROTOCOL, value.clone());
            }
            tasks.spawn_scoped("session", logged(through(client, runtime, over)));
        }
    }
    Ok(response)
}

async fn logged(session: impl Future<Output = anyhow::Result<()>>) {
    if let Err(error) = session.await {
        tracing::debug!(error = format!("{error:#}"), "Session ended early");
    }
}

type Runtime = TokioIo<Upgraded>;

async fn through(
    client: OnUpgrade,
    mut runtime: Runtime,
    over: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut client = TokioIo::new(client.await?);
    tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut client, &mut runtime) => copied.map(drop)?,
        () = over => {}
    }
    Ok(())
}

async fn websocket(
    client: OnUpgrade,
    runtime: Runtime,
    purpose: Purpose,
    protocol: &'static str,
    over: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let client = TokioIo::new(client.await?);
    let client = WebSocketStream::from_raw_socket(client, Role::Server, None).await;
    match purpose {
        Purpose::Command(streams) => channels::join(client, runtime, streams, protocol, over).await,
        Purpose::Ports => tunnel(client, runtime).await,
    }
}

/// Carries the bytes inside a WebSocket's messages to the runtime and back.
async fn tunnel(client: WebSocketStream<TokioIo<Upgraded>>, runtime: Runtime) -> anyhow::Result<()> {
    let (mut to_client, mut from_client) = client.split();
    let (mut from_runtime, mut to_runtime) = tokio::io::split(runtime);
    let inward = async {
        while let Some(message) = from_client.next().await {
            match message? {
                Message::Binary(bytes) => to_runtime.write_all(&bytes).await?,
                Message::Close(_) => break,
                _ => {}
            }
        }
        anyhow::Ok(())
    };
    let outward = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            match from_runtime.read(&mut chunk).await? {
                0 => return anyhow::Ok(to_client.close().await?),
                read => to_client.send(Message::Binary(chunk[..read].to_vec().into())).await?,
            }
        }
    };
    tokio::select! {
        ended = inward => ended,
        ended = outward => ended,
    }
}
